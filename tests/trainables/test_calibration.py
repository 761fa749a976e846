"""Calibration: its counts are those of the rule itself, and it gains on activations that it was not tuned on."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from data_prep.refused import Refused
from trainables.calibration import COARSE, FINE, LEAST_ONSETS, _Line, calibrate, micro_f1
from trainables.metrics import count_hits, join_tracks
from trainables.peaks import STUDY_RULE, PeakRule, find_peaks, pick_peaks

RATES = np.array([0.03, 0.03, 0.004, 0.05, 0.02])  # onsets a frame
LOUDNESS = np.array([6.0, 4.0, 2.0, 3.0, 1.5])  # of a beta distribution: the last classes are the faint ones


def heard(seed: int, frames: int) -> tuple[Tensor, Tensor]:
    """Activations and marks (L, K) of tracks of half a minute: broad peaks of any strength, decoys and noise."""
    generator = np.random.default_rng(seed)
    tracks, marks = [], []
    for length in np.diff([*range(0, frames, 3000), frames]):
        onsets = generator.random((length, 5)) < RATES
        strengths = onsets * generator.beta(LOUDNESS, 2.5, onsets.shape)
        strengths += (generator.random(onsets.shape) < 0.05) * generator.beta(1, 5, onsets.shape)
        broad = [np.apply_along_axis(np.convolve, 0, strengths, [0.4, 0.8, 1.0, 0.8, 0.4], "same")]
        activations = np.clip(broad[0] + 0.03 * generator.random(onsets.shape), 0, 1)
        tracks.append(torch.from_numpy(activations.astype(np.float32)))
        marks.append(torch.from_numpy(onsets))
    return join_tracks(tracks)[0], join_tracks(marks)[0]


def class_f1s(activations: Tensor, marks: Tensor, rule: PeakRule) -> list[float]:
    counts = count_hits(pick_peaks(activations.unsqueeze(0), rule), marks.unsqueeze(0))[0]
    return (2 * counts[:, 0] / (2 * counts[:, 0] + counts[:, 1] + counts[:, 2])).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([3, 20, 1000]),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.0501, 0.1501]),
)
def test_counts_are_those_of_the_rule(seed, levels, around_frames, apart_frames, delta):
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(1, 90)), 3)  # few levels make plateaus and ties; onsets stand at the ends, too
    activations = torch.from_numpy(generator.integers(0, levels, shape).astype(np.float32) / (levels - 1))
    marks = torch.from_numpy(generator.random(shape) < generator.choice([0.02, 0.2, 0.9]))
    rule = PeakRule(around_frames=around_frames, apart_frames=apart_frames, delta=delta)
    thresholds = (0.201, 0.32, 0.7)
    f1s, counts = _Line(activations, marks).f1s(rule, thresholds)
    for number, threshold in enumerate(thresholds):
        of_rule = replace(rule, threshold=threshold)
        expected = count_hits(find_peaks(activations.unsqueeze(0), of_rule), marks.unsqueeze(0))[0]
        assert torch.equal(counts[number, :, 0], 2 * expected[:, 0])
        assert torch.equal(counts[number, :, 1], 2 * expected[:, 0] + expected[:, 1] + expected[:, 2])
        assert f1s[number].tolist() == pytest.approx(
            [2 * hits / max(2 * hits + alarms + misses, 1) for hits, alarms, misses in expected.tolist()]
        )


def test_it_gains_on_what_it_was_not_tuned_on(capsys):
    unheard = heard(100, 150_000)
    rules = [calibrate(*heard(seed, 30_000)) for seed in range(4)]
    before = micro_f1(*unheard, STUDY_RULE)
    after = [micro_f1(*unheard, rule) for rule in rules]
    with capsys.disabled():
        print(f"held-out micro F1 {before:.3f} by the study's rule, {np.mean(after):.3f} calibrated")
    assert min(after) > before + 0.04
    gains = np.mean([class_f1s(*unheard, rule) for rule in rules], axis=0) - class_f1s(*unheard, STUDY_RULE)
    assert gains.min() > -0.02  # toms: of 120 onsets no threshold is known better than this
    assert gains[4] > 0.1  # faint: a threshold of 0.5 misses most


def test_thresholds_are_nearly_the_best_there_are():
    tuned_on, unheard = heard(0, 60_000), heard(1, 60_000)
    rule = calibrate(*tuned_on)
    in_hindsight = [
        max(class_f1s(*unheard, replace(rule, thresholds=(threshold,) * 5))[number] for threshold in FINE[::3])
        for number in range(5)
    ]
    assert np.subtract(in_hindsight, class_f1s(*unheard, rule)).max() < 0.02


def test_a_threshold_is_the_middle_of_what_is_as_good():
    activations, marks = torch.full((40_000, 1), 0.01), torch.zeros(40_000, 1, dtype=torch.bool)
    activations[50:-50:100], marks[50:-50:100] = 0.85, True
    activations[100:-50:100] = 0.25  # anything from 0.26 to 0.8, the highest, is as good
    assert calibrate(activations, marks).thresholds == (pytest.approx(0.53),)


def test_a_class_that_is_hardly_heard_asks_for_no_less_than_others():
    activations, marks = torch.zeros(40_000, 2), torch.zeros(40_000, 2, dtype=torch.bool)
    activations[50:-50:100, 0], activations[50:-50:100, 1], marks[50:-50:100] = 0.85, 0.06, True
    activations[50:2000:100, 1] = 0.3
    assert calibrate(activations, marks).thresholds[1] >= min(FINE) == 0.2


def test_few_onsets_say_nothing():
    activations, marks = heard(0, 20_000)
    number = marks[:, 2].nonzero()[LEAST_ONSETS - 1 :, 0]
    marks[number, 2] = False
    rule = calibrate(activations, marks, PeakRule(thresholds=(0.5, 0.5, 0.77, 0.5, 0.5)))
    assert rule.thresholds[2] == 0.77
    assert rule.thresholds[4] < 0.4
    nothing = torch.zeros_like(marks)
    assert calibrate(activations, nothing) == STUDY_RULE
    assert calibrate(activations[:0], marks[:0]) == STUDY_RULE


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]), st.sampled_from([STUDY_RULE, PeakRule(5, 0.0, 1, 0.1)]))
def test_it_is_never_worse_on_what_it_was_tuned_on(seed, levels, rule):
    generator = np.random.default_rng(seed)
    activations = torch.from_numpy(generator.integers(0, levels, (3000, 2)).astype(np.float32) / (levels - 1))
    marks = torch.from_numpy(generator.random((3000, 2)) < 0.03)
    found = calibrate(activations, marks, rule)
    assert micro_f1(activations, marks, found) >= micro_f1(activations, marks, rule)
    assert found == calibrate(activations, marks, rule)


def test_an_hour_takes_seconds(capsys):
    line = heard(0, 360_000)
    begun_s = time.perf_counter()
    calibrate(*line)
    seconds = time.perf_counter() - begun_s
    with capsys.disabled():
        print(f"an hour of five classes is calibrated in {seconds:.2f} s")
    assert seconds < 10  # 3 on a quiet core


def test_each_class_has_its_threshold():
    activations = torch.zeros(1, 30, 3)
    activations[0, 15] = torch.tensor([0.6, 0.35, 0.35])
    peaks = find_peaks(activations, PeakRule(thresholds=(0.7, 0.3, 0.4)))
    assert peaks[0, 15].tolist() == [False, True, False]
    same = find_peaks(activations, PeakRule(threshold=0.35))
    assert torch.equal(find_peaks(activations, PeakRule(thresholds=(0.35,) * 3)), same)
    with pytest.raises(Refused, match="the peak rule has 2 thresholds for 3 classes; expected one a class"):
        find_peaks(activations, PeakRule(thresholds=(0.5, 0.5)))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "loud", None])
def test_thresholds_outside_0_to_1_are_refused(threshold):
    with pytest.raises(Refused, match=r"a threshold = .*; expected 0 to 1"):
        PeakRule.from_dict({"thresholds": [0.5, threshold]})


def test_a_rule_travels_as_json_and_older_ones_have_no_thresholds():
    rule = PeakRule(3, 0.05, 2, 0.5, (0.2, 0.4))
    assert PeakRule.from_dict(rule.to_dict()) == rule
    assert PeakRule.from_dict({"threshold": 0.4}).thresholds_of(2) == (0.4, 0.4)
    assert set(COARSE) <= set(FINE)
