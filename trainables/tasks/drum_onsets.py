"""Drum onsets: which class sounds in which frame. B batch, T frames, K classes."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from data_prep.onsets import ONSET
from trainables.metrics import Rates, count_hits, macro_f1, micro
from trainables.peaks import PeakRule, pick_peaks


def infrequency_weights(rates: np.ndarray) -> np.ndarray:
    """Inverse entropy (nats) of each class's rate a frame, (K,) -> (K,) (Cartwright and Bello, DAFx 2018).

    Rates are kept within a millionth of 0 and 1, so a class that never occurs has a large weight that nothing uses.
    """
    rate = np.clip(rates, 1e-6, 1 - 1e-6)
    return -1 / (rate * np.log(rate) + (1 - rate) * np.log1p(-rate))


def loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Binary cross-entropy summed over classes, mean over frames; logits and targets (B, T, K), weights (K,) or None.

    With weights, a frame counts as much as the weights of the classes sounding in it together (a neighbour's half
    counts half), at least 1.
    """
    per_frame = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(dim=2)
    if weights is not None:
        per_frame = per_frame * (targets @ weights).clamp(min=1)
    return per_frame.mean()


def decode(halves: Tensor) -> Tensor:
    """Targets as shards keep them, 0, 1 or 2 halves, as floats in 0..1."""
    return halves.float() / 2


def score(activations: Tensor, halves: Tensor, classes: Sequence[str]) -> dict[str, float]:
    """Flat metrics by the study's peak rule of all tracks on one time line, (L, K) each; see Task for the line.

    Peaks and matching stay on the line's device; (K, 3) counts leave it, in one transfer.
    """
    estimated = pick_peaks(activations.unsqueeze(0), PeakRule())
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
