"""Bootstrap intervals: against scipy's, and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.intervals import f1_intervals, resampled


def counted(seed, units, classes=3):
    return np.random.default_rng(seed).poisson((30, 6, 9), (units, classes, 3))


def f1(hits, alarms, misses, axis=-1):
    hits, alarms, misses = (of.sum(axis=axis) for of in (hits, alarms, misses))
    return 2 * hits / (2 * hits + alarms + misses)


@pytest.mark.parametrize("units", [2, 9, 60])
def test_they_are_scipys_to_the_last_draw(units):
    counts = counted(units, units)
    micro, of_classes = f1_intervals(counts, draws=500, seed=7)
    for mine, of in zip([micro, *of_classes], [counts.sum(axis=1), *counts.swapaxes(0, 1)], strict=True):
        theirs = stats.bootstrap(
            of.T, f1, n_resamples=500, paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(7)
        ).confidence_interval
        assert mine == pytest.approx([theirs.low, theirs.high], abs=1e-12)


def test_a_seed_gives_one_interval_whatever_is_drawn_at_once(monkeypatch):
    counts = counted(1, 40)
    whole = f1_intervals(counts)
    monkeypatch.setattr("trainables.intervals.AT_ONCE", 100)
    assert f1_intervals(counts) == whole


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 30))
def test_draws_are_whole_units_and_as_many(seed, units):
    ones = np.eye(units, dtype=np.int64)[:, :, None]
    drawn = resampled(ones, draws=20, seed=seed)[..., 0]
    assert (drawn.sum(axis=1) == units).all()
    assert (drawn == drawn.astype(int)).all()


def test_one_unit_says_nothing_of_what_varies():
    assert f1_intervals(counted(0, 1)) == (None, [None, None, None])
    counts = counted(0, 5)
    counts[1:, 0] = 0  # a class in one unit alone
    counts[:, 1] = 0  # a class in none
    micro, of_classes = f1_intervals(counts)
    assert micro is not None
    assert of_classes[:2] == [None, None]
    assert of_classes[2] is not None


def test_draws_without_the_class_have_no_score():
    counts = np.zeros((6, 1, 3), np.int64)
    counts[:2, 0] = [[3, 1, 0], [5, 0, 1]]  # where neither is drawn there is nothing to count
    _, ((low, high),) = f1_intervals(counts)
    assert 0.8 < low <= high < 0.95


def test_more_tracks_make_them_narrower_and_19_of_20_hold_the_truth():
    truth = 2 * 30 / (2 * 30 + 6 + 9)
    held, widths = 0, {10: 0.0, 160: 0.0}
    for seed in range(200):
        low, high = f1_intervals(counted(seed, 40, 1), draws=300)[0]
        held += low <= truth <= high
    for units in widths:
        low, high = f1_intervals(counted(0, units))[0]
        widths[units] = high - low
    assert 180 <= held <= 199
    assert widths[160] < 0.4 * widths[10]
