"""Audio files with a text annotation beside them: one `time label` a line."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.audio import read_audio
from data_prep.classes import class_map, to_classes
from data_prep.onsets import Onsets
from data_prep.refused import Refused

MAX_UNKNOWN_SHARE = 0.01
MAX_LINE_BYTES = 4096


def read_labelled_times(path: Path) -> tuple[list[float], list[str]]:
    """Times in seconds and labels of a text annotation, in the order of the file.

    Raises Refused where the file is missing, is not text, or a line is no `seconds label`.
    """
    if not path.is_file():
        raise Refused(f"no annotation at {path}; expected a text file of `seconds label` lines: restore it")
    times_s, labels = [], []
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            words = line.decode("utf-8", "replace").split()
            if not words:
                continue
            try:
                time_s, label = float(words[0]), words[1]
            except (ValueError, IndexError):
                time_s, label = math.nan, ""
            if not math.isfinite(time_s) or time_s < 0:
                shown = " ".join(words)[:60]
                raise Refused(
                    f"{path} line {number} is {shown!r}; expected `seconds label`, as in `1.25 SD`: correct the line"
                )
            times_s.append(time_s)
            labels.append(label)
    return times_s, labels


@dataclass(frozen=True)
class AnnotatedAudio:
    """An audio file and its text annotation in one of the vocabularies of data_prep.classes."""

    audio: Path
    annotation: Path
    vocabulary: str

    @property
    def sources(self) -> tuple[Path, ...]:
        """Audio and annotation."""
        return (self.audio, self.annotation)

    @property
    def materials(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def read(self) -> tuple[np.ndarray, Onsets, Counter[str]]:
        """Samples, onsets, and labels left out; Refused where over 1 % of the labels are unknown."""
        times_s, labels = read_labelled_times(self.annotation)
        classes, unknown = to_classes(labels, self.vocabulary)
        if unknown.total() > MAX_UNKNOWN_SHARE * len(labels):
            listed = ", ".join(f"{label} ({count})" for label, count in unknown.most_common(5))
            known = ", ".join(list(class_map(self.vocabulary))[:30])
            raise Refused(
                f"{self.annotation} has {unknown.total()} of {len(labels)} labels outside the {self.vocabulary} "
                f"vocabulary: {listed}; expected {known}: correct the labels or extend the class map"
            )
        onsets = Onsets.of(np.array(times_s), classes)
        left_out = Counter({f"unknown label {label}": count for label, count in unknown.items()})
        return read_audio(self.audio), onsets[onsets.classes >= 0], left_out
