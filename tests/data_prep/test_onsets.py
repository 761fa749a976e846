"""Targets against golden grids; merging and rounding against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.classes import class_map, to_classes
from data_prep.midi import read_drum_notes
from data_prep.onsets import Onsets, onset_frames, target_grid

onsets_drawn = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 4), st.floats(0.01, 1)), max_size=60)


def test_mdb_targets_are_the_golden_ones(golden, shared):
    lines = (shared / "golden" / "MusicDelta_Grunge_subclass.txt").read_text().split("\n")
    rows = [line.split() for line in lines if line.strip()]
    classes, unknown = to_classes([label for _, label in rows], class_map("mdb"))
    onsets = Onsets.of(np.array([float(time) for time, _ in rows]), classes)
    wanted = golden("targets")["mdb_grunge"]
    assert not unknown
    np.testing.assert_array_equal(target_grid(onsets, len(wanted), 5) / 2, wanted)


def test_groove_targets_are_the_golden_ones(golden, shared):
    notes = read_drum_notes(shared / "golden" / "groove_6_jazz-swing_215_beat_4-4.mid")
    classes, unknown = to_classes(notes.pitches.tolist(), class_map("roland"))
    wanted = golden("targets")["groove_jazz_swing"]
    assert len(notes) == 235
    assert not unknown
    np.testing.assert_array_equal(target_grid(Onsets.of(notes.times_s, classes), len(wanted), 5) / 2, wanted)


@pytest.mark.parametrize(("time_s", "frame"), [(0.0, 0), (0.004, 0), (0.005, 1), (0.285, 29), (0.2849, 28), (1.0, 100)])
def test_the_nearest_frame_and_ties_up(time_s, frame):
    assert onset_frames(np.array([time_s])) == [frame]


@given(onsets_drawn, st.integers(1, 250))
def test_grid_holds_each_onset_and_its_neighbours(rows, frames):
    times_s, classes, velocities = np.array(rows).reshape(-1, 3).T
    grid = target_grid(Onsets.of(times_s, classes, velocities), frames, 5)
    wanted = np.zeros((frames, 5))
    placed = [(at, int(of)) for at, of in zip(onset_frames(times_s), classes, strict=True) if 0 <= at < frames]
    for at, of in placed:
        for beside in (at - 1, at + 1):
            if 0 <= beside < frames:
                wanted[beside, of] = max(wanted[beside, of], 1)
    for at, of in placed:
        wanted[at, of] = 2
    np.testing.assert_array_equal(grid, wanted)


@given(onsets_drawn, st.sampled_from([0.0, 0.02, 0.05]))
def test_merging_drops_what_follows_too_closely(rows, within_s):
    onsets = Onsets.of(*np.array(rows).reshape(-1, 3).T)
    merged = onsets.merged(within_s)
    assert (np.diff(merged.times_s) >= 0).all()
    for of in range(5):
        own = onsets.times_s[onsets.classes == of]
        kept = [time for place, time in enumerate(own) if not place or time - own[place - 1] > within_s + 1e-9]
        assert merged.times_s[merged.classes == of].tolist() == kept


def test_merging_keeps_the_loudest():
    onsets = Onsets.of(np.array([1.0, 1.01, 1.02, 2.0]), np.array([1, 1, 1, 1]), np.array([0.3, 0.9, np.nan, 0.5]))
    np.testing.assert_allclose(onsets.merged().velocities, [0.9, 0.5])
