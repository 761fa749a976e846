"""ADTOF-YT (Zehren et al.): real music, published as TensorFlow datasets of features and targets, one folder a split.

An element is a window of 400 frames: the bands of our front end, and targets in our five classes, 1 in an onset's frame
and 0.5 beside it. No audio was published, so there are no whole tracks; nor is it said which windows come from one
piece: each window is a track and a performance of its own, and only the published splits keep pieces apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.classes import DRUM_CLASSES, VOCABULARIES
from data_prep.corpora.track import Annotated, CorpusSource, Framed, PrepOptions, Track
from data_prep.manifest import SPLITS, WINDOW_FRAMES
from data_prep.onsets import ONSET, Onsets, target_grid
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused
from data_prep.saved_datasets import METADATA, SavedDataset
from data_prep.spectrogram import BANDS

FOLDERS: dict[str, tuple[str, ...]] = {split: (f"adtof_yt_{split}",) for split in SPLITS}
FOLDERS["validation"] += ("adtof_yt_val", "adtof_yt_valid")
EXPECTED = {"x": (WINDOW_FRAMES, BANDS), "y": (WINDOW_FRAMES, len(DRUM_CLASSES))}  # features, targets
DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Window:
    """An element of a split's dataset, by its place in it, with the targets of some classes."""

    folder: Path
    place: int
    classes: int

    @property
    def audio(self) -> tuple[Path, ...]:
        """None: it was not published."""
        return ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The small file that names the save: all windows stand in one of gigabytes, which ``materials`` watches."""
        return (self.folder / METADATA,)

    @property
    def materials(self) -> tuple[Path, ...]:
        """The split's folder."""
        return (self.folder,)

    def annotate(self) -> Annotated:
        """The onsets that the targets hold."""
        onsets = _onsets(self.read().targets)
        return Annotated(onsets, len(onsets))

    def read(self) -> Framed:
        """Features and targets; Refused where they are damaged, or not what they should be."""
        element = _dataset(self.folder).read(self.place)
        features, targets = (self._shaped(of.numpy(), name) for name, of in _members(element, self.folder).items())
        with np.errstate(over="ignore"):
            bands = features.astype(np.float16)
        if not np.isfinite(bands).all():
            raise Refused(f"{self} has features that are no numbers, or beyond 16 bits; download the split again")
        doubled = 2 * targets
        if len(strays := doubled[~np.isin(doubled, (0, 1, 2))]):
            raise Refused(f"{self} has a target of {strays[0] / 2:g}; expected 0, 0.5 or 1: download the split again")
        chosen = [DRUM_CLASSES.index(name) for name in VOCABULARIES[self.classes]]
        halves = doubled.astype(np.uint8)[:, chosen]
        return Framed(bands, np.maximum(halves, target_grid(_onsets(halves), len(halves), self.classes)))

    def _shaped(self, values: np.ndarray, name: str) -> np.ndarray:
        """(T, columns), without a last axis of one."""
        expected = EXPECTED[name]
        if values.shape not in (expected, (*expected, 1)):
            raise Refused(f"{self} has {name} of shape {values.shape}; expected {expected}: download the split again")
        return values.reshape(expected)

    def __str__(self) -> str:
        return f"window {self.place} of {self.folder}"


def _onsets(halves: np.ndarray) -> Onsets:
    frames, of = np.nonzero(halves == ONSET)
    return Onsets.of(frames / FRAMES_PER_S, of)


def _members(element: Any, folder: Path) -> dict[str, Any]:
    """Features and targets among what an element (or its description) consists of: a pair of them, and maybe more.

    Each may stand alone or in a dictionary, under its name or as the only one.
    """
    found: dict[str, Any] = {}
    for name, member in zip(EXPECTED, element if isinstance(element, tuple) else (), strict=False):
        if isinstance(member, Mapping):
            member = member.get(name, next(iter(member.values())) if len(member) == 1 else None)
        if hasattr(member, "shape"):
            found[name] = member
    if len(found) < len(EXPECTED):
        raise Refused(f"{folder} has elements {element}; expected pairs of features and targets: is it ADTOF-YT?")
    return found


def _dataset(folder: Path) -> SavedDataset:
    """The dataset that this process reads, so that it goes on where it stands."""
    metadata = folder / METADATA
    return _opened(folder, metadata.stat().st_mtime_ns if metadata.is_file() else 0)


@lru_cache(maxsize=1)
def _opened(folder: Path, changed_ns: int) -> SavedDataset:
    dataset = SavedDataset(folder)
    for name, of in _members(dataset.spec, folder).items():
        expected = EXPECTED[name]
        fits = any(of.shape.is_compatible_with(shape) for shape in (expected, (*expected, 1)))
        if not fits or of.dtype.name not in DTYPES:
            came = f"{name} of shape {of.shape} and type {of.dtype.name}"
            raise Refused(f"{folder} has {came}; expected {expected}, {' or '.join(DTYPES)}: is it ADTOF-YT?")
    return dataset


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Every window of the three splits; Refused where one is missing, or is not as published."""
    assert source is not None
    folders = {
        split: next((source / name for name in names if (source / name).is_dir()), None)
        for split, names in FOLDERS.items()
    }
    for split, folder in folders.items():
        if folder is None:
            expected = ", ".join(names[0] for names in FOLDERS.values())
            raise Refused(
                f"{source} lacks {FOLDERS[split][0]}; expected the folders {expected} side by side in it: download "
                "what is missing, or give the folder that holds them"
            )
    for split, folder in folders.items():
        assert folder is not None
        for place in range(len(_dataset(folder))):
            name = f"{split}-{place:06d}"
            seconds = WINDOW_FRAMES / FRAMES_PER_S
            yield Track(name, split, name, Window(folder, place, options.classes), seconds)


SOURCE = CorpusSource(
    "adtof_yt",
    "ADTOF-YT, 4 s windows of features; which of them come from one piece is not published",
    licence="CC BY-NC-SA 4.0, as ADTOF",
    tracks=tracks,
    vocabularies=(3, 5),
    whole_tracks=False,
)
