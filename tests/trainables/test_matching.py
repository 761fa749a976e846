"""Onsets as lists: matched with exact times as mir_eval does, and in frames as the tables of marks are."""

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.metrics import FRAME_US, Events, count_by_row, count_hits, match

ROWS, CLASSES = 3, 2
events_drawn = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, CLASSES - 1), st.integers(0, 60)), max_size=60
)
exact_drawn = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, CLASSES - 1), st.integers(-400, 60_400)), max_size=60
)  # in 10 microseconds: on the edge often enough


def events(drawn, unit=1):
    columns = np.array(drawn, np.int64).reshape(-1, 3).T
    return Events(columns[0], columns[1], columns[2] * unit)


@settings(max_examples=150)
@given(events_drawn, exact_drawn, st.sampled_from([20, 25, 30, 50]))
def test_exact_times_are_matched_as_mir_eval_matches_them(estimated, reference, tolerance_ms):
    mine, theirs = events(estimated, FRAME_US), events(reference, 10)
    counts = count_by_row(mine, theirs, tolerance_ms * 1000, ROWS, CLASSES)
    for row in range(ROWS):
        for of in range(CLASSES):
            heard, held = (np.sort(e.times[(e.rows == row) & (e.classes == of)]) for e in (mine, theirs))
            pairs = mir_eval.util.match_events(held, heard, tolerance_ms * 1000) if len(heard) and len(held) else []
            assert counts[row, of].tolist() == [len(pairs), len(heard) - len(pairs), len(held) - len(pairs)]


@pytest.mark.parametrize("tolerance_ms", [20, 25, 30, 50])
def test_whole_songs_are_scored_as_mir_evals_transcription_scores_them(tolerance_ms):
    generator = np.random.default_rng(0)
    times_us = np.unique(generator.integers(0, 600_000, 400)) * 100  # mir_eval rounds to 0.1 ms
    heard = np.unique((times_us[::2] + generator.normal(0, 20_000, len(times_us[::2]))) // FRAME_US).astype(np.int64)
    heard = heard[heard >= 0]
    of = np.zeros(400, np.int64)
    mine = Events(of[: len(heard)], of[: len(heard)], heard * FRAME_US)
    theirs = Events(of[: len(times_us)], of[: len(times_us)], times_us)
    hits, alarms, misses = count_by_row(mine, theirs, tolerance_ms * 1000, 1, 1)[0, 0]
    spans = [np.stack((e.times / 1e6, e.times / 1e6 + 0.1), axis=1) for e in (theirs, mine)]
    precision, recall, f1 = mir_eval.transcription.onset_precision_recall_f1(*spans, onset_tolerance=tolerance_ms / 1e3)
    assert (hits / (hits + alarms), hits / (hits + misses)) == pytest.approx((precision, recall))
    assert 2 * hits / (2 * hits + alarms + misses) == pytest.approx(f1)


@settings(max_examples=100)
@given(events_drawn, events_drawn, st.integers(0, 9))
def test_frames_are_counted_as_in_tables_of_marks(estimated, reference, tolerance):
    tables = torch.zeros(2, ROWS, 61, CLASSES, dtype=torch.bool)
    for table, drawn in zip(tables, (estimated, reference), strict=True):
        for row, of, frame in drawn:
            table[row, frame, of] = True
    lists = [events(sorted(set(drawn))) for drawn in (estimated, reference)]
    expected = count_hits(*tables, tolerance)
    np.testing.assert_array_equal(count_by_row(*lists, tolerance, ROWS, CLASSES), expected)


@settings(max_examples=100)
@given(events_drawn, exact_drawn, st.sampled_from([25_000, 50_000]))
def test_pairs_are_one_to_one_within_reach_row_and_class(estimated, reference, tolerance):
    mine, theirs = events(estimated, FRAME_US), events(reference, 10)
    taken = match(mine, theirs, tolerance)
    pairs = taken[taken >= 0]
    assert len(set(pairs.tolist())) == len(pairs)
    first, second = mine[taken >= 0], theirs[pairs]
    np.testing.assert_array_equal((first.rows, first.classes), (second.rows, second.classes))
    assert (np.abs(first.times - second.times) <= tolerance).all()


def test_a_difference_of_just_the_tolerance_is_a_hit():
    one = np.zeros(1, np.int64)
    estimate = Events(one, one, one + 30 * FRAME_US)
    for apart_us, expected in ((25_000, 1), (25_001, 0), (-25_000, 1), (-25_001, 0)):
        reference = Events(one, one, one + 30 * FRAME_US + apart_us)
        assert count_by_row(estimate, reference, 25_000, 1, 1)[0, 0, 0] == expected
