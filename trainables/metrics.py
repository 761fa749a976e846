"""Onset metrics: validate, compute, evaluate. B batch, T frames, K classes, N and M onsets.

Conventions: onsets stand on the 10 ms grid and are matched in whole frames (ties are exact there); a hit is within
+-5 frames (50 ms), one to one, within its class; the matching is the largest possible. Micro scores come from counts
summed over tracks and classes. A class absent from reference and estimate alike is left out of the macro mean.
A grid of 10 ms says little within 20, 25 or 30 ms (25 are no whole frames): there the frames of estimates are matched
with the reference's exact times, in whole microseconds, and a difference of just the tolerance is a hit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_prep.rates import FRAMES_PER_S
from trainables.peaks import OnsetFrames, true_places

TOLERANCE_FRAMES = 5
SILENT_FRAMES = 2 * TOLERANCE_FRAMES  # around each track where tracks are joined: no peak or hit reaches over them
TOLERANCE_MS = TOLERANCE_FRAMES * 1000 // FRAMES_PER_S
EXACT_TOLERANCES_MS = (20, 25, 30)
FRAME_US = 1_000_000 // FRAMES_PER_S


def count_hits(estimated: OnsetFrames | Tensor, reference: Tensor, tolerance_frames: int = TOLERANCE_FRAMES) -> Tensor:
    """Onsets or marks (B, T, K) against marks (B, T, K) bool -> (B, K, 3) int64: hits, false alarms, misses.

    From left to right, each estimate takes the first reference in its reach that is not taken; on a line this matching
    is the largest. The walk has no end that the host waits for: see paired.
    """
    if isinstance(estimated, Tensor):
        estimated = OnsetFrames.of(estimated)
    assert estimated.shape == reference.shape, f"{tuple(estimated.shape)} against {tuple(reference.shape)}"
    batch, frames, classes = reference.shape
    at = estimated.places
    before = running_count(reference.transpose(1, 2))  # references before each place
    row_start = torch.div(at, max(frames, 1), rounding_mode="floor") * frames
    first = before.index_select(0, torch.maximum(at - tolerance_frames, row_start))
    beyond = before.index_select(0, torch.minimum(at + tolerance_frames + 1, row_start + frames))
    row_edges = torch.arange(batch * classes + 1, device=at.device) * frames
    estimate_edges = torch.searchsorted(at, row_edges)
    hits = running_count(paired(first, beyond)).index_select(0, estimate_edges).diff()
    alarms, misses = estimate_edges.diff() - hits, before.index_select(0, row_edges).diff() - hits
    return torch.stack((hits, alarms, misses), dim=1).long().view(batch, classes, 3)


def running_count(flags: Tensor) -> Tensor:
    """M bools, in any shape and read in its order -> (M + 1,) int32: how many are True before each, and in all."""
    counts = torch.zeros(flags.numel() + 1, dtype=torch.int32, device=flags.device)
    counts[1:].view(flags.shape).copy_(flags.view(torch.uint8))  # on a CPU bytes are cast quicker than bools
    return counts.cumsum_(0)


def paired(first: Tensor, beyond: Tensor) -> Tensor:
    """(N,) bool: the estimates that find a reference; see _taken."""
    return _taken(first, beyond)[0]


def _taken(first: Tensor, beyond: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) bool: the estimates that find a reference when each, from the left, takes the first in reach that is free.

    And (N,): which one each of these takes, as a number counted from its own.
    The references in reach of estimate i are those numbered from first[i] up to, not including, beyond[i]; both ascend.
    Once it had its turn, taken = min(max(taken, first) + 1, beyond) are taken or out of reach for all that follow. In
    taken - i the 1 vanishes and each turn only clamps what the turn before it left. Clamps after one another are one
    clamp, and joining each with as many before it as are joined already takes log2 N rounds.
    An estimate with at most one reference in reach leaves the same whatever came before; the others are looked at
    with the one before each.
    """
    number = torch.arange(len(first), dtype=first.dtype, device=first.device)
    low, high = first - number, beyond - number - 1
    left = torch.minimum(low, high)
    open_ended = low < high
    open_ended[:-1] |= open_ended[1:].clone()
    at = true_places(open_ended)
    limits = torch.stack((low.index_select(0, at), high.index_select(0, at)))
    joined = 1
    while joined < len(at):
        limits[:, joined:] = limits[:, :-joined].clamp(limits[0, joined:], limits[1, joined:])
        joined *= 2
    left.index_copy_(0, at, limits.amin(dim=0))
    paired = low <= high
    paired[1:] &= left[:-1] <= high[1:]
    return paired, left


@dataclass(frozen=True)
class Events:
    """Onsets as lists (N,) int64, in any order: the row of each, its class, and when from the row's start, in any unit.

    A row is what is matched by itself: a track, or a segment of one.
    """

    rows: np.ndarray
    classes: np.ndarray
    times: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Events"]) -> "Events":
        """All of them, one list after another."""
        empty = np.zeros(0, np.int64)
        columns = ([empty, *(getattr(part, name) for part in parts)] for name in ("rows", "classes", "times"))
        return cls(*map(np.concatenate, columns))

    def __getitem__(self, chosen: np.ndarray) -> "Events":
        """Those that a boolean mask or an index array selects."""
        return Events(self.rows[chosen], self.classes[chosen], self.times[chosen])

    def __len__(self) -> int:
        return len(self.rows)


def match(estimated: Events, reference: Events, tolerance: int) -> np.ndarray:
    """(N,) for each estimate the number of the reference it takes, -1 for none: one to one, and as many as can be."""
    taken = np.full(len(estimated), -1)
    if not len(estimated) or not len(reference):
        return taken
    both = Events.join((estimated, reference))
    # all rows and classes end to end on one line, too far apart to be matched with each other
    stride = int(np.ptp(both.times)) + tolerance + 1
    line = (both.rows * (int(both.classes.max()) + 1) + both.classes) * stride + both.times - both.times.min()
    mine, theirs = line[: len(estimated)], line[len(estimated) :]
    order, other = np.argsort(mine, kind="stable"), np.argsort(theirs, kind="stable")
    at, held = mine[order], theirs[other]
    reach = (held.searchsorted(at - tolerance), held.searchsorted(at + tolerance, side="right"))
    paired, ahead = (found.numpy() for found in _taken(*map(torch.from_numpy, reach)))
    taken[order[paired]] = other[(ahead + np.arange(len(at)))[paired]]
    return taken


def count_by_row(estimated: Events, reference: Events, tolerance: int, rows: int, classes: int) -> np.ndarray:
    """(rows, K, 3) int64 hits, false alarms and misses of each row; ``tolerance`` in the unit of the times."""
    hit = match(estimated, reference, tolerance) >= 0

    def counted(of: Events) -> np.ndarray:
        return np.bincount(of.rows * classes + of.classes, minlength=rows * classes)

    hits, alarms = counted(estimated[hit]), counted(estimated[~hit])
    return np.stack((hits, alarms, counted(reference) - hits), axis=1).reshape(rows, classes, 3)


def join_tracks(tracks: list[Tensor]) -> Tensor:
    """(T_i, K) of several tracks on one time line (1, sum of T_i and gaps, K), SILENT_FRAMES around each."""
    gap = tracks[0].new_zeros(SILENT_FRAMES, tracks[0].shape[1])
    return torch.cat([piece for track in tracks for piece in (gap, track)] + [gap]).unsqueeze(0)


@dataclass(frozen=True)
class Rates:
    """F1, precision and recall; 0 where nothing was right, and where there was nothing at all."""

    f1: float
    precision: float
    recall: float

    @classmethod
    def of(cls, counts: np.ndarray) -> "Rates":
        """From (3,) hits, false alarms, misses."""
        hits, alarms, misses = (float(count) for count in counts)
        return cls(
            f1=2 * hits / max(2 * hits + alarms + misses, 1.0),
            precision=hits / max(hits + alarms, 1.0),
            recall=hits / max(hits + misses, 1.0),
        )


def micro(counts: np.ndarray) -> Rates:
    """Rates of (K, 3) counts summed over classes."""
    return Rates.of(counts.sum(axis=0))


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes of (K, 3) counts that occur in reference or estimate; 0 if none does."""
    f1s = [Rates.of(row).f1 for row in counts if row.any()]
    return float(np.mean(f1s)) if f1s else 0.0
