"""What is done to magnitudes against what it stands for, done to samples and heard by the front end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve, firwin2, resample_poly

from data_prep.accompaniment import generated_accompaniment
from data_prep.audible import audible as samples_audible
from data_prep.grooves import generate_groove
from data_prep.kits import default_kits, load_kit
from data_prep.onsets import ONSET, Onsets, target_grid
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ
from data_prep.render import render_stems
from data_prep.spectrogram import BANDS, FFT_SAMPLES, log_spectrogram
from trainables.augmentation import (
    BAND_CENTRES,
    HOLD_FRAMES,
    Draws,
    amplitude,
    audible,
    darkness,
    dynamics,
    equaliser,
    pitch_matrix,
    power,
    reverberation,
    stretched,
    stretched_targets,
    together,
    with_neighbours,
)
from trainables.level import bands_of, magnitudes_of

CENTRES_HZ = BAND_CENTRES * SAMPLE_RATE_HZ / FFT_SAMPLES
AUDIBLE = 1e-2  # of the loudest magnitude: 40 dB
SEEDS = st.integers(0, 2**32)


def draws_of(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def magnitudes(samples: np.ndarray) -> torch.Tensor:
    """(S,) -> (T, F), by the front end."""
    return magnitudes_of(torch.from_numpy(log_spectrogram(samples.astype(np.float32))))


def errors_db(found: torch.Tensor, wanted: torch.Tensor) -> np.ndarray:
    """Of magnitudes that can be heard, (N,)."""
    audible = wanted > AUDIBLE * wanted.max()
    return (20 * torch.log10(found.clamp(min=1e-9) / wanted.clamp(min=1e-9)))[audible].numpy()


def noise(seed: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ))


def random_magnitudes(seed: int, *shape: int) -> torch.Tensor:
    """From silence to loud, some frames of zeros."""
    generator = torch.Generator().manual_seed(seed)
    drawn = 10 ** (6 * torch.rand(*shape, generator=generator) - 4)
    return drawn * (torch.rand(*shape[:-1], 1, generator=generator) > 0.2)


@pytest.fixture(scope="module")
def stems() -> np.ndarray:
    """(S, N) samples of the drum classes, and of music as the last."""
    rendered = render_stems(generate_groove("rock", seed=3, bars=4), load_kit(default_kits()[0]), seed=1, seconds=8.0)
    return np.concatenate([rendered.samples, 0.4 * generated_accompaniment(8.0, 5)[None]])


def test_classes_and_music_together_are_what_the_front_end_hears_of_their_sum(stems):
    """Measured, in the median: drums among themselves 0.2 dB off, with music 0.7 dB."""
    for rows, most_db in ((slice(0, -1), 0.4), (slice(None), 1.0)):
        apart = torch.stack([magnitudes(of) for of in stems[rows]])[None]
        heard = magnitudes(stems[rows].sum(axis=0))
        for tonal in (0.0, 0.25, 0.5):
            found = errors_db(together(apart, torch.tensor([tonal]))[0], heard)
            assert np.median(np.abs(found)) < most_db
            assert abs(np.median(found)) < most_db


@given(SEEDS, st.floats(0, 1))
def test_together_lies_between_the_root_of_powers_and_the_sum(seed, tonal):
    apart = random_magnitudes(seed, 2, 3, 7, 5)
    found = together(apart, torch.full((2,), tonal))
    low, high = apart.square().sum(1).sqrt(), apart.sum(1)
    assert (found >= low * (1 - 1e-5)).all()
    assert (found <= high * (1 + 1e-5)).all()
    alone = torch.cat((apart[:, :1], torch.zeros_like(apart[:, 1:])), dim=1)
    torch.testing.assert_close(together(alone, torch.full((2,), tonal)), apart[:, 0])


@pytest.mark.parametrize("semitones", [-2.0, -0.7, 1.0, 2.0])
def test_pitch_is_that_of_samples_played_so_much_faster(semitones):
    """Coloured noise: bands of it played faster are those that the matrix makes, up to one factor.

    Measured: 0.05 dB off in the median, 1.2 dB at most, beside a factor of 0.5 dB at two semitones.
    """
    ratio = 2 ** (semitones / 12)
    edges_hz = [0, 80, 200, 260, 900, 1300, 3000, 4000, 9000, SAMPLE_RATE_HZ / 2]
    gains = amplitude(torch.tensor([0.0, 12, -6, 10, -8, 8, -10, 6, -12, -20])).numpy()
    samples = fftconvolve(noise(1, 20), firwin2(4001, edges_hz, gains, fs=SAMPLE_RATE_HZ), "same")
    faster = resample_poly(samples, 1000, round(1000 * ratio))
    before, after = (magnitudes(of).square().mean(dim=0).sqrt() for of in (samples, faster))
    found = before @ pitch_matrix(torch.tensor(semitones))
    inside = (CENTRES_HZ > 60) & (15_000 * min(1, ratio) > CENTRES_HZ)
    error_db = 20 * torch.log10(found / after).numpy()[inside]
    assert abs(np.median(error_db)) < 0.8  # noise played faster is spread over more of the spectrum
    assert np.median(np.abs(error_db - np.median(error_db))) < 0.2
    assert np.abs(error_db - np.median(error_db)).max() < 2
    unmoved_db = 20 * torch.log10(before / after).numpy()[inside]
    assert np.abs(unmoved_db - np.median(unmoved_db)).max() > 3 * abs(semitones)


@given(st.floats(-12, 12))
def test_a_pitch_matrix_moves_bands_and_weighs_them_together(semitones):
    matrix = pitch_matrix(torch.tensor([[semitones]]))
    assert matrix.shape == (1, 1, BANDS, BANDS)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(dim=-2), torch.ones(1, 1, BANDS), atol=1e-4, rtol=0)
    centres = torch.arange(BANDS).float() @ matrix[0, 0]
    assert (centres.diff() >= -1e-4).all()
    assert ((centres - torch.arange(BANDS)) * np.sign(semitones) <= 1e-4).all()


def test_no_shift_of_pitch_changes_nothing():
    assert torch.equal(pitch_matrix(torch.zeros(2, 3)), torch.eye(BANDS).expand(2, 3, -1, -1))


@pytest.mark.parametrize("seconds", [0.15, 0.4, 0.8])
def test_a_reverberation_is_a_convolution_with_decaying_noise(seconds):
    """Power, averaged over rooms. Measured, in the median: 2.8, 1.4 and 1.0 dB, about half a frame's decay too loud."""
    length = round(1.1 * SAMPLE_RATE_HZ)
    dry = np.zeros(length)
    for at in (6000, 18000):
        dry[at : at + 900] = noise(at, 900 / SAMPLE_RATE_HZ)
    clock = np.arange(length) / SAMPLE_RATE_HZ
    envelope = 10 ** (-3 * clock / seconds)
    generator, wet = np.random.default_rng(0), 0.0
    for _ in range(12):
        room = generator.normal(size=length) * envelope / np.sqrt((envelope**2).sum())
        wet = wet + magnitudes(fftconvolve(dry, room)[:length]).square() / 12
    decays = torch.full((1, BANDS), 10 ** (-6 / (seconds * SAMPLE_RATE_HZ / HOP_SAMPLES)))
    found = reverberation(magnitudes(dry).square()[None], decays)[0]
    top = wet[:, 20:].mean(dim=1)  # bands of many bins: little chance is left
    heard = (top > 1e-4 * top.max()).numpy()
    error_db = 10 * torch.log10(found[:, 20:].mean(dim=1) / top).numpy()[heard]
    half_a_frame_db = 0.5 * 60 / (seconds * 100)
    assert np.median(np.abs(error_db - half_a_frame_db)) < 1
    assert float(found[:, 20:].sum() / wet[:, 20:].sum()) == pytest.approx(1, rel=0.15)


@given(SEEDS, st.floats(0, 0.9))
def test_a_reverberation_is_a_sum_over_earlier_frames(seed, decay):
    powers = random_magnitudes(seed, 1, 60, 3)
    found = reverberation(powers, torch.full((1, 3), decay))
    wanted, state = torch.zeros_like(powers[0]), torch.zeros(3)
    for frame in range(1, 60):
        state = decay * state + (1 - decay) * powers[0, frame - 1]
        wanted[frame] = state
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-6)
    assert (found >= 0).all()


def test_a_reverberation_gives_back_the_power_that_it_was_sent():
    powers = torch.zeros(1, 400, 1)
    powers[0, 5] = 7.0
    decays = torch.tensor([[10 ** (-6 / (0.8 * 100))]])  # the longest room
    assert float(reverberation(powers, decays).sum()) == pytest.approx(7, rel=1e-3)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 459), st.integers(0, 2)), max_size=30),
    st.floats(0.8, 1.2), st.integers(0, 30),
)  # fmt: skip
def test_targets_are_stretched_as_onsets_are(marks, speed, start):
    halves = torch.zeros(1, 460, 3, dtype=torch.uint8)
    for frame, of in marks:
        halves[0, frame, of] = ONSET
    halves = with_neighbours(halves)
    found = stretched_targets(halves, torch.tensor([float(start)]), torch.tensor([speed]), 380)[0]
    moved = np.round((np.array([frame for frame, _ in marks]) - start) / np.float32(speed)) / 100
    wanted = target_grid(Onsets.of(moved, np.array([of for _, of in marks], int)), 380, 3)
    halfway = np.abs((np.array([frame for frame, _ in marks]) - start) / speed % 1 - 0.5)
    if not len(marks) or halfway.min() > 1e-3:
        np.testing.assert_array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.07])
def test_sound_is_stretched_with_its_onsets(speed):
    frames, long = 300, 340
    samples, at = np.zeros(long * HOP_SAMPLES), np.arange(20, 300, 23)
    for frame in at:
        samples[frame * HOP_SAMPLES : frame * HOP_SAMPLES + 800] = noise(int(frame), 1)[:800]
    bands = bands_of(magnitudes(samples))[None, :long].half()
    halves = torch.zeros(1, long, 1, dtype=torch.uint8)
    halves[0, at, 0] = ONSET
    found = stretched(bands, speed * torch.arange(frames)[None].float())[0].float()
    marks = stretched_targets(halves, torch.zeros(1), torch.tensor([speed]), frames)[0, :, 0]
    flux = found.diff(dim=0).clamp(min=0).sum(dim=1)
    expected = np.round(at / speed).astype(int)
    expected = expected[expected < frames]
    assert torch.flatten(marks == ONSET).nonzero()[:, 0].tolist() == expected.tolist()
    for frame in expected[(expected > 5) & (expected < frames - 5)]:
        assert abs(int(flux[frame - 5 : frame + 5].argmax()) - 4) <= 1


def test_a_stretch_by_nothing_changes_nothing():
    bands = random_magnitudes(0, 2, 50, 3, 4).half()
    positions = torch.arange(50).float().expand(2, -1)
    assert torch.equal(stretched(bands, positions), bands)
    halves = with_neighbours((torch.rand(2, 50, 3) > 0.9).byte() * ONSET)
    assert torch.equal(stretched_targets(halves, torch.zeros(2), torch.ones(2), 50), halves)


@pytest.mark.parametrize("seed", range(3))
def test_an_equaliser_is_a_filter_of_the_same_curve(seed):
    """Measured: 0.04 dB off in the median, drawn up to +-10 dB."""
    gains_db = equaliser(draws_of(seed), 10.0, 1)[0].numpy()
    edges_hz = np.concatenate([[0], CENTRES_HZ, [SAMPLE_RATE_HZ / 2]])
    curve = 10 ** (np.concatenate([gains_db[:1], gains_db, gains_db[-1:]]) / 20)
    samples = noise(seed, 3)
    filtered = fftconvolve(samples, firwin2(8191, edges_hz, curve, fs=SAMPLE_RATE_HZ, nfreqs=16385), "same")
    found = magnitudes(samples) * amplitude(torch.from_numpy(gains_db))
    assert np.median(np.abs(errors_db(found[20:-20], magnitudes(filtered)[20:-20]))) < 0.1


@given(SEEDS, st.floats(0, 40))
def test_an_equaliser_s_curve_is_smooth_and_within_its_range(seed, most_db):
    gains_db = equaliser(draws_of(seed), most_db, 4, 5)
    assert gains_db.shape == (4, 5, BANDS)
    assert (gains_db.abs() <= most_db * (1 + 1e-6)).all()
    assert (gains_db.diff(dim=-1).abs() <= 2 * most_db * 5 / (BANDS - 1) + 1e-4).all()


@given(st.floats(0.3, 2), st.floats(-60, 0))
def test_dynamics_raise_loudness_to_their_exponent(exponent, quiet_db):
    """Two long stretches of one colour: the louder stays, the other's distance in dB is the exponent's multiple."""
    colour = random_magnitudes(1, 1, BANDS) + 0.1
    found = dynamics(
        torch.cat([colour.expand(60, -1), colour.expand(60, -1) * 10 ** (quiet_db / 20)])[None],
        torch.tensor([exponent]),
    )[0]
    torch.testing.assert_close(found[:30], colour.expand(30, -1), rtol=1e-3, atol=0)
    assert float(20 * torch.log10(found[-1, 0] / found[0, 0])) == pytest.approx(exponent * quiet_db, abs=0.05)


@given(SEEDS, st.floats(0.3, 2))
def test_dynamics_change_loudness_alone_and_less_than_a_hold_apart_alike(seed, exponent):
    sound = random_magnitudes(seed, 2, 3, 50, 4)
    found = dynamics(sound, torch.full((2, 3), exponent))
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    gains = found / sound.clamp(min=1e-9)
    loud = (sound > 0).all(dim=-1)
    torch.testing.assert_close(gains[..., 0][loud], gains[..., 3][loud], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(dynamics(sound, torch.ones(2, 3)), sound)
    click = torch.zeros(1, 60, 4)
    click[0, 30] = 1.0
    spread = dynamics(click + 1e-3, torch.tensor([exponent]))[0, :, 0]
    held = slice(30, 30 + HOLD_FRAMES)
    torch.testing.assert_close(spread[held], (click + 1e-3)[0, held, 0], rtol=1e-2, atol=1e-6)


def test_silence_stays_silence():
    nothing = torch.zeros(2, 3, 40, BANDS)
    assert not dynamics(nothing, torch.full((2, 3), 0.6)).any()
    assert not together(nothing, torch.ones(2)).any()
    assert not reverberation(nothing[:, 0], torch.full((2, BANDS), 0.5)).any()
    assert not power(nothing).any()


@pytest.mark.parametrize("band_hz", [(100, 16_000), (200, 900), (2000, 9000)])
def test_power_of_bands_is_that_of_samples(band_hz):
    """Up to a constant that noise of every range shares, within a dB."""
    taps = firwin2(4001, [0, 0.9 * band_hz[0], band_hz[0], band_hz[1], 1.1 * band_hz[1], SAMPLE_RATE_HZ / 2],
                   [0, 0, 1, 1, 0, 0], fs=SAMPLE_RATE_HZ)  # fmt: skip
    samples, white = fftconvolve(noise(2, 3), taps, "same"), noise(3, 3)
    ratio = float(power(magnitudes(samples)) / power(magnitudes(white)))
    wanted = (samples**2).mean() / (white**2).mean()
    assert 10 * np.log10(ratio / wanted) == pytest.approx(0, abs=1.0)


@given(SEEDS)
def test_the_same_generator_draws_the_same(seed):
    for draw in (
        lambda d: d.between(-1, 1, 5),
        lambda d: d.normal(4, 5),
        lambda d: d.chance(0.5, 5),
        lambda d: equaliser(d, 3, 5),
    ):
        assert torch.equal(draw(draws_of(seed)), draw(draws_of(seed)))
    assert float(draws_of(seed).normal(4, 500).abs().max()) <= 10
    assert not draws_of(seed).chance(0, 500).any()
    assert draws_of(seed).chance(1, 500).all()


def marks_at(*places: tuple[int, int], frames: int = 40, classes: int = 2) -> torch.Tensor:
    """One window's halves with onsets (frame, class)."""
    halves = torch.zeros(1, frames, classes, dtype=torch.uint8)
    for frame, of in places:
        halves[0, frame, of] = ONSET
    return with_neighbours(halves)


@given(SEEDS)
def test_what_can_be_heard_is_the_same_on_samples_and_on_batches(seed):
    rng = np.random.default_rng(seed)
    stems = rng.random((2, 40, BANDS)).astype(np.float32) ** 8
    mix = stems.sum(axis=0) + rng.random((40, BANDS)).astype(np.float32)
    halves = torch.from_numpy((rng.random((1, 40, 2)) < 0.2).astype(np.uint8) * ONSET)
    kept = audible(torch.from_numpy(stems)[None], torch.from_numpy(mix)[None], halves, [1, None], 0.3)
    expected = halves.clone()
    frames = np.flatnonzero(halves[0, :, 0] == ONSET)
    frames = frames[frames >= 3]  # a window's beginning is not a track's
    lost = frames[~samples_audible(stems[1], mix, frames)]
    expected[0, lost, 0] = 0
    assert torch.equal(kept == ONSET, expected == ONSET)
    assert torch.equal(kept, with_neighbours(torch.where(kept == ONSET, kept, 0)))


def test_a_darkness_falls_from_its_corner_on():
    gains = darkness(Draws(torch.Generator().manual_seed(0)), -10, -10, 3)
    hz = torch.as_tensor(BAND_CENTRES) * 44100 / 2048
    assert not gains[:, hz <= 2000].any()
    torch.testing.assert_close(gains[:, -1], torch.full((3,), -10.0))
    assert (gains.diff(dim=1) <= 0).all()
