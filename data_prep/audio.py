"""Audio files to mono samples at 44.1 kHz, block by block, so that an hour costs no more memory than a second."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.resampling import resample_blocks

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4_000, 384_000
MOST_CHANNELS = 64
LONGEST_S = 24 * 3600  # of which a spectrogram is 1.5 GB; silence of any length compresses to nothing
LOUDEST = 16.0  # floats may pass 1 a little; far beyond it they are integers in disguise
MAX_BYTES = 32 * 2**30  # a day of stereo; the header of a far larger file may tell of a second
SILENT_BELOW = 1e-4  # -80 dB: below the dither of 16 bits nothing can be heard
CLIPPED_RUN = 3  # one sample at full scale may be a peak that was normalised to it
CUT_SHORT_S = 0.1  # that a file may lack of what its header promises
PROMISED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)  # libsndfile's log of a header
UNKNOWN_SIZES = (0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000)  # of those who write to a pipe
BLOCK_VALUES = 1 << 16  # of all channels: what is decoded stays in the second-level cache


@dataclass(frozen=True)
class AudioFacts:
    """What a file holds, from its samples and not from what its header claims.

    ``peak`` is the largest absolute sample of any channel; ``clipped_samples`` counts the samples of all channels that
    stand in runs of at least three at full scale; ``silent`` says that the mean of the channels never reaches -80 dB;
    ``checksum`` is the SHA-256 of the mono float32 samples as decoded, before resampling.
    """

    seconds: float
    rate_hz: int
    channels: int
    peak: float
    clipped_samples: int
    silent: bool
    checksum: str


def read_audio(path: Path) -> np.ndarray:
    """Decode wav, flac, ogg or mp3 to mono float32 samples (S,) in [-1, 1] at 44.1 kHz; raises as read_blocks does."""
    return np.concatenate(list(read_blocks(path)))


def read_blocks(path: Path) -> Iterator[np.ndarray]:
    """Decode wav, flac, ogg or mp3 to consecutive blocks (S,) of mono float32 samples in [-1, 1] at 44.1 kHz.

    Channels are averaged; other sample rates are resampled. Raises Refused, at the latest where the blocks end, where
    the file is missing or no regular file, cannot be decoded, is cut short, holds no sample, holds NaN or infinity, is
    far beyond full scale, lasts longer than a day, has more than 64 channels, or a sample rate below 4 kHz or above
    384 kHz.
    """
    with _opened(path) as file:
        mono = (to_mono(channels) for channels in _checked_blocks(file, path))
        yield from resample_blocks(mono, file.samplerate, SAMPLE_RATE_HZ)


def mix_blocks(streams: Sequence[Iterator[np.ndarray]], gains_db: Sequence[float]) -> Iterator[np.ndarray]:
    """Streams of consecutive blocks (S,) float32, each with its gain in dB, added sample by sample.

    The streams' blocks may have any sizes; a stream that ends before the longest goes on as silence.
    """
    assert len(streams) == len(gains_db), f"{len(streams)} streams but {len(gains_db)} gains"
    factors = [np.float32(10 ** (gain_db / 20)) for gain_db in gains_db]
    pending: list[np.ndarray | None] = [np.zeros(0, np.float32)] * len(streams)
    while True:
        for index, stream in enumerate(streams):
            while (block := pending[index]) is not None and not len(block):
                pending[index] = next(stream, None)
        going_on = [(index, block) for index, block in enumerate(pending) if block is not None]
        if not going_on:
            return
        length = min(len(block) for _, block in going_on)
        mixed = np.zeros(length, np.float32)
        for index, block in going_on:
            mixed += block[:length] * factors[index]
            pending[index] = block[length:]
        yield mixed


def probe(path: Path) -> AudioFacts:
    """Decode a file once, in constant memory, and say what it holds; raises Refused where read_blocks does."""
    samples = clipped = 0
    peak = loudest = 0.0
    digest = hashlib.sha256()
    with _opened(path) as file:
        full_scale = 1 - 2.0**-7 if file.subtype in ("PCM_U8", "PCM_S8") else 1 - 2.0**-15
        at_full_scale = np.zeros((2 * CLIPPED_RUN - 2, file.channels), bool)
        for channels in _checked_blocks(file, path):
            mono = to_mono(channels)
            samples += len(mono)
            digest.update(mono.data)
            loudest = max(loudest, _largest(mono))
            peak = max(peak, of_block := _largest(channels))
            at_full_scale = at_full_scale[2 - 2 * CLIPPED_RUN :]
            if of_block >= full_scale or at_full_scale.any():
                at_full_scale = np.concatenate([at_full_scale, np.abs(channels) >= full_scale])
                clipped += _in_runs(at_full_scale)
            else:
                at_full_scale = np.zeros_like(at_full_scale)
        ending = np.zeros((CLIPPED_RUN - 1, file.channels), bool)
        clipped += _in_runs(np.concatenate([at_full_scale[2 - 2 * CLIPPED_RUN :], ending]))
        return AudioFacts(
            seconds=samples / file.samplerate,
            rate_hz=file.samplerate,
            channels=file.channels,
            peak=peak,
            clipped_samples=clipped,
            silent=loudest < SILENT_BELOW,
            checksum=digest.hexdigest(),
        )


def to_mono(channels: np.ndarray) -> np.ndarray:
    """Mean of the channels, (S, channels) float32 -> (S,) float32, never a view; a product is quicker than mean()."""
    if channels.shape[1] == 1:
        return channels[:, 0].copy()  # a product with one column is not
    return channels @ np.full(channels.shape[1], 1 / channels.shape[1], np.float32)


def _opened(path: Path) -> soundfile.SoundFile:
    """The file, opened, its header checked."""
    if not os.path.isfile(path):  # which is False, too, where links loop or a name is too long
        raise Refused(f"no audio file at {path}; check the path or download the corpus again")
    if not os.access(path, os.R_OK):  # of which libsndfile says "System error"
        raise Refused(f"{path} cannot be read (permission denied); allow it")
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise Refused(f"{path} holds {size:,} bytes; expected a recording of at most {MAX_BYTES:,}: cut or replace it")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:  # TypeError: *.raw
        raise _undecodable(path, error) from error
    for name, value, lowest, highest in (
        ("a sample rate of {} Hz", file.samplerate, LOWEST_RATE_HZ, HIGHEST_RATE_HZ),
        ("{} channels", file.channels, 1, MOST_CHANNELS),
    ):
        if not lowest <= value <= highest:
            file.close()
            bound = f"at least {lowest}" if value < lowest else f"at most {highest}"
            unit = " Hz" if "Hz" in name else ""
            raise Refused(f"{path} has {name.format(value)}; expected {bound}{unit}: convert it again")
    if (lacking := _lacking(file)) > CUT_SHORT_S * file.samplerate:
        file.close()
        held_s, promised_s = file.frames / file.samplerate, (file.frames + lacking) / file.samplerate
        raise Refused(
            f"{path} is cut short: it holds {held_s:.1f} of the {promised_s:,.1f} s that its header promises; "
            "download or convert it again"
        )
    return file


def _lacking(file: soundfile.SoundFile) -> float:
    """Samples that the header of a wav file promises beyond what the file holds."""
    if not (sizes := PROMISED.search(file.extra_info)):
        return 0.0
    promised, held = map(int, sizes.groups())
    return 0.0 if promised in UNKNOWN_SIZES or not held else (promised - held) * file.frames / held


def _undecodable(path: Path, error: Exception) -> Refused:
    return Refused(f"{path} cannot be decoded as audio ({error}); expected wav, flac, ogg or mp3: replace or remove it")


def _checked_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    """Consecutive blocks (S, channels) float32 of an opened file, at its own rate; raises Refused.

    A block at a time, so that a header which claims more than the file holds costs no memory; the next block is written
    over the last one.
    """
    shape = max(1, BLOCK_VALUES // file.channels), file.channels
    # 16 bits are copied as they lie in the file and scaled here: libsndfile's own floats take six times as long.
    integers = np.empty(shape, np.int16) if file.subtype == "PCM_16" else None
    floats = np.empty(shape, np.float32)
    samples = 0
    while True:
        try:
            channels = file.read(out=floats if integers is None else integers)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise _undecodable(path, error) from error
        if not len(channels):
            break
        samples += len(channels)
        if samples > LONGEST_S * file.samplerate:
            raise Refused(f"{path} lasts longer than {LONGEST_S / 3600:g} hours; expected one piece of music: split it")
        if integers is None:
            _check_range(channels, path)
        else:
            channels = np.multiply(channels, np.float32(2.0**-15), out=floats[: len(channels)])
        yield channels
    if not samples:
        raise Refused(f"{path} holds no audio samples; replace the file or remove it from the corpus")


def _check_range(channels: np.ndarray, path: Path) -> None:
    loudest = _largest(channels)
    if not np.isfinite(loudest):
        raise Refused(f"{path} holds samples that are not finite numbers; convert it again from its source")
    if loudest > LOUDEST:
        raise Refused(f"{path} has samples of up to {loudest:.0f}; expected floats from -1 to 1: divide by full scale")


def _largest(values: np.ndarray) -> float:
    """The largest absolute value, NaN where there is one; two passes without an array in between."""
    return float(np.maximum(values.max(), -values.min()))


def _in_runs(at_full_scale: np.ndarray) -> int:
    """How many of (S, channels) stand in runs of at least CLIPPED_RUN, all but CLIPPED_RUN - 1 at either end."""
    runs = np.lib.stride_tricks.sliding_window_view(at_full_scale, CLIPPED_RUN, axis=0).all(axis=-1)
    return int(np.lib.stride_tricks.sliding_window_view(runs, CLIPPED_RUN, axis=0).any(axis=-1).sum())
