"""Drum classes, and the maps from each source's labels to them (one JSON file a vocabulary beside this module)."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

DRUM_CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")  # the order is fixed: shards and checkpoints hold indices
CLASS_MAPS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.json")))


@cache
def class_map(name: str) -> dict[str, int | None]:
    """Label (a word, or a MIDI pitch in digits) -> index into DRUM_CLASSES, or None for other percussion."""
    assert name in CLASS_MAPS, f"unknown class map {name!r}; choose from {', '.join(CLASS_MAPS)}"
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    by_label: dict[str, int | None] = {label: DRUM_CLASSES.index(of) for of in DRUM_CLASSES for label in content[of]}
    return by_label | dict.fromkeys(content["left_out"])


def to_classes(labels: Sequence[object], name: str) -> tuple[np.ndarray, Counter[str]]:
    """Labels -> ((N,) int64 class indices, -1 where the label is no class; labels unknown to the map, with counts)."""
    by_label = class_map(name)
    words = [str(label) for label in labels]
    unknown = Counter(word for word in words if word not in by_label)
    indices = [by_label.get(word) for word in words]
    return np.array([-1 if index is None else index for index in indices], np.int64), unknown
