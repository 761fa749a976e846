"""The front end against golden numbers, against its definition spelled out in float64, on clicks, and in blocks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.audio import read_audio
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ, exact_div
from data_prep.spectrogram import (
    BANDS,
    BLOCK_FRAMES,
    FFT_SAMPLES,
    filterbank,
    frame_count,
    log_spectrogram,
    log_spectrogram_of,
)


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
    np.testing.assert_allclose(log_spectrogram(samples), golden("front_end")["spectrogram"], atol=1e-6)


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


BLOCK = BLOCK_FRAMES * HOP_SAMPLES


@given(
    length=st.integers(0, 3 * BLOCK) | st.sampled_from([n * BLOCK + rest for n in (1, 2) for rest in (-1, 0, 1, 1024)]),
    cuts=st.lists(st.integers(0, 3 * BLOCK), max_size=8).map(sorted),
)
def test_in_blocks_of_any_sizes_it_is_the_whole(length, cuts):
    samples = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    bands = log_spectrogram_of(np.split(samples, cuts))
    assert bands.dtype == np.float16
    np.testing.assert_array_equal(bands, log_spectrogram(samples).astype(np.float16))


@given(size=st.integers(1, 40))
def test_in_small_blocks_it_is_the_whole(size):
    samples = np.random.default_rng(size).uniform(-1, 1, 2000).astype(np.float32)
    bands = log_spectrogram_of(samples[first : first + size] for first in range(0, len(samples), size))
    np.testing.assert_array_equal(bands, log_spectrogram(samples).astype(np.float16))


def test_nothing_at_all_has_one_silent_frame():
    np.testing.assert_array_equal(log_spectrogram_of([]), np.zeros((1, BANDS), np.float16))


def test_memory_holds_the_result_and_one_block():
    silence = np.zeros(10 * SAMPLE_RATE_HZ, np.float32)
    tracemalloc.start()
    bands = log_spectrogram_of(silence for _ in range(60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < bands.nbytes * 1.3 + (4 << 20)


def test_without_opencv_the_numbers_are_the_same(monkeypatch):
    samples = np.random.default_rng(0).uniform(-1, 1, 3 * SAMPLE_RATE_HZ).astype(np.float32)
    wanted = log_spectrogram(samples)
    monkeypatch.setattr("data_prep.spectrogram._opencv", lambda: None)
    found = log_spectrogram(samples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)
