"""Drum classes, and the maps from each source's labels to them (one JSON file a source vocabulary beside this module).

A map has a column for each of our vocabularies: 5 classes, the study's; 3, those of them that are in every kit; 8, of
Vogl et al. (DAFx 2018), where cowbell and ride bell are bells. Null is percussion outside the vocabulary.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

# The order is fixed: shards and checkpoints hold indices.
VOCABULARIES = {
    3: ("kick", "snare", "hi-hat"),
    5: ("kick", "snare", "toms", "hi-hat", "cymbals"),
    8: ("kick", "snare", "toms", "hi-hat", "crash", "ride", "bell", "claves"),
}
DRUM_CLASSES = VOCABULARIES[5]
CLASS_MAPS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.json")))


class ClassMap(Mapping[str, "int | None"]):
    """Label (a word, or a MIDI pitch in digits) -> index into a vocabulary, or None for other percussion."""

    def __init__(self, indices: Mapping[str, int | None], endings: str = "") -> None:
        self._indices, self._endings = dict(indices), endings

    def __getitem__(self, label: str) -> int | None:
        found = label if label in self._indices else label.rstrip(self._endings or None)
        return self._indices[found]

    def __iter__(self):
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


@cache
def class_map(name: str, classes: int = 5) -> ClassMap:
    """The map of a source vocabulary to 3, 5 or 8 classes."""
    assert name in CLASS_MAPS, f"unknown class map {name!r}; choose from {', '.join(CLASS_MAPS)}"
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    column, vocabulary = content["columns"].index(classes), VOCABULARIES[classes]
    chosen = {label: row[column] for label, row in content["labels"].items()}
    return ClassMap(
        {label: None if of is None else vocabulary.index(of) for label, of in chosen.items()},
        content.get("endings", ""),
    )


def to_classes(labels: Sequence[object], by_label: Mapping[str, int | None]) -> tuple[np.ndarray, Counter[str]]:
    """Labels -> ((N,) int64 class indices, -1 where the label is no class; labels unknown to the map, with counts)."""
    words = [str(label) for label in labels]
    unknown = Counter(word for word in words if word not in by_label)
    indices = [by_label.get(word) for word in words]
    return np.array([-1 if index is None else index for index in indices], np.int64), unknown
