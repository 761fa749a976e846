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
    chosen = loud[is_peak]
    chosen = chosen[torch.div(chosen, classes, rounding_mode="floor") % frames >= rule.apart_frames]
    peaks = torch.zeros(batch * frames * classes, dtype=torch.bool, device=activations.device)
    peaks[chosen] = True
    _thin(peaks, chosen, torch.arange(1, rule.apart_frames + 1, device=chosen.device) * classes)
    return peaks.view(batch, frames, classes)


def _thin(kept: Tensor, candidates: Tensor, apart: Tensor) -> None:
    """From the left, drop the candidates that follow one that is kept too closely.

    kept: flat bool, True at the candidates (N,); apart: distances that are too close. Two candidates that close are
    equal maxima, so only a few are in doubt, and a round or two decides them, whatever the length.
    """
    before = candidates.unsqueeze(1) - apart
    in_doubt = kept[before].any(dim=1)
    candidates, before = candidates[in_doubt], before[in_doubt]
    pending = torch.zeros_like(kept)
    pending[candidates], kept[candidates] = True, False
    while len(candidates):
        beaten = kept[before].any(dim=1)
        free = ~beaten & ~pending[before].any(dim=1)
        kept[candidates[free]] = True
        decided = beaten | free
        pending[candidates[decided]] = False
        candidates, before = candidates[~decided], before[~decided]
