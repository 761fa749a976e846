"""Peaks, matching and counts against plain Python loops over batch and class: 512 windows, and lines full of peaks."""

from functools import partial

import numpy as np
import torch
from plain_counts import RULE, counted
from timing import report, seconds_of

from trainables.metrics import count_hits
from trainables.peaks import pick_peaks

torch.set_num_threads(1)
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


@torch.inference_mode()
def ours(rows: Rows) -> np.ndarray:
    """As validation does it."""
    activations, onsets = (torch.from_numpy(of) for of in rows)
    return count_hits(pick_peaks(activations, RULE), onsets).sum(dim=0).numpy()


def compare(title: str, rows: Rows, kinds: tuple[str, ...], target: float) -> None:
    """Report ours against the loops over each kind of sequence; the counts have to be the same."""
    ours_s = ("pick_peaks and count_hits", seconds_of(lambda: ours(rows), 30))
    for kind in kinds:
        plain = partial(counted, *map(torch.from_numpy, rows), as_lists=kind == "lists")
        np.testing.assert_array_equal(plain(), ours(rows))
        plain_s = seconds_of(plain, 3)
        report(title, (f"loops over batch and class on {kind}", plain_s), ours_s, target)


compare("512 windows, one thread", windows(), ("tensors", "lists"), 50)
# every third frame: no peak too close to the one before it, but one endless run to match
compare("30,000 frames, a peak every 3, one thread", line_of_peaks(3), ("lists",), 1)
# every second frame: an endless run to thin as well, the most that any input costs; the loop takes it in its stride
compare("30,000 frames, a peak every 2, one thread", line_of_peaks(2), ("lists",), 0.5)
