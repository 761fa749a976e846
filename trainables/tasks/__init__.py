"""The tasks: one table of frozen records. The loop, the search and the reports read a task's record and know no more.

B batch, T frames, L frames of all tracks on one line, K classes, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from data_prep.refused import check_known
from trainables.peaks import PeakRule
from trainables.tasks import drum_onsets


@dataclass(frozen=True)
class Task:
    """What is learned.

    targets: the kind of targets a corpus's manifest must promise. head(D, K): features to logits.
    class_weights(rates (K,)): from how often each class occurs. decode(stored targets): as the loss takes them.
    loss(logits, targets, weights or None, shift_frames=0): a mean. activate(logits): as score takes them.
    score(activations (L, K), stored targets (L, K), classes, rule or None): flat metrics of whole tracks, all on one
    time line on one device, at least 2 * TOLERANCE_FRAMES frames of silence (zeros) before each track and after the
    last. calibrate(activations (L, K), stored targets (L, K)): the rule that fits such a line best. metric: the one
    that selects checkpoints and that a search optimises, in the direction ``mode``.
    """

    name: str
    title: str
    targets: str
    head: Callable[[int, int], nn.Module]
    class_weights: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[Tensor], Tensor]
    loss: Callable[..., Tensor]
    activate: Callable[[Tensor], Tensor]
    score: Callable[[Tensor, Tensor, Sequence[str], PeakRule | None], dict[str, float]]
    calibrate: Callable[[Tensor, Tensor], PeakRule]
    metric: str
    mode: Literal["max", "min"]

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value of the metric beats another; anything beats None, NaN beats nothing."""
        if than is None:
            return value == value
        return value > than if self.mode == "max" else value < than


TASKS = {
    "drum_onsets": Task(
        name="drum_onsets",
        title="drum onsets",
        targets="onsets",
        head=nn.Linear,
        class_weights=drum_onsets.infrequency_weights,
        decode=drum_onsets.decode,
        loss=drum_onsets.loss,
        activate=torch.sigmoid,
        score=drum_onsets.score,
        calibrate=drum_onsets.calibrate,
        metric="micro_f1",
        mode="max",
    )
}


def find_task(name: str) -> Task:
    """The task of that name; Refused where there is none."""
    check_known("task", name, sorted(TASKS))
    return TASKS[name]
