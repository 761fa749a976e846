"""The front end against the plain route, on three minutes of stereo and one thread."""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import torch
import torchaudio
from timing import report, seconds_of

from data_prep.audio import to_mono
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ
from data_prep.spectrogram import FFT_SAMPLES, filterbank, log_spectrogram

torch.set_num_threads(1)
STEREO = np.random.default_rng(0).normal(0, 0.1, (180 * SAMPLE_RATE_HZ, 2)).astype(np.float32)
SPECTROGRAM = torchaudio.transforms.Spectrogram(FFT_SAMPLES, hop_length=HOP_SAMPLES, power=1, pad_mode="constant")
BANK = torch.from_numpy(filterbank().astype(np.float32))


def plain() -> np.ndarray:
    """torchaudio's spectrogram, a dense product, log10."""
    samples = torch.from_numpy(STEREO).mean(dim=1)
    return torch.log10(1 + BANK @ SPECTROGRAM(samples)).T.numpy()


def ours() -> np.ndarray:
    """As the preparation does it."""
    return log_spectrogram(to_mono(STEREO))


np.testing.assert_allclose(plain(), ours(), atol=1e-4)
report(
    "Front end, 3 minutes of stereo, one thread",
    ("torchaudio Spectrogram, dense product, log10", seconds_of(plain)),
    ("log_spectrogram", seconds_of(ours)),
    target=4,
)
