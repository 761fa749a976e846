import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.classes import DRUM_CLASSES, class_map
from data_prep.groove_styles import STYLES_TABLE
from data_prep.grooves import STYLES, generate_groove
from data_prep.refused import Refused


def test_the_table_is_whole():
    assert len(STYLES) >= 12
    for style in STYLES_TABLE.values():
        lengths = {len(pattern) for found in style.patterns.values() for pattern in found}
        assert lengths in ({16}, {12})
        assert set(style.timekeepers) <= set(style.patterns)
        assert all(mark in ".123456789" for found in style.patterns.values() for pattern in found for mark in pattern)


@settings(max_examples=150, deadline=None)
@given(style=st.sampled_from(STYLES), seed=st.integers(0, 2**40), bars=st.integers(1, 16))
def test_notes_are_sound_and_repeatable(style, seed, bars):
    notes = generate_groove(style, seed=seed, bars=bars)
    assert len(notes) > bars
    assert (np.diff(notes.times_s) >= 0).all()
    assert notes.times_s[0] >= 0
    assert np.isfinite(notes.times_s).all()
    assert 1 <= notes.velocities.min() <= notes.velocities.max() <= 127
    bar_s = 60 * STYLES_TABLE[style].quarters / np.array(STYLES_TABLE[style].tempo)
    assert 0.8 * (bars - 1) * bar_s[1] < notes.times_s[-1] < 1.1 * bars * bar_s[0] + 0.5
    again = generate_groove(style, seed=seed, bars=bars)
    np.testing.assert_array_equal(notes.times_s, again.times_s)
    np.testing.assert_array_equal(notes.pitches, again.pitches)
    np.testing.assert_array_equal(notes.velocities, again.velocities)


@settings(max_examples=150, deadline=None)
@given(style=st.sampled_from(STYLES), seed=st.integers(0, 2**40))
def test_all_classes_occur_within_four_bars(style, seed):
    by_pitch = class_map("general_midi")
    classes = {by_pitch[str(pitch)] for pitch in generate_groove(style, seed=seed, bars=4).pitches}
    assert classes == set(range(len(DRUM_CLASSES)))


def test_performances_differ_and_are_not_on_the_grid():
    notes = generate_groove("rock", seed=1, bars=8)
    assert not np.array_equal(notes.times_s[:20], generate_groove("rock", seed=2, bars=8).times_s[:20])
    kicks = notes.times_s[notes.pitches == 36]
    steps = np.diff(kicks) / np.diff(kicks).min()
    assert np.abs(steps - np.round(steps)).max() > 0.001
    assert len(np.unique(notes.velocities)) > 10


def test_unknown_styles_and_lengths_are_refused():
    with pytest.raises(Refused, match="unknown style 'polka'; choose from rock, shuffle"):
        generate_groove("polka", seed=0, bars=4)
    for bars in (0, 10**6):
        with pytest.raises(Refused, match="choose 1 to 10000"):
            generate_groove("rock", seed=0, bars=bars)
