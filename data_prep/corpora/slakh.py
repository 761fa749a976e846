"""Slakh2100-redux (Manilow et al., WASPAA 2019): songs of the Lakh MIDI Dataset, played by sampled instruments.

The data set's own splits; `omitted/`, which holds copies, is left out. The MIDI files of all drum stems are added; the
study reads the first. Pitches are General MIDI, as in the study. Eight kits do not follow it: what sounds on a snare is
a snare in the labels only if their pitches are corrected, which happens unless `kit_maps` is False; pitches on which a
kit plays a whole sequence are left out. Other pitches outside General MIDI (strays of Lakh) count as unknown labels:
more than 10 % lose a track, more than 1 % of all are refused.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.corpora.annotated import AnnotatedAudio, Annotation, Unusable
from data_prep.corpora.slakh_metadata import Stem, read_metadata
from data_prep.corpora.track import CorpusSource, PrepOptions, Recording, Track
from data_prep.manifest import SPLITS
from data_prep.refused import Refused

TRACK = re.compile(r"Track\d{5}")
AUDIO, METADATA = "mix.flac", "metadata.yaml"


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """All tracks of the three splits; Refused where the folder is not Slakh2100-redux."""
    assert source is not None
    held = [split for split in SPLITS if (source / split).is_dir()]
    folders = [(split, path) for split in held for path in sorted((source / split).iterdir())]
    folders = [(split, path) for split, path in folders if TRACK.fullmatch(path.name) and path.is_dir()]
    if not folders:
        raise Refused(
            f"{source} is not Slakh2100-redux: it has no train/, validation/ or test/ with folders like Track00001; "
            "give the folder that holds them"
        )
    split_of: dict[str, str] = {}
    for split, folder in folders:
        if split_of.setdefault(folder.name, split) != split:
            raise Refused(f"{folder} stands in {split_of[folder.name]}, too; expected a track in one split: remove one")
        try:
            metadata = read_metadata(folder / METADATA)
            recording: Recording = _recording(folder, metadata.drums, options)
            song = metadata.uuid or folder.name
        except Refused as refused:
            recording, song = Unusable(str(refused), (folder / METADATA,)), folder.name
        yield Track(folder.name, split, song, recording)


def _recording(folder: Path, drums: tuple[Stem, ...], options: PrepOptions) -> AnnotatedAudio:
    """The mix and the MIDI files of its drums; Refused where there are none."""
    if not drums:
        raise Refused(f"{folder} has no stem with `is_drum: true` in its {METADATA}; nothing to learn from, left out")
    if silent := [stem.name for stem in drums if not stem.has_midi]:
        raise Refused(
            f"{folder} has drums without MIDI, stem {silent[0]}: they are heard but not annotated; nothing to be done"
        )
    return AnnotatedAudio(
        audio=(folder / AUDIO,),
        annotations=tuple(
            Annotation(folder / "MIDI" / f"{stem.name}.mid", "general_midi", stem.plugin if options.kit_maps else None)
            for stem in drums
        ),
        classes=options.classes,
    )


SOURCE = CorpusSource(
    "slakh",
    "Slakh2100-redux, full mixes",
    licence="CC BY 4.0",
    tracks=tracks,
    heeds=("kit_maps",),
    published={"train": 1_289, "validation": 270, "test": 151},
)
