"""Onsets and the target grid they become. T frames, K classes, N onsets."""

from dataclasses import dataclass

import numpy as np

from data_prep.rates import FRAMES_PER_S

# Onsets of one class closer than this are one event to a listener (flams, hat edge and bow): 1 to 2.6 % of onsets.
MERGE_WITHIN_S = 0.02
ONSET, NEIGHBOUR = 2, 1  # halves: 1.0 in the onset's frame, 0.5 in the frames beside it


@dataclass(frozen=True)
class Onsets:
    """Onsets in time order.

    times_s (N,) float64 seconds from the first sample, classes (N,) int64 indices into the vocabulary, velocities
    (N,) float32 in 0..1, NaN where unknown.
    """

    times_s: np.ndarray
    classes: np.ndarray
    velocities: np.ndarray

    @classmethod
    def of(cls, times_s: np.ndarray, classes: np.ndarray, velocities: np.ndarray | None = None) -> "Onsets":
        """Onsets from unsorted columns; without velocities they are unknown."""
        times_s = np.asarray(times_s, np.float64)
        if velocities is None:
            velocities = np.full(len(times_s), np.nan)
        order = np.lexsort((classes, times_s))
        return cls(times_s[order], np.asarray(classes, np.int64)[order], np.asarray(velocities, np.float32)[order])

    def __len__(self) -> int:
        return len(self.times_s)

    def __getitem__(self, chosen: np.ndarray) -> "Onsets":
        """The onsets that a boolean mask or an index array selects."""
        return Onsets(self.times_s[chosen], self.classes[chosen], self.velocities[chosen])

    def merged(self, within_s: float = MERGE_WITHIN_S) -> "Onsets":
        """Onsets of one class at most ``within_s`` after the one before them fall to it; the loudest velocity stays."""
        order = np.lexsort((self.times_s, self.classes))
        times_s, classes, velocities = self.times_s[order], self.classes[order], self.velocities[order]
        apart = np.diff(times_s, prepend=-np.inf) > within_s + 1e-9
        first = apart | (np.diff(classes, prepend=-1) != 0)
        starts = np.flatnonzero(first)
        loudest = np.fmax.reduceat(velocities, starts) if len(starts) else velocities
        return Onsets.of(times_s[first], classes[first], loudest)


def onset_frames(times_s: np.ndarray) -> np.ndarray:
    """The frame nearest to each time, (N,) int64; a time halfway between two frames goes to the later one."""
    # The tiny term keeps decimal ties (0.285 s) up where binary fractions would fall just short of the half.
    return np.floor(times_s * FRAMES_PER_S + 0.5 + 1e-6).astype(np.int64)


def target_grid(onsets: Onsets, frames: int, classes: int) -> np.ndarray:
    """(T, K) uint8 in halves: 2 in the frame nearest to an onset, 1 beside it, 0 elsewhere; none from outside."""
    grid = np.zeros((frames + 2, classes), np.uint8)  # one spare frame before and after
    at = onset_frames(onsets.times_s) + 1
    inside = (at >= 1) & (at <= frames)
    at, of = at[inside], onsets.classes[inside]
    grid[at - 1, of] = grid[at + 1, of] = NEIGHBOUR
    grid[at, of] = ONSET
    return grid[1:-1]
