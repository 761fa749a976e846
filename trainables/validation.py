"""An epoch's validation: loss and score. B batch, T frames, L frames of all tracks on one line, F bands, K classes.

Losses, activations and targets stay on the device. The host waits a few times, however many the tracks, for lengths of
lists and the counts.
"""

import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from trainables.config import Settings
from trainables.memory import MemoryGuard
from trainables.network import Network, autocast
from trainables.peaks import PeakRule
from trainables.placement import Windows
from trainables.tasks import Task


@torch.inference_mode()
def validate(
    network: Network, task: Task, windows: Windows, classes: tuple[str, ...], settings: Settings, guard: MemoryGuard
) -> tuple[dict[str, float], PeakRule]:
    """Unweighted loss a window, and the task's score on whole tracks (windows joined), as ``validation_...``.

    The score is taken by the rule that comes with it: the study's, or the one that fits this validation best; the
    study's score then stands beside it as ``validation_plain_...``. The loss, the same for every setting, allows no
    shift.
    """
    network.eval()
    loss, activations, targets = guard.run(
        lambda at_once: joined(network, task, windows, settings.precision, at_once), len(windows)
    )
    rule, plain = PeakRule(), {}
    if settings.calibrate:
        plain = {f"plain_{task.metric}": task.score(activations, targets, classes, rule)[task.metric]}
        rule = task.calibrate(activations, targets)
    scores = task.score(activations, targets, classes, rule) | plain
    return {"validation_loss": float(loss), **{f"validation_{name}": of for name, of in scores.items()}}, rule


def joined(
    network: Network, task: Task, windows: Windows, precision: str, at_once: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean loss a window; activations and stored targets (L, K) of all tracks on one time line, silence around each."""
    split, device = windows.split, windows.device
    activations = torch.zeros(split.line_frames, split.classes, device=device)
    targets = torch.zeros(split.line_frames, split.classes, dtype=torch.uint8, device=device)
    starts = torch.from_numpy(split.line_starts).to(device)
    lengths = torch.from_numpy(split.frames[split.in_order.tracks] - split.in_order.starts).to(device)
    around = torch.arange(WINDOW_FRAMES, device=device)
    total = torch.zeros((), device=device)
    pieces = zip(windows.in_order(at_once), starts.split(at_once), lengths.split(at_once), strict=True)
    for (bands, stored), start, length in pieces:
        with autocast(device, precision):
            logits = network(bands).float()
        total += task.loss(logits, task.decode(stored), None) * len(bands)
        is_track = (around < length.unsqueeze(1)).unsqueeze(2)
        places = (start.unsqueeze(1) + around).view(-1)
        activations.index_copy_(0, places, (task.activate(logits) * is_track).flatten(0, 1))
        targets.index_copy_(0, places, stored.flatten(0, 1))
    return total / len(windows), activations, targets
