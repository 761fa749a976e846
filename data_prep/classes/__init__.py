"""Drum classes, and the maps from each source's labels to them (one JSON file a source vocabulary beside this module).

A map has a column for each of our vocabularies: 5 classes, the study's; 3, those of them that are in every kit; 8, of
Vogl et al. (DAFx 2018), where cowbell and ride bell are bells. Null is percussion outside the vocabulary. `kits/` holds
what is known of sampled kits that are played by MIDI and do not follow General MIDI.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# The order is fixed: shards and checkpoints hold indices.
VOCABULARIES = {
    3: ("kick", "snare", "hi-hat"),
    5: ("kick", "snare", "toms", "hi-hat", "cymbals"),
    8: ("kick", "snare", "toms", "hi-hat", "crash", "ride", "bell", "claves"),
}
DRUM_CLASSES = VOCABULARIES[5]
HERE = Path(__file__).parent
CLASS_MAPS = tuple(sorted(path.stem for path in HERE.glob("*.json")))
WORDS = "words"  # the map of labels from anywhere, made from the others


class ClassMap(Mapping[str, "int | None"]):
    """Label (a word, or a MIDI pitch in digits) -> index into a vocabulary, or None for other percussion."""

    def __init__(self, indices: Mapping[str, int | None], endings: str = "", any_case: bool = False) -> None:
        self._indices, self._endings, self._any_case = dict(indices), endings, any_case

    def __getitem__(self, label: str) -> int | None:
        word = label.casefold() if self._any_case else label
        found = word if word in self._indices else word.rstrip(self._endings or None)
        return self._indices[found]

    def __iter__(self):
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


@dataclass(frozen=True)
class Kit:
    """How a kit differs from General MIDI, all pitches in digits.

    sounds: pitch -> the General MIDI pitch that it sounds as. sequences: pitches that play many hits.
    """

    sounds: Mapping[str, str]
    sequences: frozenset[str]


@cache
def kits() -> dict[str, Kit]:
    """The kits that are known not to follow General MIDI, by the names of their files."""
    content = [entry for path in sorted((HERE / "kits").glob("*.json")) for entry in _json(path)["kits"]]
    return {
        name: Kit(
            {str(pitch): sound for sound, pitches in entry["sounds"].items() for pitch in pitches},
            frozenset(map(str, entry.get("sequences", ()))),
        )
        for entry in content
        for name in entry["names"]
    }


@cache
def class_map(name: str, classes: int = 5, kit: str | None = None) -> ClassMap:
    """The map of a source vocabulary to 3, 5 or 8 classes; of General MIDI pitches as a kit sounds, if it is known."""
    if name == WORDS:
        return ClassMap(_words(classes), _json(HERE / "enst.json")["endings"], any_case=True)
    assert name in CLASS_MAPS, f"unknown class map {name!r}; choose from {', '.join(CLASS_MAPS)}"
    content = _json(HERE / f"{name}.json")
    column, vocabulary = content["columns"].index(classes), VOCABULARIES[classes]
    chosen = {label: row[column] for label, row in content["labels"].items()}
    indices = {label: None if of is None else vocabulary.index(of) for label, of in chosen.items()}
    if kit in kits():
        sounds, sequences = kits()[kit].sounds, kits()[kit].sequences
        indices |= {pitch: indices[sound] for pitch, sound in sounds.items()} | dict.fromkeys(sequences)
    return ClassMap(indices, content.get("endings", ""))


def _words(classes: int) -> dict[str, int | None]:
    """General MIDI pitches, and what else means one class only.

    Those are the names of the classes of every vocabulary ("cymbals" is no class of 8, and could be two of them), and
    the labels of all maps as far as they agree.
    """
    meanings: dict[str, set[int | None]] = {}
    general_midi = class_map("general_midi", classes)
    for of, vocabulary in VOCABULARIES.items():
        for pitch, index in class_map("general_midi", of).items():
            if index is not None:
                meanings.setdefault(vocabulary[index], set()).add(general_midi[pitch])
    for name in CLASS_MAPS:
        for label, index in class_map(name, classes).items():
            meanings.setdefault(label.casefold(), set()).add(index)
    agreed = {label: next(iter(of)) for label, of in meanings.items() if len(of) == 1}
    return agreed | dict(general_midi)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def to_classes(labels: Sequence[object], by_label: Mapping[str, int | None]) -> tuple[np.ndarray, Counter[str]]:
    """Labels -> ((N,) int64 class indices, -1 where the label is no class; labels unknown to the map, with counts)."""
    words = [str(label) for label in labels]
    unknown = Counter(word for word in words if word not in by_label)
    indices = [by_label.get(word) for word in words]
    return np.array([-1 if index is None else index for index in indices], np.int64), unknown
