"""The front end against golden numbers, against its definition spelled out in float64, and on clicks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.audio import SAMPLE_RATE_HZ, read_audio
from data_prep.spectrogram import BANDS, FFT_SAMPLES, HOP_SAMPLES, exact_div, filterbank, frame_count, log_spectrogram


def by_definition(samples: np.ndarray) -> np.ndarray:
    """The front end frame by frame, in float64, with a dense filterbank."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)
    padded = np.pad(samples.astype(float), FFT_SAMPLES)
    frames = []
    for frame in range(1 + len(samples) // HOP_SAMPLES):
        first = FFT_SAMPLES + frame * HOP_SAMPLES - FFT_SAMPLES // 2
        frames.append(np.log10(1 + filterbank() @ np.abs(np.fft.rfft(padded[first : first + FFT_SAMPLES] * window))))
    return np.array(frames)


def test_filterbank_is_the_golden_one(golden):
    assert filterbank().shape == (84, 1025)
    np.testing.assert_allclose(filterbank(), golden("front_end")["filterbank"], atol=1e-7)


def test_spectrogram_is_the_golden_one(golden, shared):
    samples = read_audio(shared / "golden" / "clicks_5s_stereo_44100.wav")
    np.testing.assert_allclose(log_spectrogram(samples), golden("front_end")["spectrogram"], atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(0, 5000), seed=st.integers(0, 100))
def test_spectrogram_is_its_definition(length, seed):
    samples = np.random.default_rng(seed).uniform(-1, 1, length).astype(np.float32)
    bands = log_spectrogram(samples)
    assert bands.shape == (frame_count(length), BANDS) == (1 + length // 441, 84)
    np.testing.assert_allclose(bands, by_definition(samples), atol=2e-5)


def test_a_click_is_loudest_in_its_own_frame():
    samples = np.zeros(SAMPLE_RATE_HZ, np.float32)
    samples[441 * 37] = 1.0
    assert log_spectrogram(samples).sum(axis=1).argmax() == 37


def test_silence_is_zero():
    assert not log_spectrogram(np.zeros(10_000, np.float32)).any()


def test_exact_div_leaves_nothing_over():
    with pytest.raises(AssertionError, match="441 is no multiple of 2"):
        exact_div(441, 2)
