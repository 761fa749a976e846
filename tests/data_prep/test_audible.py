"""Hits that nobody could hear are no labels: the same hit is one where it stands out, and none where it is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.audible import RISE, audible, band_octaves, heard_notes
from data_prep.corpora.demo import GeneratedGroove
from data_prep.corpora.rendered import Rendering
from data_prep.kits import default_kits, load_kit
from data_prep.midi import Notes
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.render import Rendered, render_stems
from data_prep.spectrogram import BANDS

KICK, SNARE, HAT, WHISTLE = 36, 38, 42, 71  # the last is no piece of a kit
SECONDS = 4.0


def played(velocity: int) -> tuple[Notes, Rendered]:
    """Kicks, snares and closed hats in turn, half a second apart, the hats of one velocity."""
    pitches = np.array([KICK, HAT, SNARE, HAT, WHISTLE, HAT])
    velocities = np.where(pitches == HAT, velocity, 100)
    notes = Notes(0.2 + 0.5 * np.arange(len(pitches)), pitches, velocities)
    kit = next(ref for ref in default_kits() if ref.name == "Tim standard")
    return notes, render_stems(notes, load_kit(kit), seed=0, seconds=SECONDS)


def test_a_soft_hit_is_heard_alone_and_lost_under_noise():
    notes, stems = played(20)
    drums = stems.samples.sum(axis=0)
    noise = np.random.default_rng(0).normal(0, 0.2, len(drums)).astype(np.float32)
    assert heard_notes(notes, stems, drums, drums).all()
    heard = heard_notes(notes, stems, drums, drums + noise)
    assert not heard[notes.pitches == HAT].any()
    assert heard[notes.pitches == WHISTLE].all()  # what that is, others decide
    faint = heard_notes(notes, stems, drums, drums + 1e-5 * noise)
    assert faint.all()


def test_what_was_done_to_the_drums_is_done_to_each_hit():
    notes, stems = played(100)
    drums = stems.samples.sum(axis=0)
    noise = np.random.default_rng(0).normal(0, 0.02, len(drums)).astype(np.float32)
    loud, quiet = (heard_notes(notes, stems, gain * drums, gain * drums + noise) for gain in (1.0, 0.0001))
    assert loud.all()
    assert not quiet[notes.pitches != WHISTLE].any()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_loudness_of_all_together_changes_nothing_and_more_of_the_rest_never_helps(seed, gain):
    rng = np.random.default_rng(seed)
    stem, rest = (rng.random((30, BANDS)).astype(np.float32) + 0.1 for _ in range(2))
    frames = rng.integers(0, 30, 12)
    heard = audible(stem, stem + rest, frames)
    louder = audible(stem, stem + 3 * rest, frames)
    assert (heard >= louder).all()
    rises = np.abs(audible(gain * stem, gain * (stem + rest), frames).astype(int) - heard)
    assert rises.sum() <= 1  # the floor under silence is not scaled, so that one may be at the limit


def test_the_limit_is_half_an_octave_wherever_it_lies():
    assert band_octaves().sum() == pytest.approx(np.log2(20_000 / 43), abs=0.3)
    for first in (0, 20, 70):
        stem, mix = np.zeros((20, BANDS)), np.ones((20, BANDS))
        count = int(np.searchsorted(band_octaves()[first:].cumsum(), 0.5)) + 1
        stem[10:, first : first + count] = 1.01 * RISE
        assert audible(stem, mix, np.array([10])).all()
        assert not audible(0.98 * stem, mix, np.array([10])).any()
        assert not audible(stem, mix, np.array([3, 16])).any()  # no rise there
        stem[:, first] = 0
        assert not audible(stem, mix, np.array([10])).any()


def test_a_hit_in_the_first_frame_is_heard():
    stem = np.zeros((20, BANDS))
    stem[0] = 1.0
    assert audible(stem, stem, np.array([0])).all()


def test_a_rendering_counts_what_it_leaves_out():
    kits = tuple(ref for ref in default_kits() if ref.split == "train")
    lost = 0
    for seed in range(6):
        groove = GeneratedGroove("jazz swing", seed)
        rendering = Rendering(groove, "general_midi", kits, "train", None, seed)
        there, heard = rendering.annotate(), rendering.read().annotated
        assert len(heard.onsets) + heard.left_out.total() == len(there.onsets)
        lost += heard.left_out["hits that are lost in the mix"]
    assert lost > 0


def test_there_is_a_second_of_sound_after_the_last_hit():
    assert played(100)[1].samples.shape[1] == pytest.approx(SECONDS * SAMPLE_RATE_HZ)
