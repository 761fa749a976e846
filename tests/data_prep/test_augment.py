import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import augment as augmenting
from data_prep.augment import augment, level_db, mixed
from data_prep.rates import SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def drums():
    """Noise bursts every half second, from 0.25 s on."""
    rng = np.random.default_rng(0)
    samples = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    for start in range(SAMPLE_RATE_HZ // 4, len(samples) - 8000, SAMPLE_RATE_HZ // 2):
        samples[start : start + 6000] += 0.5 * rng.standard_normal(6000) * np.exp(-np.arange(6000) / 900)
    return samples


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_onsets_stay_where_they_are(drums, seed):
    samples = augment(drums, None, seed=seed)
    assert samples.shape == drums.shape
    for start in range(SAMPLE_RATE_HZ // 4, len(samples) - 8000, SAMPLE_RATE_HZ // 2):
        before = np.abs(samples[start - 4000 : start]).max()
        around = np.abs(samples[start - 4000 : start + 2000])
        found = int(np.argmax(around > max(2.0 * before, 0.2 * around.max()))) - 4000
        assert -1 <= found < 0.002 * SAMPLE_RATE_HZ


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**40), with_music=st.booleans())
def test_level_range_and_repeatability(drums, seed, with_music):
    music = 0.3 * np.sin(np.arange(len(drums)) / 20).astype(np.float32) if with_music else None
    samples = augment(drums, music, seed=seed)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 0.99 + 1e-6
    assert level_db(samples) < -11.5
    assert samples.tobytes() == augment(drums, music, seed=seed).tobytes()
    assert samples.tobytes() != augment(drums, music, seed=seed + 1).tobytes()


def test_levels_cover_the_range():
    music = np.sin(np.arange(SAMPLE_RATE_HZ) / 20).astype(
        np.float32
    )  # few peaks: drums alone would meet full scale first
    levels_db = [level_db(augment(music, None, seed=seed)) for seed in range(40)]
    assert min(levels_db) < -25
    assert max(levels_db) > -18


@pytest.mark.parametrize("ratio_db", [-8.0, 0.0, 8.0])
def test_drums_and_music_mix_at_the_ratio_asked_for(drums, ratio_db):
    music = np.random.default_rng(1).standard_normal(len(drums)).astype(np.float32)
    rest = mixed(drums, music, ratio_db) - drums
    assert level_db(drums) - level_db(rest) == pytest.approx(ratio_db, abs=0.01)


def test_silence_stays_silent():
    silence = np.zeros(1000, np.float32)
    for seed in range(10):
        assert not augment(silence, silence, seed=seed).any()
    assert len(augment(np.zeros(0, np.float32), None, seed=0)) == 0


@pytest.mark.parametrize("stage", ["equalised", "in_room", "compressed", "saturated"])
@pytest.mark.parametrize("length", [1, 100, 30_000])
def test_stages_keep_length_and_never_anticipate(stage, length):
    samples = np.zeros(length, np.float32)
    samples[length // 2 :] = np.random.default_rng(0).standard_normal(length - length // 2)
    out = getattr(augmenting, stage)(samples, np.random.default_rng(1))
    assert out.shape == samples.shape
    assert out.dtype == np.float32
    assert np.abs(out[: length // 2]).max(initial=0) < 1e-6 * max(1, np.abs(out).max())


def test_a_room_rings_after_its_direct_sound():
    impulse = np.zeros(SAMPLE_RATE_HZ, np.float32)
    impulse[1000] = 1
    wet = augmenting.in_room(impulse, np.random.default_rng(3))
    assert wet[1000] == pytest.approx(1, abs=1e-4)
    tail = wet[1001:]
    assert -27 < 10 * np.log10(np.dot(tail, tail)) < -9
