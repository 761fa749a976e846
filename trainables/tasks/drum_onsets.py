"""Drum onsets: which class sounds in which frame. B batch, T frames, L frames of all tracks on one line, K classes."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from data_prep.onsets import ONSET
from trainables import calibration
from trainables.metrics import Rates, count_hits, macro_f1, micro
from trainables.peaks import PeakRule, pick_peaks


def infrequency_weights(rates: np.ndarray) -> np.ndarray:
    """Inverse entropy (nats) of each class's rate a frame, (K,) -> (K,) (Cartwright and Bello, DAFx 2018).

    Rates are kept within a millionth of 0 and 1, so a class that never occurs has a large weight that nothing uses.
    """
    rate = np.clip(rates, 1e-6, 1 - 1e-6)
    return -1 / (rate * np.log(rate) + (1 - rate) * np.log1p(-rate))


def loss(
    logits: Tensor, targets: Tensor, weights: Tensor | None, shift_frames: int = 0, weigh: str = "frames"
) -> Tensor:
    """Binary cross-entropy summed over classes, mean over frames; logits and targets (B, T, K), weights (K,) or None.

    With weights, a frame counts as much as the weights of the classes sounding in it together (a neighbour's half
    counts half), at least 1; or, with ``weigh`` "classes", a class where it sounds as much as its own weight, at least
    1, and where it is silent 1, whatever sounds beside it. With ``shift_frames`` an onset may be that much early or
    late; see ``shifted``.
    """
    if shift_frames:
        per_class, targets = shifted(logits.float(), targets, shift_frames)
    else:
        per_class = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    if weights is not None and weigh == "classes":
        return (per_class * (1 + targets * (weights.clamp(min=1) - 1))).sum(dim=2).mean()
    per_frame = per_class.sum(dim=2)
    if weights is not None:
        per_frame = per_frame * (targets @ weights).clamp(min=1)
    return per_frame.mean()


def shifted(logits: Tensor, targets: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """The loss of each frame and class where an onset may be found some frames off, and the onsets alone, (B, T, K).

    An onset is compared with the highest logit within ``frames`` of it, the others there with nothing, all else with
    silence; a target's halves beside it are no onsets. After Foscarin, Schlüter and Widmer (Beat this!, ISMIR 2024),
    who compare silence with the highest logit around too and so leave out twice as many frames.
    """
    onsets = (targets == 1).float()
    highest, near = (_highest_around(of, frames) for of in (logits, onsets))
    return functional.softplus(-highest) * onsets + functional.softplus(logits) * (1 - near), onsets


def _highest_around(values: Tensor, frames: int) -> Tensor:
    """The highest of the values within so many frames, (B, T, K) -> (B, T, K)."""
    return functional.max_pool1d(values.transpose(1, 2), 2 * frames + 1, stride=1, padding=frames).transpose(1, 2)


def decode(halves: Tensor) -> Tensor:
    """Targets as shards keep them, 0, 1 or 2 halves, as floats in 0..1."""
    return halves.float() / 2


def score(
    activations: Tensor, halves: Tensor, classes: Sequence[str], rule: PeakRule | None = None
) -> dict[str, float]:  # fmt: skip
    """Flat metrics by a peak rule, or the study's, of all tracks on one time line, (L, K) each; see Task for the line.

    Peaks and matching stay on the line's device; (K, 3) counts leave it, in one transfer.
    """
    estimated = pick_peaks(activations.unsqueeze(0), rule or PeakRule())
    counts = count_hits(estimated, halves.unsqueeze(0) == ONSET)[0].cpu().numpy()
    rates = micro(counts)
    per_class = {f"f1_{name}": Rates.of(row).f1 for name, row in zip(classes, counts, strict=True)}
    return {
        "micro_f1": rates.f1,
        "macro_f1": macro_f1(counts),
        "precision": rates.precision,
        "recall": rates.recall,
        **per_class,
    }


def calibrate(activations: Tensor, halves: Tensor) -> PeakRule:
    """The peak rule that fits the activations (L, K) of a time line best."""
    return calibration.calibrate(activations, halves == ONSET)
