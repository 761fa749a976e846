"""Peaks, matching and counts by plain Python loops over batch and class, for the benchmarks to compare with."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics import TOLERANCE_FRAMES
from trainables.peaks import PeakRule

RULE = PeakRule()


def counted(activations: Tensor, onsets: Tensor, *, as_lists: bool = False) -> np.ndarray:
    """(B, T, K) activations and bool onsets -> (K, 3) hits, false alarms, misses.

    Maxima of all rows at once, then loops on tensors, as the reference has them. ``as_lists`` takes each row's frames
    out of their tensors first, which is the quickest that such a loop can be.
    """
    reach = RULE.around_frames
    around = functional.pad(activations, (0, 0, reach, reach)).unfold(1, 2 * reach + 1, 1)
    loud = activations == around.amax(dim=3)
    loud &= (activations >= around.mean(dim=3) + RULE.delta) & (activations >= RULE.threshold)
    found, known = torch.where(loud), torch.where(onsets)
    counts = np.zeros((activations.shape[2], 3), np.int64)
    for window in range(len(activations)):
        for of in range(activations.shape[2]):
            peaks, last = [], -1
            frames = found[1][(found[0] == window) & (found[2] == of)]
            for frame in frames.tolist() if as_lists else frames:
                if frame - last > RULE.apart_frames:
                    peaks.append(frame)
                    last = frame
            wanted = known[1][(known[0] == window) & (known[2] == of)]
            wanted = wanted.tolist() if as_lists else wanted
            at = then = hits = 0
            while at < len(peaks) and then < len(wanted):
                early = peaks[at] - wanted[then]
                if abs(early) <= TOLERANCE_FRAMES:
                    hits, at, then = hits + 1, at + 1, then + 1
                elif early < 0:
                    at += 1
                else:
                    then += 1
            counts[of] += (hits, len(peaks) - hits, len(wanted) - hits)
    return counts
