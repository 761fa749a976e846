"""Windows of synthetic music, saved by TensorFlow in the layout of ADTOF-YT."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from miniature import SOUNDS, drum_hits

from data_prep.onsets import Onsets, target_grid
from data_prep.spectrogram import log_spectrogram

COUNTS = {"train": 20, "validation": 9, "test": 5}
LABELS = [label for label, *_ in SOUNDS]  # in the order of the five classes


@cache
def window(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (400, 84, 1) and targets (400, 5), both float32."""
    samples, labels = drum_hits(seed, seconds=4.2)
    onsets = Onsets.of([time_s for time_s, _ in labels], [LABELS.index(label) for _, label in labels])
    features = np.asarray(log_spectrogram(samples), np.float32)[:400, :, None]
    return features, target_grid(onsets, 400, 5).astype(np.float32) / 2


def windows(split: str) -> tuple[np.ndarray, np.ndarray]:
    """All windows of a split: (N, 400, 84, 1) and (N, 400, 5)."""
    first = 100 * list(COUNTS).index(split)
    features, targets = zip(*(window(first + place) for place in range(COUNTS[split])), strict=True)
    return np.stack(features), np.stack(targets)


def as_published(features: np.ndarray, targets: np.ndarray) -> Any:
    """The structure of an element."""
    return {"x": features}, targets


def save_split(
    folder: Path, features: np.ndarray, targets: np.ndarray,
    structure: Callable[[np.ndarray, np.ndarray], Any] = as_published, **saving: Any,
) -> Path:  # fmt: skip
    """One split's folder."""
    import tensorflow

    tensorflow.data.Dataset.from_tensor_slices(structure(features, targets)).save(str(folder), **saving)
    return folder


def write_adtof_yt(source: Path, **saving: Any) -> Path:
    """The three folders, side by side."""
    for split in COUNTS:
        save_split(source / f"adtof_yt_{split}", *windows(split), **saving)
    return source
