"""Windows of prepared corpora, as a model sees them in training. B batch, T frames, F bands, K classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES, Manifest, window_count
from data_prep.refused import Refused
from data_prep.shards import Corpus, union_moments


@dataclass(frozen=True)
class FrameSpan:
    """One track's frames: bands (T, F) float16 and targets (T, K) uint8 halves, views of the mapped shard."""

    corpus: str
    track: str
    bands: np.ndarray
    targets: np.ndarray


class SplitData:
    """All windows of one split of some corpora."""

    def __init__(self, corpora: Sequence[Corpus], split: str) -> None:
        self.tracks = [
            FrameSpan(corpus.manifest.corpus, row.id, *corpus.frames(row))
            for corpus in corpora
            for row in corpus.rows(split).itertuples()
        ]
        counts = [window_count(len(track.bands)) for track in self.tracks]
        self.track_of = np.repeat(np.arange(len(counts)), counts)
        self.starts = np.concatenate([np.arange(count) * WINDOW_FRAMES for count in counts])
        self.windows_per_track = counts

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, windows: np.ndarray, shifts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Bands (B, T, F) float16 and targets (B, T, K) uint8 halves of some windows, silence beyond a track's end.

        ``shifts`` moves each window by so many frames, but keeps it within its track: the last one, which would reach
        beyond the end, lies against it.
        """
        shape = (len(windows), WINDOW_FRAMES)
        bands = np.zeros((*shape, self.tracks[0].bands.shape[1]), np.float16)
        targets = np.zeros((*shape, self.tracks[0].targets.shape[1]), np.uint8)
        for place, window in enumerate(windows):
            track = self.tracks[self.track_of[window]]
            start = self.starts[window]
            if shifts is not None:
                start = min(max(start + shifts[place], 0), max(len(track.bands) - WINDOW_FRAMES, 0))
            piece = slice(start, start + WINDOW_FRAMES)
            held = len(track.bands[piece])
            bands[place, :held] = track.bands[piece]
            targets[place, :held] = track.targets[piece]
        return torch.from_numpy(bands), torch.from_numpy(targets)

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch: every window once in random order, each moved by up to half a window."""
        order = generator.permutation(len(self))
        shifts = generator.integers(-WINDOW_FRAMES // 2, WINDOW_FRAMES // 2 + 1, len(self))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            yield self.read(batch, shifts[batch])

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every window once, track after track."""
        for first in range(0, len(self), batch_size):
            yield self.read(np.arange(first, min(first + batch_size, len(self))))

    def per_track(self, windows: Tensor) -> list[Tensor]:
        """(windows in order, T, K) -> a (T_i, K) tensor for each track, the padding cut off."""
        pieces = windows.split(self.windows_per_track)
        return [piece.flatten(0, 1)[: len(track.bands)] for piece, track in zip(pieces, self.tracks, strict=True)]


def check_fit(manifests: Sequence[Manifest], targets: str) -> None:
    """Refused where a corpus does not hold what a task learns, or cannot be learned from together with the first."""
    first = manifests[0]
    for manifest in manifests:
        if manifest.targets != targets:
            raise Refused(
                f"corpus {manifest.corpus!r} holds {manifest.targets}, the task learns {targets}; choose another"
            )
        for what in ("classes", "features", "bands"):
            if getattr(manifest, what) != getattr(first, what):
                raise Refused(
                    f"corpora {first.corpus!r} and {manifest.corpus!r} differ in their {what} "
                    f"({getattr(first, what)} and {getattr(manifest, what)}); prepare them with the same settings"
                )


@dataclass(frozen=True)
class TrainingData:
    """What training needs of its corpora: windows to learn from and to validate on, and what the manifests know."""

    train: SplitData
    validation: SplitData
    classes: tuple[str, ...]
    bands: int
    features: str
    mean: float
    deviation: float
    rates: np.ndarray  # (K,) onsets of each class a training frame

    @classmethod
    def open(cls, corpora: Sequence[str], shards: Path, targets: str) -> "TrainingData":
        """Open prepared corpora; Refused where one is not prepared, or does not fit the task or the others."""
        if not corpora:
            raise Refused("no corpus was named to train on; name at least one")
        opened = [Corpus.open(shards / name) for name in corpora]
        check_fit([corpus.manifest for corpus in opened], targets)
        first = opened[0].manifest
        moments = union_moments(opened, "train")
        splits = [corpus.manifest.splits["train"] for corpus in opened]
        onsets = np.array([[split.onsets[name] for name in first.classes] for split in splits]).sum(axis=0)
        return cls(
            train=SplitData(opened, "train"),
            validation=SplitData(opened, "validation"),
            classes=first.classes,
            bands=first.bands,
            features=first.features,
            mean=moments.mean,
            deviation=moments.deviation,
            rates=onsets / sum(split.frames for split in splits),
        )
