"""SADTP: pieces to test on, each a folder with `mix.wav` and `annotation.mid` of General MIDI pitches."""

from collections.abc import Iterator
from pathlib import Path

from data_prep.corpora.annotated import AnnotatedAudio, Annotation
from data_prep.corpora.track import CorpusSource, PrepOptions, Track
from data_prep.refused import Refused

AUDIO, ANNOTATION = "mix.wav", "annotation.mid"


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Every folder that holds one of the two files, for testing."""
    assert source is not None
    pieces = {path.parent for name in (AUDIO, ANNOTATION) for path in source.glob(f"*/{name}")}
    if not pieces:
        raise Refused(f"{source} is not SADTP: it has no PIECE/{AUDIO} with PIECE/{ANNOTATION}; give the top folder")
    for piece in sorted(pieces):
        annotation = Annotation(piece / ANNOTATION, "general_midi")
        recording = AnnotatedAudio((piece / AUDIO,), (annotation,), options.classes)
        yield Track(piece.name, "test", piece.name, recording)


SOURCE = CorpusSource("sadtp", "SADTP, full mixes to test on", licence="not stated with the files", tracks=tracks)
