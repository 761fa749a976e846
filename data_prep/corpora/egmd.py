"""E-GMD (Callender et al., 2020): the Groove performances, each recorded with 43 kits of a Roland TD-17.

The data set's own splits; all recordings of a performance stand in one.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from data_prep.annotations.labels import number
from data_prep.corpora.annotated import AnnotatedAudio, Annotation
from data_prep.corpora.tables import Inside, read_rows
from data_prep.corpora.track import CorpusSource, PrepOptions, Track
from data_prep.manifest import SPLITS
from data_prep.refused import Refused

TABLE = "e-gmd-v1.0.0.csv"
COLUMNS = ("id", "duration", "split", "midi_filename", "audio_filename")
ADVICE = f"expected {TABLE} as published, in the top folder of E-GMD: restore it or check --source"


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """A track an audio file; Refused where the table does not make sense."""
    assert source is not None
    path, inside = source / TABLE, Inside(source)
    line_of: dict[str, int] = {}
    for line, row in read_rows(path, COLUMNS, ADVICE):
        audio, midi, seconds = row["audio_filename"], row["midi_filename"], number(row["duration"])
        if row["split"] not in SPLITS:
            known = ", ".join(SPLITS)
            raise Refused(f"{path} line {line} has the split {row['split']!r}, none of {known}; {ADVICE}")
        if not 0 < seconds < math.inf:
            raise Refused(f"{path} line {line} has the duration {row['duration']!r}, no seconds above 0; {ADVICE}")
        for file in (audio, midi):
            if not inside(file):
                raise Refused(f"{path} line {line} names {file!r}, which leads out of {source}; {ADVICE}")
        name = audio.removesuffix(".wav")
        if line_of.setdefault(name, line) != line:
            raise Refused(f"{path} line {line} lists {audio!r} again, as line {line_of[name]} does; {ADVICE}")
        recording = AnnotatedAudio((source / audio,), (Annotation(source / midi, "roland"),), options.classes)
        yield Track(name, row["split"], row["id"], recording, seconds)


SOURCE = CorpusSource(
    "egmd",
    "E-GMD, performances on 43 electronic kits",
    licence="CC BY 4.0",
    tracks=tracks,
    published={"train": 35_217, "validation": 5_031, "test": 5_289},
)
