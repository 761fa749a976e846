"""Annotations: labelled times from files of every kind, read by suffix. One table, one module a format."""

from collections.abc import Callable
from pathlib import Path

from data_prep.annotations.csv import read_csv
from data_prep.annotations.jams import read_jams
from data_prep.annotations.labels import Labels
from data_prep.annotations.midi import read_midi
from data_prep.annotations.musicxml import read_musicxml
from data_prep.annotations.text import read_text
from data_prep.refused import Refused

READERS: dict[str, Callable[[Path], Labels]] = {
    ".mid": read_midi,
    ".midi": read_midi,
    ".txt": read_text,
    ".csv": read_csv,
    ".jams": read_jams,
    ".musicxml": read_musicxml,
    ".xml": read_musicxml,
    ".mxl": read_musicxml,
}


def read_labels(path: Path) -> Labels:
    """The labelled times of an annotation, in the order of the file.

    Raises Refused where the suffix is unknown, or the file is missing, too large or broken.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Refused(
            f"{path} is no annotation that can be read; expected one of {', '.join(READERS)}: convert it or rename it"
        )
    return reader(path)


__all__ = ["READERS", "Labels", "read_labels"]
