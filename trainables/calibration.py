"""Calibration: the peak rule that fits a trained network, found on validation. L frames of a line, K classes, N peaks.

The numbers that the classes share are found one after another: those of the best micro F1, where each class has the
threshold of its best F1. Every count is exact, the matching the largest possible. Validation may be renders where use
is real music, so nothing is tuned to the last onset: a shared number changes for a gain of ``LEAST_GAIN`` only, a
threshold is the middle of the plateau around its best, and a class of few onsets keeps its own. Thresholds stay within
0.2 and 0.8: a class that is hardly heard on one kit asks for 0.06, which on another kit is a flood of false alarms.
(Seven networks tuned on one rendered kit and scored on another gained 0.7 points; 0.2 with thresholds from 0.05 on.)
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics import TOLERANCE_FRAMES, count_hits, paired, running_count
from trainables.peaks import STUDY_RULE, PeakRule, pick_peaks, stay_apart, surroundings, true_places

SHARED: dict[str, tuple[Any, ...]] = {  # what is tried for each of the rule's shared numbers, in this order
    "around_frames": (1, 2, 3, 4, 5),
    "delta": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2),
    "apart_frames": (1, 2, 3, 4),
}
FINE = tuple(hundredths / 100 for hundredths in range(20, 81))  # thresholds; see above
COARSE = FINE[::5]  # while the shared numbers are sought
REACH = max(SHARED["around_frames"])
LEAST_GAIN = 0.001
LEAST_ONSETS = 20  # of a class whose threshold is tuned


def calibrate(activations: Tensor, marks: Tensor, rule: PeakRule = STUDY_RULE) -> PeakRule:
    """The rule for activations (L, K) in 0..1 whose onsets are the marks (L, K) bool, sought from ``rule`` on.

    Tracks lie on one line with silence between; see metrics.join_tracks. A class of fewer than ``LEAST_ONSETS`` onsets
    keeps its threshold, and its counts decide nothing. The rule found is never worse on this line.
    """
    kept = rule.thresholds_of(activations.shape[1])
    line = _Line(activations, marks)
    tuned = line.onsets >= LEAST_ONSETS
    if not tuned.any():
        return rule
    best, best_f1 = rule, line.best_micro_f1(rule, tuned)
    for name, values in SHARED.items():
        tried = [replace(best, **{name: value}) for value in values]
        f1, number = max((line.best_micro_f1(of, tuned), -number) for number, of in enumerate(tried))
        if f1 >= best_f1 + LEAST_GAIN:
            best, best_f1 = tried[-number], f1
    f1s = torch.cat([line.f1s(best, FINE[of : of + len(COARSE)])[0] for of in range(0, len(FINE), len(COARSE))])
    middles = [_middle(of, onsets) for of, onsets in zip(f1s.T.tolist(), line.onsets.tolist(), strict=True)]
    of_classes = zip(tuned.tolist(), middles, kept, strict=True)
    found = replace(best, thresholds=tuple(middle if of else own for of, middle, own in of_classes))
    return found if micro_f1(activations, marks, found) >= micro_f1(activations, marks, rule) else rule


def micro_f1(activations: Tensor, marks: Tensor, rule: PeakRule) -> float:
    """Micro F1 of a rule on one time line, (L, K) twice."""
    counts = count_hits(pick_peaks(activations.unsqueeze(0), rule), marks.unsqueeze(0))
    hits, alarms, misses = counts.sum(dim=(0, 1)).tolist()
    return 2 * hits / max(2 * hits + alarms + misses, 1)


def _middle(f1s: list[float], onsets: int) -> float:
    """Of ``FINE``, the middle of the thresholds around the best one that are nearly as good.

    That is by less than a tenth of what chance does to a share of so many onsets: 0.003 of a thousand.
    """
    best = max(range(len(f1s)), key=f1s.__getitem__)
    least = f1s[best] - 0.1 / onsets**0.5
    low = high = best
    while low > 0 and f1s[low - 1] >= least:
        low -= 1
    while high + 1 < len(f1s) and f1s[high + 1] >= least:
        high += 1
    return round((FINE[low] + FINE[high]) / 2, 3)


class _Maxima(NamedTuple):
    """The highest of so many frames around: frame, row, value, mean of the frames around, references in reach (N,)."""

    at: Tensor
    row: Tensor
    value: Tensor
    mean: Tensor
    first: Tensor  # the number of the first reference within the tolerance, and of the first one beyond it
    beyond: Tensor


class _Line:
    """Activations and onsets of one time line, from which the counts of any rule are had quickly."""

    def __init__(self, activations: Tensor, marks: Tensor) -> None:
        frames, self.classes = activations.shape
        self.onsets = marks.sum(dim=0)
        self._before = running_count(marks.T)
        self._frames, self._stride = frames, frames + 2 * REACH
        rows = functional.pad(activations.T.float(), (REACH, REACH))
        crest = torch.ge(rows, FINE[0], out=torch.empty_like(rows))
        crest[:, 1:-1] *= (rows[:, 1:-1] >= rows[:, :-2]) & (rows[:, 1:-1] >= rows[:, 2:])
        self._line, self._crests = rows.view(-1), true_places(crest.bool().view(-1))
        self._maxima: dict[int, _Maxima] = {}

    def _maxima_of(self, around_frames: int) -> _Maxima:
        if around_frames not in self._maxima:
            at = self._crests
            value = self._line.index_select(0, at)
            highest, mean = surroundings(self._line, at, around_frames)
            stays = true_places(value == highest)
            at, value, mean = (of.index_select(0, stays) for of in (at, value, mean))
            row = torch.div(at, self._stride, rounding_mode="floor")
            frame = at - row * self._stride - REACH
            low = (frame - TOLERANCE_FRAMES).clamp(min=0) + row * self._frames
            high = (frame + TOLERANCE_FRAMES + 1).clamp(max=self._frames) + row * self._frames
            first, beyond = (self._before.index_select(0, of) for of in (low, high))
            self._maxima[around_frames] = _Maxima(at, row, value, mean, first, beyond)
        return self._maxima[around_frames]

    def f1s(self, rule: PeakRule, thresholds: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """F1 (J, K) by a rule with each of these thresholds, and its counts (J, K, 2): twice the hits, of how many."""
        maxima = self._maxima_of(rule.around_frames)
        frame = maxima.at - maxima.row * self._stride - REACH
        peaks = (maxima.value >= maxima.mean + rule.delta) & (frame >= rule.apart_frames)
        grid = torch.tensor(thresholds, device=peaks.device).unsqueeze(1)
        number, of = ((maxima.value >= grid) & peaks).nonzero(as_tuple=True)
        # one line after another for each threshold, far enough apart
        line = len(self._line)
        apart = true_places(stay_apart(maxima.at.index_select(0, of) + number * line, rule.apart_frames))
        number, of = number.index_select(0, apart), of.index_select(0, apart)
        taken = number.int() * int(self._before[-1])
        hits = paired(maxima.first.index_select(0, of) + taken, maxima.beyond.index_select(0, of) + taken)
        cell = number * self.classes + maxima.row.index_select(0, of)
        cells = len(thresholds) * self.classes
        estimates = torch.bincount(cell, minlength=cells).view(-1, self.classes)
        doubled = 2 * torch.bincount(cell.index_select(0, true_places(hits)), minlength=cells).view(-1, self.classes)
        counts = torch.stack((doubled, estimates + self.onsets), dim=2)
        return doubled / counts[..., 1].clamp(min=1), counts

    def best_micro_f1(self, rule: PeakRule, tuned: Tensor) -> float:
        """Micro F1 over the classes ``tuned`` (K,), each with the threshold of its best F1."""
        f1s, counts = self.f1s(rule, COARSE)
        best = counts.gather(0, f1s.argmax(dim=0).view(1, -1, 1).expand(-1, -1, 2))[0, tuned]
        doubled, of = best.sum(dim=0).tolist()
        return doubled / max(of, 1)
