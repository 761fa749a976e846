"""Samples that a caller holds, checked and brought to mono at 44.1 kHz as those of a file are. S samples."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data_prep.audio import HIGHEST_RATE_HZ, LONGEST_S, LOUDEST, LOWEST_RATE_HZ, MOST_CHANNELS, to_mono
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.resampling import resample_blocks

BLOCK_SAMPLES = 1 << 16
# PCM: what stands for silence, and full scale. Wider integers hold anything.
PCM = {"uint8": (128, 2**7), "int8": (0, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}


def sample_blocks(samples: Any, rate_hz: Any) -> Iterator[np.ndarray]:
    """Samples (S,) or (S, channels) at a rate -> consecutive blocks of mono float32 samples in [-1, 1] at 44.1 kHz.

    Floats are expected in [-1, 1]; integers of 8, 16 or 32 bits are PCM. Refused at once where they are neither, empty,
    of too many channels, or the rate is none; while the blocks are read where one is NaN, infinite or far beyond full
    scale. They are not copied as a whole.
    """
    rate_hz = _rate(rate_hz)
    try:
        values = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # a ragged list; a tensor on a GPU
        raise Refused(f"the samples are no array ({error}); give numbers, (samples,) or (samples, channels)") from error
    kind = values.dtype
    if kind.kind != "f" and kind.name not in PCM:
        raise Refused(f"samples of type {kind}; expected floats in [-1, 1], or PCM as {', '.join(PCM)}: convert them")
    if values.ndim not in (1, 2):
        raise Refused(f"samples of shape {values.shape}; expected (samples,) or (samples, channels)")
    if not values.size:
        raise Refused(f"no samples, of shape {values.shape}; expected at least one")
    channels = values[:, None] if values.ndim == 1 else values
    if channels.shape[1] > MOST_CHANNELS:
        raise Refused(
            f"samples of shape {values.shape} have {channels.shape[1]:,} channels; expected (samples, channels) with "
            f"at most {MOST_CHANNELS}: transpose them"
        )
    if len(channels) > LONGEST_S * rate_hz:
        raise Refused(f"samples of more than {LONGEST_S / 3600:g} hours; expected one piece of music: split them")
    return resample_blocks(_mono_blocks(channels), rate_hz, SAMPLE_RATE_HZ)


def _rate(rate_hz: Any) -> int:
    if rate_hz is None:
        raise Refused(f"samples without a rate; give samples per second, as in transcribe(samples, {SAMPLE_RATE_HZ})")
    try:
        whole = int(rate_hz)
        fits = whole == rate_hz and LOWEST_RATE_HZ <= whole <= HIGHEST_RATE_HZ
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        span = f"a whole number from {LOWEST_RATE_HZ:,} to {HIGHEST_RATE_HZ:,}"
        raise Refused(f"a rate of {str(rate_hz)[:40]!r} samples per second; expected {span}")
    return whole


def _mono_blocks(channels: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(channels), BLOCK_SAMPLES):
        block = channels[first : first + BLOCK_SAMPLES]
        if block.dtype.name in PCM:
            silence, full_scale = PCM[block.dtype.name]
            yield to_mono((block.astype(np.float32) - np.float32(silence)) / np.float32(full_scale))
            continue
        loudest = float(np.maximum(block.max(), -block.min()))
        if not np.isfinite(loudest):
            raise Refused(f"samples from {first:,} on hold one that is no finite number; expected floats in [-1, 1]")
        if loudest > LOUDEST:
            raise Refused(f"samples of up to {loudest:,.0f}; expected floats in [-1, 1]: divide them by full scale")
        yield to_mono(np.ascontiguousarray(block, np.float32))
