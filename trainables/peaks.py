"""Peaks: from activations to onsets. B batch, T frames, K classes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainables.config import Config


@dataclass(frozen=True)
class PeakRule(Config):
    """When a frame is an onset: highest of the frames around it, ``delta`` above their mean, at least ``threshold``.

    The rule is Vogl et al.'s (ISMIR 2017, section 3.3), the defaults the reference study's.
    """

    around_frames: int = 2
    delta: float = 0.1
    apart_frames: int = 2  # a peak comes more than this many frames after the one before it
    threshold: float = 0.5


def find_peaks(activations: Tensor, rule: PeakRule) -> Tensor:
    """(B, T, K) activations in 0..1 -> (B, T, K) bool, True where an onset is.

    As in the reference, the distance to a peak "before the first" is counted from frame -1, so the first two frames
    never hold a peak; whole tracks are therefore given some frames of silence first (see metrics.join_tracks).
    """
    reach = rule.around_frames
    batch, frames, classes = activations.shape
    around = functional.pad(activations.float(), (0, 0, reach, reach)).view(-1)
    loud = (activations.reshape(-1) >= rule.threshold).nonzero().squeeze(1)  # few: only these are looked at
    # the same places in the padded copy, where every window of the batch is longer by two margins
    first = loud + torch.div(loud, frames * classes, rounding_mode="floor") * (2 * reach * classes)
    near = around[first.unsqueeze(1) + torch.arange(2 * reach + 1, device=first.device) * classes]
    own = near[:, reach]
    is_peak = (own == near.amax(dim=1)) & (own >= near.mean(dim=1) + rule.delta)
    peaks = torch.zeros(batch * frames * classes, dtype=torch.bool, device=activations.device)
    peaks[loud[is_peak]] = True
    return _thinned(peaks.view(batch, frames, classes), rule.apart_frames)


def _thinned(candidates: Tensor, apart: int) -> Tensor:
    """(B, T, K) bool: from the left, keep the candidates more than ``apart`` frames after the last one kept.

    Two candidates that close are equal maxima, so this ends after a round or two, whatever T is.
    """
    candidates[:, :apart] = False
    if not any(bool((candidates[:, by:] & candidates[:, :-by]).any()) for by in range(1, apart + 1)):
        return candidates
    waiting, kept = candidates, torch.zeros_like(candidates)
    while bool(waiting.any()):
        first = waiting & ~_follows(waiting, apart)
        kept |= first
        waiting = waiting & ~(first | _follows(first, apart))
    return kept


def _follows(marks: Tensor, apart: int) -> Tensor:
    """True on the ``apart`` frames after each mark."""
    followed = torch.zeros_like(marks)
    for distance in range(1, apart + 1):
        followed[:, distance:] |= marks[:, :-distance]
    return followed
