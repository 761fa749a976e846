"""Onset metrics: validate, compute, evaluate. B batch, T frames, K classes.

Conventions: onsets stand on the 10 ms grid and are matched in whole frames (ties are exact there); a hit is within
+-5 frames (50 ms), one to one, within its class; the matching is the largest possible. Micro scores come from counts
summed over tracks and classes. A class absent from reference and estimate alike is left out of the macro mean.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_prep.rates import FRAMES_PER_S

TOLERANCE_FRAMES = 5
TOLERANCE_MS = TOLERANCE_FRAMES * 1000 // FRAMES_PER_S


def count_hits(estimated: Tensor, reference: Tensor, tolerance_frames: int = TOLERANCE_FRAMES) -> Tensor:
    """(B, T, K) bool twice -> (B, K, 3) int64: hits, false alarms, misses.

    Going from left to right, the two earliest unmatched onsets are paired if they are within the tolerance, else the
    earlier one stays alone; on a line this matching is the largest. Runs of onsets further apart than the tolerance
    cannot share a pair, so all runs of all rows are walked side by side: the walk is as long as the longest run.
    """
    assert estimated.shape == reference.shape, f"{tuple(estimated.shape)} against {tuple(reference.shape)}"
    batch, frames, classes = estimated.shape
    stride = frames + tolerance_frames + 1  # on one long line no pair crosses from row to row
    first, second = (_positions(marks, stride) for marks in (estimated, reference))
    paired = _matched(first, second, tolerance_frames)
    hits, estimates, references = (
        torch.bincount(torch.div(at, stride, rounding_mode="floor"), minlength=batch * classes).view(batch, classes)
        for at in (paired, first, second)
    )
    return torch.stack((hits, estimates - hits, references - hits), dim=2)


def _positions(marks: Tensor, stride: int) -> Tensor:
    """Positions of the marks, in any order, with all (B, K) rows laid end to end, ``stride`` apart."""
    _, frames, classes = marks.shape
    flat = marks.reshape(-1).nonzero().squeeze(1)
    step, of = torch.div(flat, classes, rounding_mode="floor"), flat % classes
    window = torch.div(step, frames, rounding_mode="floor")
    return (window * classes + of) * stride + step % frames


def _matched(estimated: Tensor, reference: Tensor, tolerance: int) -> Tensor:
    """The estimated positions (N,) that find a partner among the reference ones (M,)."""
    positions, order = torch.cat((estimated, reference)).sort()
    if not len(positions):
        return positions
    run_of = torch.cumsum(positions.diff(prepend=positions[:1]) > tolerance, 0)
    runs = int(run_of[-1]) + 1
    is_estimate = order < len(estimated)
    estimated, reference = positions[is_estimate], positions[~is_estimate]
    sizes = [torch.bincount(run_of[of], minlength=runs) for of in (is_estimate, ~is_estimate)]
    ends = [size.cumsum(0) for size in sizes]
    heads = [end - size for end, size in zip(ends, sizes, strict=True)]
    matched = torch.zeros(len(estimated), dtype=torch.bool, device=estimated.device)
    while True:
        going = (heads[0] < ends[0]) & (heads[1] < ends[1])
        heads, ends = [head[going] for head in heads], [end[going] for end in ends]
        if not len(heads[0]):
            return estimated[matched]
        early = estimated[heads[0]] - reference[heads[1]]
        paired = early.abs() <= tolerance
        matched[heads[0][paired]] = True
        heads = [heads[0] + (paired | (early < 0)), heads[1] + (paired | (early >= 0))]


def join_tracks(tracks: list[Tensor], gap_frames: int = 2 * TOLERANCE_FRAMES) -> Tensor:
    """(T_i, K) of several tracks on one time line (1, sum of T_i and gaps, K), with empty frames before each."""
    gap = tracks[0].new_zeros(gap_frames, tracks[0].shape[1])
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
