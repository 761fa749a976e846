"""How often windows of each corpus of a union come: in proportion to their number raised to a power.

1 leaves a union as it is, 0 gives every corpus the same share. Class weights stay those of all frames, and so do mean
and deviation where windows come as they lie in the shards; where they are mixed anew, mean and deviation are those of
windows that were drawn by these shares (``mixing.as_heard``). C corpora.
"""

import numpy as np

from data_prep.manifest import WINDOW_FRAMES
from trainables.data import Spans, SplitData
from trainables.placement import Batches, TrainingWindows, Windows


def shares_of(windows: np.ndarray, power: float) -> np.ndarray:
    """The corpora's shares (C,), by how many windows each has (C,)."""
    raised = windows.astype(float) ** power
    return raised / raised.sum()


class Turns:
    """Which windows each epoch has: a pure function of the seed and the epoch, so that any epoch can be begun anew.

    ``windows`` (C,): how many each corpus has, one corpus behind the other. An epoch has as many as there are in all.
    A corpus goes through its windows in random order, from epoch to epoch, and all have come before one comes again.
    """

    def __init__(self, windows: np.ndarray, power: float, seed: int) -> None:
        self._windows, self._seed = windows, seed
        self._firsts = windows.cumsum() - windows
        edges = shares_of(windows, power).cumsum()
        edges[-1] = 1.0  # whatever was rounded
        self._edges = np.concatenate([[0.0], edges]) * int(windows.sum())

    def before(self, epoch: int) -> np.ndarray:
        """How many windows of each corpus (C,) have come before an epoch, counted from 0."""
        return np.diff(np.rint(self._edges * epoch).astype(np.int64))

    def numbers(self, epoch: int) -> np.ndarray:
        """The windows of an epoch by their numbers through all corpora, corpus after corpus."""
        begins, ends = self.before(epoch), self.before(epoch + 1)
        return np.concatenate([self._turns(*of) for of in zip(range(len(begins)), begins, ends, strict=True)])

    def _turns(self, corpus: int, begin: int, end: int) -> np.ndarray:
        """The windows that a corpus's turns from ``begin`` to ``end`` fall on."""
        count = int(self._windows[corpus])
        rounds = [
            np.random.default_rng([self._seed, corpus, turn]).permutation(count)
            for turn in range(begin // count, -(-end // count))
        ]
        first = begin // count * count
        there = np.concatenate(rounds)[begin - first : end - first] if rounds else np.zeros(0, np.int64)
        return there + self._firsts[corpus]


class WeightedWindows(TrainingWindows):
    """The windows of several corpora, wherever they lie, each corpus as often as ``power`` says."""

    kind = "weighted"

    def __init__(self, windows: Windows, power: float, seed: int) -> None:
        super().__init__(windows.split, windows.device)
        self.windows = windows
        self._turns = Turns(windows.split.windows_of_corpora, power, seed)

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """The first epoch."""
        return self.epoch(0, batch_size, generator)

    def epoch(self, number: int, batch_size: int, generator: np.random.Generator) -> Batches:
        """The windows whose turn it is, in random order, each at a random offset."""
        numbers = generator.permutation(self._turns.numbers(number))
        return self.windows.batches(spans_near(self.split, numbers, WINDOW_FRAMES, generator), batch_size)


def spans_near(split: SplitData, numbers: np.ndarray, frames: int, generator: np.random.Generator) -> Spans:
    """Windows by their numbers, each moved by up to half a window and kept within its track as far as that is long."""
    shifts = generator.integers(-WINDOW_FRAMES // 2, WINDOW_FRAMES // 2 + 1, len(numbers))
    tracks, starts = (of[numbers] for of in split.in_order)
    return Spans(tracks, np.clip(starts + shifts, 0, np.maximum(split.frames[tracks] - frames, 0)))
