"""Peaks, matching and counts of 512 windows against plain Python loops over batch and class."""

import numpy as np
import torch
from timing import report, seconds_of

from trainables.metrics import TOLERANCE_FRAMES, count_hits
from trainables.peaks import PeakRule, find_peaks

torch.set_num_threads(1)
RULE = PeakRule()
GENERATOR = np.random.default_rng(0)
ONSETS = GENERATOR.random((512, 400, 5)) < 0.03
BLUR = np.array([0.3, 0.6, 1.0, 0.6, 0.3])
ACTIVATIONS = np.apply_along_axis(
    np.convolve, 1, np.roll(ONSETS, 1, axis=1) * GENERATOR.random(ONSETS.shape), BLUR, "same"
)
ACTIVATIONS = np.clip(ACTIVATIONS + GENERATOR.random(ONSETS.shape) * 0.1, 0, 1).astype(np.float32)


def plain(as_lists: bool) -> np.ndarray:
    """Maxima of all rows at once, then a loop over batch and class in Python, on tensors as the reference does it.

    ``as_lists`` takes each row's frames out of their tensors first, which is the quickest that such a loop can be.
    """
    activations, onsets = torch.from_numpy(ACTIVATIONS), torch.from_numpy(ONSETS)
    reach = RULE.around_frames
    around = torch.nn.functional.pad(activations, (0, 0, reach, reach)).unfold(1, 2 * reach + 1, 1)
    loud = activations == around.amax(dim=3)
    loud &= (activations >= around.mean(dim=3) + RULE.delta) & (activations >= RULE.threshold)
    found, known = torch.where(loud), torch.where(onsets)
    counts = np.zeros((5, 3), np.int64)
    for window in range(len(activations)):
        for of in range(5):
            peaks, last = [], -1
            frames = found[1][(found[0] == window) & (found[2] == of)]
            for frame in frames.tolist() if as_lists else frames:
                if frame - last > RULE.apart_frames:
                    peaks.append(frame)
                    last = frame
            wanted = known[1][(known[0] == window) & (known[2] == of)]
            wanted = wanted.tolist() if as_lists else wanted
            i = j = hits = 0
            while i < len(peaks) and j < len(wanted):
                early = peaks[i] - wanted[j]
                if abs(early) <= TOLERANCE_FRAMES:
                    hits, i, j = hits + 1, i + 1, j + 1
                elif early < 0:
                    i += 1
                else:
                    j += 1
            counts[of] += (hits, len(peaks) - hits, len(wanted) - hits)
    return counts


def ours() -> np.ndarray:
    """As validation does it."""
    peaks = find_peaks(torch.from_numpy(ACTIVATIONS), RULE)
    return count_hits(peaks, torch.from_numpy(ONSETS)).sum(dim=0).numpy()


ours_s = ("find_peaks and count_hits", seconds_of(ours))
for kind in ("tensors, as in the reference", "lists"):
    np.testing.assert_array_equal(plain(kind == "lists"), ours())
    report(
        "Peaks, matching and counts, 512 windows, one thread",
        (f"loops over batch and class on {kind}", seconds_of(lambda: plain(kind == "lists"), 3)),  # noqa: B023
        ours_s,
        target=50,
    )
