"""MDB Drums (Southall et al., ISMIR 2017): 23 full mixes with subclass annotations, in the data set's own layout."""

from collections.abc import Iterator
from pathlib import Path

from data_prep.corpora.annotated import AnnotatedAudio, Annotation
from data_prep.corpora.track import CorpusSource, PrepOptions, Track
from data_prep.refused import Refused

# The split of the reference study, by track.
TRAIN = (
    *("Punk", "CoolJazz", "Disco", "SwingJazz", "Rockabilly", "Gospel", "BebopJazz", "FunkJazz", "FreeJazz", "Reggae"),
    *("LatinJazz", "Britpop", "FusionJazz", "Shadows", "80sRock"),
)
VALIDATION = ("Beatles", "Grunge", "Zeppelin", "ModalJazz")
TEST = ("Country1", "SpeedMetal", "Rock", "Hendrix")
SPLIT_OF = dict.fromkeys(TRAIN, "train") | dict.fromkeys(VALIDATION, "validation") | dict.fromkeys(TEST, "test")


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """The tracks whose annotation is there; Refused where the folder is not MDB Drums."""
    assert source is not None
    annotations = sorted((source / "annotations" / "subclass").glob("MusicDelta_*_subclass.txt"))
    if not annotations:
        raise Refused(
            f"{source} is not MDB Drums: it has no annotations/subclass/MusicDelta_*_subclass.txt; give the top folder"
        )
    audios = (source / "audio" / "full_mix").glob("MusicDelta_*_MIX.wav")
    named = {path.name.removeprefix("MusicDelta_").removesuffix("_subclass.txt") for path in annotations}
    for name in sorted(named | {path.name.removeprefix("MusicDelta_").removesuffix("_MIX.wav") for path in audios}):
        if name not in SPLIT_OF:
            raise Refused(
                f"{source} holds {name!r}, no track of MDB Drums; expected one of {', '.join(SPLIT_OF)}: remove it"
            )
        audio = source / "audio" / "full_mix" / f"MusicDelta_{name}_MIX.wav"
        annotation = source / "annotations" / "subclass" / f"MusicDelta_{name}_subclass.txt"
        recording = AnnotatedAudio((audio,), (Annotation(annotation, "mdb"),), options.classes)
        yield Track(name, SPLIT_OF[name], name, recording)


SOURCE = CorpusSource(
    "mdb",
    "MDB Drums, full mixes",
    licence="CC BY-NC-SA 4.0",
    tracks=tracks,
    published={"train": len(TRAIN), "validation": len(VALIDATION), "test": len(TEST)},
)
