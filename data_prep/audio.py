"""Audio files to mono samples at 44.1 kHz."""

from pathlib import Path

import numpy as np
import soundfile

from data_prep.refused import Refused

SAMPLE_RATE_HZ = 44_100
LOWEST_RATE_HZ = 4_000
LOUDEST = 16.0  # floats may pass 1 a little; far beyond it they are integers in disguise
BLOCK_SAMPLES = 1 << 18


def read_audio(path: Path) -> np.ndarray:
    """Decode wav, flac, ogg or mp3 to mono float32 samples (S,) in [-1, 1] at 44.1 kHz.

    Channels are averaged; other sample rates are resampled. Raises Refused where the file is missing, cannot be
    decoded, holds no sample, holds NaN or infinity, is far beyond full scale,
    or has a sample rate below 4 kHz.
    """
    if not path.is_file():
        raise Refused(f"no audio file at {path}; check the path or download the corpus again")
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            # Block by block, so that a header which claims more than the file holds costs no memory.
            blocks = [to_mono(block) for block in file.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True)]
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise Refused(
            f"{path} cannot be decoded as audio ({error}); expected wav, flac, ogg or mp3: replace or remove it"
        ) from error
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise Refused(f"{path} holds no audio samples; replace the file or remove it from the corpus")
    if not np.isfinite(samples).all():
        raise Refused(f"{path} holds samples that are not finite numbers; convert it again from its source")
    if (loudest := float(np.abs(samples).max())) > LOUDEST:
        raise Refused(f"{path} has samples of up to {loudest:.0f}; expected floats from -1 to 1: divide by full scale")
    if rate_hz < LOWEST_RATE_HZ:
        raise Refused(
            f"{path} has a sample rate of {rate_hz} Hz; expected at least {LOWEST_RATE_HZ} Hz: convert it again"
        )
    return resample(samples, rate_hz)


def to_mono(channels: np.ndarray) -> np.ndarray:
    """Mean of the channels, (S, channels) float32 -> (S,) float32; as a product, which is quicker than mean()."""
    return channels @ np.full(channels.shape[1], 1 / channels.shape[1], np.float32)


def resample(samples: np.ndarray, from_hz: int) -> np.ndarray:
    """Resample (S,) float32 from ``from_hz`` to 44.1 kHz by windowed sinc (torchaudio)."""
    if from_hz == SAMPLE_RATE_HZ:
        return samples
    import torch
    from torchaudio.functional import resample as torchaudio_resample

    return torchaudio_resample(torch.from_numpy(samples), from_hz, SAMPLE_RATE_HZ).numpy()
