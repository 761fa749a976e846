"""Audio files with annotations beside them, in any format of data_prep.annotations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.annotations import read_labels
from data_prep.audio import mix_blocks, read_blocks
from data_prep.classes import VOCABULARIES, WORDS, class_map, kits, to_classes
from data_prep.corpora.track import Annotated, Heard, UnknownLabels
from data_prep.onsets import Onsets
from data_prep.refused import Refused

# An annotation with more unknown labels is in another vocabulary.
MAX_UNKNOWN_SHARE = 0.1
SHOWN_LABELS = 30


@dataclass(frozen=True)
class Annotation:
    """A file of labels, and the class map that they belong to.

    vocabulary: its name. kit: what plays General MIDI pitches, where that is known; it matters if it does not follow
    them. mapping: a map of the user's own, label -> class name or None, instead of a named one.
    """

    path: Path
    vocabulary: str
    kit: str | None = None
    mapping: tuple[tuple[str, str | None], ...] | None = None

    def class_map(self, classes: int) -> Mapping[str, int | None]:
        """Label -> index into the vocabulary of so many classes."""
        if self.mapping is None:
            return class_map(self.vocabulary, classes, self.kit)
        return {label: None if name is None else VOCABULARIES[classes].index(name) for label, name in self.mapping}

    def read(self, classes: int) -> Annotated:
        """The labels; Refused where the file cannot be read, or over 10 % of its labels are unknown."""
        labels, by_label = read_labels(self.path), self.class_map(classes)
        indices, unknown = to_classes(labels.labels, by_label)
        if unknown.total() > MAX_UNKNOWN_SHARE * len(labels.labels):
            listed = ", ".join(f"{label} ({count})" for label, count in unknown.most_common(5))
            known = ", ".join(list(by_label)[:SHOWN_LABELS])
            raise UnknownLabels(
                f"{self.path} has {unknown.total()} of {len(labels.labels)} labels outside the {self.vocabulary} "
                f"vocabulary: {listed}; expected {known}: {self._advice}",
                len(labels.labels),
                unknown,
            )
        kept = indices >= 0
        onsets = Onsets.of(labels.times_s[kept], indices[kept], labels.velocities[kept])
        return Annotated(onsets, len(labels.labels), unknown, self._left_out(labels.labels))

    @property
    def _advice(self) -> str:
        """What to do about unknown labels."""
        if self.mapping is not None:
            return "correct the labels or add them to the mapping"
        if self.vocabulary == WORDS:
            return "correct the labels or say what they mean with --mapping FILE"
        return "correct the labels or extend the class map"

    def _left_out(self, labels: Sequence[str]) -> Counter[str]:
        """What the kit plays where a label is no single hit."""
        if self.kit not in kits():
            return Counter()
        sequences = kits()[self.kit].sequences
        return Counter({"notes that play a whole sequence on their kit": sum(label in sequences for label in labels)})


@dataclass(frozen=True)
class AnnotatedAudio:
    """Audio files that are added up (each at its gain) and the annotations of what is heard in them.

    remarks: what else was found beside them, to be counted.
    """

    audio: tuple[Path, ...]
    annotations: tuple[Annotation, ...]
    classes: int = 5
    gains_db: tuple[float, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """Audio and annotations."""
        return (*self.audio, *(annotation.path for annotation in self.annotations))

    @property
    def materials(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def annotate(self) -> Annotated:
        """The labels of all annotations together; Refused where one cannot be used."""
        read = [annotation.read(self.classes) for annotation in self.annotations]
        columns = ("times_s", "classes", "velocities")
        onsets = Onsets.of(*(np.concatenate([getattr(of.onsets, column) for of in read]) for column in columns))
        return Annotated(
            onsets,
            labels=sum(of.labels for of in read),
            unknown=sum((of.unknown for of in read), Counter()),
            left_out=sum((of.left_out for of in read), Counter(self.remarks)),
        )

    def read(self) -> Heard:
        """Audio and labels; Refused where a file cannot be used."""
        annotated = self.annotate()
        if len(self.audio) == 1 and not any(self.gains_db):
            return Heard(read_blocks(self.audio[0]), annotated)
        gains_db = self.gains_db or (0.0,) * len(self.audio)
        return Heard(mix_blocks([read_blocks(path) for path in self.audio], gains_db), annotated)


@dataclass(frozen=True)
class Unusable:
    """A recording that cannot be used, for a reason that is known beforehand; it is listed among the refused ones."""

    reason: str
    sources: tuple[Path, ...] = ()
    audio: tuple[Path, ...] = ()
    materials: tuple[Path, ...] = ()

    def annotate(self) -> Annotated:
        """Raises Refused with the reason."""
        raise Refused(self.reason)

    def read(self) -> Heard:
        """Raises Refused with the reason."""
        raise Refused(self.reason)
