"""What every reader of annotations gives back, and the limits they share. N labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.refused import Refused

MAX_LABELS = 1_000_000  # eleven a second for a day
MAX_SECONDS = 24 * 3600.0  # later ones are samples or milliseconds
MAX_LABEL_CHARACTERS = 200
MAX_VELOCITY = 127  # in MIDI
MAX_TEXT_BYTES = 16 * 2**20  # a million lines of sixteen characters
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also takes 1_000, nan and infinity


@dataclass(frozen=True)
class Labels:
    """Labelled times in the order of the file.

    times_s (N,) float64 seconds from the first sample, labels: N words (MIDI pitches in digits), velocities (N,)
    float32 in 0..1, NaN where unknown.
    """

    times_s: np.ndarray
    labels: tuple[str, ...]
    velocities: np.ndarray

    @classmethod
    def of(
        cls,
        path: Path,
        times_s: Sequence[float] | np.ndarray,
        labels: Sequence[str],
        velocities: Sequence[float] | None = None,
    ) -> "Labels":
        """Columns of a file, checked; without velocities they are unknown.

        Raises Refused where there are too many labels, or one is empty, too long or not printable.
        """
        if len(labels) > MAX_LABELS:
            raise Refused(f"{path} has {len(labels):,} labels, more than {MAX_LABELS:,}; expected one song: split it")
        for label in dict.fromkeys(labels):
            if not is_label(label):
                raise Refused(
                    f"{path} has the label {label[:40]!r}; expected 1 to {MAX_LABEL_CHARACTERS} printable characters: "
                    "correct the file"
                )
        known = np.full(len(labels), np.nan) if velocities is None else velocities
        return cls(np.array(times_s, np.float64), tuple(labels), np.array(known, np.float32))

    def __len__(self) -> int:
        return len(self.labels)


def number(word: str) -> float:
    """The decimal number that a word is, else NaN."""
    return float(word) if DECIMAL.fullmatch(word) else math.nan


def is_time(seconds: float) -> bool:
    """Whether a number can be a time: from 0 to a day, in seconds."""
    return 0 <= seconds <= MAX_SECONDS


def is_label(word: str) -> bool:
    """Whether a word can be a label: not empty, not long, printable (which escapes and lone surrogates are not)."""
    return 0 < len(word) <= MAX_LABEL_CHARACTERS and word.isprintable()


def without_fraction(word: str) -> str:
    """A pitch in digits where tables and scripts have made 36.0 of 36; other words as they are."""
    return re.sub(r"^([0-9]+)\.0+$", r"\1", word)
