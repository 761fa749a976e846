"""Peaks, matching and counts against plain Python loops over batch and class: 512 windows, and lines full of peaks."""

import numpy as np
import torch
from timing import report, seconds_of

from trainables.metrics import TOLERANCE_FRAMES, count_hits
from trainables.peaks import PeakRule, pick_peaks

torch.set_num_threads(1)
RULE = PeakRule()
GENERATOR = np.random.default_rng(0)
Rows = tuple[np.ndarray, np.ndarray]  # activations (B, T, K) float32, onsets (B, T, K) bool


def windows() -> Rows:
    """Activations of a trained network: blurred onsets of any strength, one frame late, and noise."""
    onsets = GENERATOR.random((512, 400, 5)) < 0.03
    strengths = np.roll(onsets, 1, axis=1) * GENERATOR.random(onsets.shape)
    blurred = np.apply_along_axis(np.convolve, 1, strengths, np.array([0.3, 0.6, 1.0, 0.6, 0.3]), "same")
    return np.clip(blurred + GENERATOR.random(onsets.shape) * 0.1, 0, 1).astype(np.float32), onsets


def line_of_peaks(every: int) -> Rows:
    """One line of 30,000 frames with an equal peak every few frames in every class, as of an untrained network."""
    onsets = GENERATOR.random((1, 30_000, 5)) < 0.03
    activations = np.zeros(onsets.shape, np.float32)
    activations[:, ::every] = 0.75
    return activations, onsets


def plain(rows: Rows, as_lists: bool) -> np.ndarray:
    """Maxima of all rows at once, then a loop over batch and class in Python, on tensors as the reference does it.

    ``as_lists`` takes each row's frames out of their tensors first, which is the quickest that such a loop can be.
    """
    activations, onsets = (torch.from_numpy(of) for of in rows)
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


@torch.inference_mode()
def ours(rows: Rows) -> np.ndarray:
    """As validation does it."""
    activations, onsets = (torch.from_numpy(of) for of in rows)
    return count_hits(pick_peaks(activations, RULE), onsets).sum(dim=0).numpy()


def compare(title: str, rows: Rows, kinds: tuple[str, ...], target: float) -> None:
    """Report ours against the loops over each kind of sequence; the counts have to be the same."""
    ours_s = ("pick_peaks and count_hits", seconds_of(lambda: ours(rows), 30))
    for kind in kinds:
        np.testing.assert_array_equal(plain(rows, kind == "lists"), ours(rows))
        plain_s = seconds_of(lambda: plain(rows, kind == "lists"), 3)  # noqa: B023
        report(title, (f"loops over batch and class on {kind}", plain_s), ours_s, target)


compare("512 windows, one thread", windows(), ("tensors", "lists"), 50)
# every third frame: no peak too close to the one before it, but one endless run to match
compare("30,000 frames, a peak every 3, one thread", line_of_peaks(3), ("lists",), 1)
# every second frame: an endless run to thin as well, the most that any input costs; the loop takes it in its stride
compare("30,000 frames, a peak every 2, one thread", line_of_peaks(2), ("lists",), 0.5)
