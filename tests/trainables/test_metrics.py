"""Peaks, matching and rates: golden counts, a plain loop, mir_eval, and properties."""

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.metrics import Rates, count_hits, join_tracks, macro_f1, micro
from trainables.peaks import PeakRule, find_peaks


def marks_of(frames, length):
    marks = torch.zeros(1, length, 1, dtype=torch.bool)
    marks[0, sorted(frames), 0] = True
    return marks


def plain_peaks(activations: np.ndarray, rule: PeakRule) -> np.ndarray:
    """The rule, one frame at a time."""
    peaks = np.zeros(activations.shape, bool)
    batch, frames, classes = activations.shape
    for b in range(batch):
        for k in range(classes):
            last = -1
            padded = np.pad(activations[b, :, k], rule.around_frames)
            for t in range(frames):
                around = padded[t : t + 2 * rule.around_frames + 1]
                value = activations[b, t, k]
                if (
                    value == around.max()
                    and value >= around.mean() + rule.delta
                    and value >= rule.threshold
                    and t - last > rule.apart_frames
                ):
                    peaks[b, t, k], last = True, t
    return peaks


def test_peaks_are_the_golden_ones(golden):
    numbers = golden("peaks_and_counts")
    peaks = find_peaks(torch.from_numpy(numbers["activations"]), PeakRule(threshold=0.0))
    np.testing.assert_array_equal(peaks, numbers["peaks"])


def test_counts_and_scores_are_the_golden_ones(golden):
    numbers = golden("peaks_and_counts")
    peaks = find_peaks(torch.from_numpy(numbers["activations"]), PeakRule())
    counts = count_hits(peaks, torch.from_numpy(numbers["targets"]) > 0.5).sum(dim=0).numpy()
    np.testing.assert_array_equal(counts, numbers["counts"])
    assert micro(counts).f1 == pytest.approx(float(numbers["micro_f1"]), abs=1e-6)
    assert macro_f1(counts) == pytest.approx(float(numbers["macro_f1"]), abs=1e-6)
    assert [Rates.of(row).f1 for row in counts] == pytest.approx(numbers["class_f1"].tolist(), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([3, 8, 50]), st.floats(0, 0.9))
def test_peaks_are_those_of_a_plain_loop(seed, frames, levels, threshold):
    # few levels make plateaus and ties
    activations = np.random.default_rng(seed).integers(0, levels, (2, frames, 3)).astype(np.float32) / (levels - 1)
    rule = PeakRule(threshold=threshold, delta=0.1001)  # no value sits on the edge, where rounding decides
    np.testing.assert_array_equal(find_peaks(torch.from_numpy(activations), rule), plain_peaks(activations, rule))


frames_drawn = st.sets(st.integers(0, 119), max_size=40)


@settings(max_examples=200, deadline=None)
@given(frames_drawn, frames_drawn, st.integers(0, 9))
def test_matching_is_the_largest_as_mir_eval_finds_it(estimated, reference, tolerance):
    counts = count_hits(marks_of(estimated, 120), marks_of(reference, 120), tolerance)[0, 0].tolist()
    pairs = (
        mir_eval.util.match_events(sorted(reference), sorted(estimated), tolerance) if estimated and reference else []
    )
    assert counts == [len(pairs), len(estimated) - len(pairs), len(reference) - len(pairs)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.6), st.floats(0.0, 0.6))
def test_rows_do_not_touch_each_other(seed, estimated_rate, reference_rate):
    generator = torch.Generator().manual_seed(seed)
    estimated = torch.rand(3, 30, 4, generator=generator) < estimated_rate
    reference = torch.rand(3, 30, 4, generator=generator) < reference_rate
    together = count_hits(estimated, reference)
    for b in range(3):
        for k in range(4):
            alone = count_hits(estimated[b : b + 1, :, k : k + 1], reference[b : b + 1, :, k : k + 1])
            assert torch.equal(together[b, k], alone[0, 0])


@given(frames_drawn)
def test_a_perfect_estimate_is_all_hits(frames):
    marks = marks_of(frames, 120)
    assert count_hits(marks, marks)[0, 0].tolist() == [len(frames), 0, 0]


def test_an_onset_in_the_first_frame_of_a_track_can_be_found():
    line = join_tracks([torch.tensor([[0.9], [0.1], [0.1]]), torch.tensor([[0.8], [0.1], [0.1]])])
    assert line.shape == (1, 10 + 3 + 10 + 3 + 10, 1)
    assert find_peaks(line, PeakRule())[0, :, 0].nonzero().squeeze(1).tolist() == [10, 23]


def test_rates():
    counts = np.array([[8, 2, 2], [0, 0, 0], [0, 3, 0]])
    assert micro(counts) == Rates(f1=16 / 23, precision=8 / 13, recall=0.8)
    assert macro_f1(counts) == pytest.approx((0.8 + 0.0) / 2)  # the second class is in neither
    assert micro(np.zeros((5, 3))) == Rates(0.0, 0.0, 0.0)
    assert macro_f1(np.zeros((5, 3))) == 0.0
