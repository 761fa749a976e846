"""The level at which a network hears a window. B batch, T frames, F bands.

log10(1 + x) depends on level: 12 dB less costs 1 to 5 points of F1 (evidence). Every policy is a function of the
window alone, so that training, validation and use hear the same. A checkpoint keeps the policy's name: other numbers
are another policy, with another name.
"""

import math

import torch
from torch import Tensor

LN_10 = math.log(10)
REFERENCE = 3.0  # mean magnitude of a window's sounding frames: of loud, mastered music, and 1 + x is still no mere x
SOUNDING = 0.01  # of the loudest frame's mean
WHITENING, WHITENED_REFERENCE = 0.5, 30.0  # where 1 + x is nearly x: soft hits weigh as they do to the ear
SILENT_BAND = 0.003  # of the loudest band's mean: what has no sound is not blown up
TINY = 1e-6
QUIETEST = 0.01  # of REFERENCE, by every policy: what is below is silence and stays quieter than music


def magnitudes_of(bands: Tensor) -> Tensor:
    """log10(1 + x) in any float type -> x, float32."""
    return (bands.float() * LN_10).expm1_()


def bands_of(magnitudes: Tensor) -> Tensor:
    """x -> log10(1 + x)."""
    return torch.log1p(magnitudes) / LN_10


def levelled(magnitudes: Tensor, reference: float = REFERENCE) -> Tensor:
    """Magnitudes (B, T, F) times one factor a window, which brings the mean of its sounding frames to the reference."""
    frames = magnitudes.mean(dim=2)  # (B, T)
    sounding = frames > SOUNDING * frames.amax(dim=1, keepdim=True)
    mean = (frames * sounding).sum(dim=1) / sounding.sum(dim=1).clamp(min=1)
    return magnitudes * (reference / mean.clamp(min=QUIETEST * REFERENCE))[:, None, None]


def whitened(magnitudes: Tensor) -> Tensor:
    """Magnitudes (B, T, F) with each band WHITENING of the way, in dB, to the level of all; then ``levelled``.

    So what an equaliser, a dark room or a bright master does to a window is halved in dB, and quiet bands are heard.
    (Adaptive whitening, with the mean of a window in place of a recent peak: Stowell and Plumbley, ICMC 2007.)
    """
    means = magnitudes.mean(dim=1, keepdim=True)
    shares = means / means.amax(dim=2, keepdim=True).clamp(min=TINY)
    return levelled(magnitudes * (shares + SILENT_BAND) ** -WHITENING, WHITENED_REFERENCE)


LEVELS = {"as_recorded": None, "window": levelled, "whitened": whitened}


def at_level(bands: Tensor, policy: str, gain_db: float | Tensor = 0.0) -> Tensor:
    """Bands (B, T, F) as they would be at the policy's level, then ``gain_db`` (a number, or (B,)) louder."""
    change = LEVELS[policy]
    if change is None and not torch.is_tensor(gain_db) and gain_db == 0:
        return bands
    magnitudes = magnitudes_of(bands)
    if change is not None:
        magnitudes = change(magnitudes)
    gain = 10 ** (torch.as_tensor(gain_db, device=bands.device, dtype=torch.float32) / 20)
    return bands_of(magnitudes * gain.reshape(-1, 1, 1))
