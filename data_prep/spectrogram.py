"""The front end: mono samples to log-filtered spectrograms.

T frames, F bands. This is the field's standard front end (Böck et al., madmom; ADTOF-YT was made with it): STFT of
2048 samples with a periodic Hann window every 10 ms, magnitude, 12 triangular filters an octave, log10(1 + x).
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ

FEATURES = "log-filter/1"  # name and version; a change of any number below is a new version
FFT_SAMPLES = 2048
BANDS_PER_OCTAVE = 12
LOWEST_HZ, HIGHEST_HZ, TUNING_HZ = 20.0, 20_000.0, 440.0
# Few enough that frames, spectra and magnitudes of a block stay in the cache; more would not be quicker.
BLOCK_FRAMES = 128


@cache
def filterbank() -> np.ndarray:
    """(F, bins) float64: area-normalised triangles, each from its left neighbour's centre to its right neighbour's."""
    half_steps = np.arange(-BANDS_PER_OCTAVE * 8, BANDS_PER_OCTAVE * 8 + 1)
    centres_hz = TUNING_HZ * 2.0 ** (half_steps / BANDS_PER_OCTAVE)
    centres_hz = centres_hz[(centres_hz >= LOWEST_HZ) & (centres_hz <= HIGHEST_HZ)]
    bin_hz = SAMPLE_RATE_HZ / FFT_SAMPLES
    bins = np.unique(np.floor(centres_hz / bin_hz + 0.5).astype(int))
    bank = np.zeros((len(bins) - 2, FFT_SAMPLES // 2 + 1))
    for band, (left, centre, right) in enumerate(zip(bins[:-2], bins[1:-1], bins[2:], strict=True)):
        at = np.arange(left, right + 1)
        bank[band, at] = np.where(at <= centre, (at - left) / (centre - left), (right - at) / (right - centre))
    bank = bank / bank.sum(axis=1, keepdims=True)
    bank.setflags(write=False)
    return bank


BANDS = len(filterbank())


@cache
def _filter_groups() -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """The filterbank as one small dense block an octave: (bins from 1 on, bands, (bins, bands) float32 weights)."""
    groups, bank = [], filterbank()[:, 1:-1]
    for first in range(0, BANDS, BANDS_PER_OCTAVE):
        bands = slice(first, min(first + BANDS_PER_OCTAVE, BANDS))
        used = np.flatnonzero(bank[bands].any(axis=0))
        bins = slice(used[0], used[-1] + 1)
        groups.append((bins, bands, np.ascontiguousarray(bank[bands, bins].T, dtype=np.float32)))
    return tuple(groups)


@cache
def _window() -> np.ndarray:
    """Periodic Hann window, (FFT_SAMPLES,) float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)).astype(np.float32)


def frame_count(samples: int) -> int:
    """Frames of a recording of that many samples: one centred on every 441st sample from the first on."""
    return 1 + samples // HOP_SAMPLES


def log_spectrogram(samples: np.ndarray) -> np.ndarray:
    """(S,) float32 samples in [-1, 1] at 44.1 kHz -> (T, F) float32, T = 1 + floor(S / 441).

    Frame n is centred on sample 441 n; beyond the ends there are zeros.
    """
    return np.concatenate(list(_band_blocks([samples])))


def log_spectrogram_of(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Consecutive blocks (S,) float32 -> (T, F) float16: ``log_spectrogram`` of all of them, rounded.

    Memory holds the result and one block. Raises what the blocks raise.
    """
    bands = bytearray()  # grows in place, where a list of arrays would be held twice when it is joined
    for block in log_spectrogram_blocks(blocks):
        bands += block.data.cast("B")
    return np.frombuffer(bands, np.float16).reshape(-1, BANDS)


def log_spectrogram_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Consecutive blocks (S,) float32 -> consecutive blocks (T, F) float16 of ``log_spectrogram_of`` all of them.

    Memory holds a block. Raises what the blocks raise.
    """
    for block in _band_blocks(blocks):
        yield block.astype(np.float16)


def _band_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """(T, F) float32, BLOCK_FRAMES at a time from the first on, whatever the sizes of the blocks of samples."""
    step = BLOCK_FRAMES * HOP_SAMPLES
    room = np.zeros(step - HOP_SAMPLES + FFT_SAMPLES, np.float32)  # the first frame's window to the last one's
    windows = np.lib.stride_tricks.sliding_window_view(room, FFT_SAMPLES)[::HOP_SAMPLES]
    filled, heard, given = FFT_SAMPLES // 2, 0, 0
    for block in chain(blocks, [np.zeros(FFT_SAMPLES // 2, np.float32)]):
        heard += len(block)
        while len(block):
            taken = min(len(block), len(room) - filled)
            room[filled : filled + taken] = block[:taken]
            filled, block = filled + taken, block[taken:]
            if filled == len(room):
                yield _bands(windows)
                given += BLOCK_FRAMES
                filled -= step
                room[:filled] = room[step:]
    if frames := frame_count(heard - FFT_SAMPLES // 2) - given:
        yield _bands(windows[:frames])


@cache
def _opencv() -> Any:
    """OpenCV, imported where a spectrogram is made; None on machines without it, where models are trained."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)  # a preparation has a worker a core already
    return cv2


def _spectra(windows: np.ndarray) -> np.ndarray:
    """(T, FFT_SAMPLES) float32 -> (T, bins) complex64: bin 1 and those after it as far as a filter reaches."""
    last = _filter_groups()[-1][0].stop
    # OpenCV's wheels bring Intel's FFT, which takes a third of the time of scipy's and half of numpy's. A row is bin 0,
    # real and imaginary parts of bins 1 to 1023, bin 1024; no filter reaches the first or the last.
    if opencv := _opencv():
        return opencv.dft(windows, flags=opencv.DFT_ROWS)[:, 1 : 2 * last + 1].view(np.complex64)
    return np.fft.rfft(windows)[:, 1 : last + 1]


def _bands(windows: np.ndarray) -> np.ndarray:
    """(T, FFT_SAMPLES) float32 samples around each frame -> (T, F) float32."""
    magnitude = np.abs(_spectra(windows * _window()))
    bands = np.empty((len(windows), BANDS), np.float32)
    for bins, group, weights in _filter_groups():
        np.matmul(magnitude[:, bins], weights, out=bands[:, group])
    return np.log10(np.add(bands, 1, out=bands), out=bands)
