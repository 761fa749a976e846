"""The training loop: a generator of epochs that has never heard of a search. B batch, T frames, F bands, K classes.

No step waits for the device: losses stay there. The host waits once after the training.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables import mixing
from trainables.averaging import Average
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.inference import BATCH_WINDOWS
from trainables.memory import MemoryGuard, keep_freed_memory
from trainables.network import Network, autocast, best_device
from trainables.peaks import PeakRule
from trainables.placement import CONTEXT_BYTES, TrainingWindows, place
from trainables.schedule import plateau_of
from trainables.state import TrainingState
from trainables.stopwatch import Stopwatch
from trainables.tasks import Task, find_task
from trainables.training import Snapshot, Training
from trainables.validation import validate


@dataclass(frozen=True)
class FitEpoch:
    """What ``fit`` yields: the epoch's number from 1, flat metrics, and whether it is the best so far.

    ``rule`` is the peak rule that the task's metric was taken by. ``weights`` and ``state`` are copies in the host's
    memory, to be asked for before the training goes on or is closed.
    """

    number: int
    metrics: dict[str, float]
    is_best: bool
    rule: PeakRule
    snapshot: Snapshot = field(repr=False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The network's parameters and buffers right after this epoch, averaged where the settings say so."""
        return self.snapshot.weights

    @property
    def state(self) -> TrainingState:
        """What ``resume`` takes to go on from here; its weights are ``weights``, not copied again."""
        return self.snapshot.state


@dataclass(frozen=True)
class Epoch(FitEpoch):
    """What ``train`` yields: the same with a checkpoint of the network as it is now."""

    checkpoint: Checkpoint


def fit(
    network: Network, task: Task, data: TrainingData, settings: Settings,
    *, share: float = 1.0, stopwatch: Stopwatch | None = None, resume: TrainingState | None = None,
) -> Iterator[FitEpoch]:  # fmt: skip
    """Train ``network`` where it is and yield after every epoch; ends at ``max_epochs`` or when all stands still.

    ``share``: the part of a GPU's memory that is this training's. With a ``stopwatch``, metrics have each stage's
    seconds. ``resume``: an epoch's state, to go on behind it as the training it was taken from would have; Refused
    where it is of another network. Raises FloatingPointError at the first epoch whose training or validation loss is
    not finite, and OutOfMemory where not even one window at a time fits.
    """
    device = next(network.parameters()).device
    torch.backends.cudnn.benchmark = device.type == "cuda"  # windows are all of one length: the choice pays
    if device.type == "cpu":
        keep_freed_memory()
    elif share < 1:  # memory runs out here, and not where the others on this GPU train
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_BYTES / total, share / 2), device)
    stopwatch = stopwatch or Stopwatch()
    train_windows = mixing.training_windows(data, settings, device, share)
    validation_windows = place(data.validation, device, share, data.splits)
    guards = guard, evaluation_guard = MemoryGuard(settings.batch_size), MemoryGuard(BATCH_WINDOWS[device.type])
    class_weights = task.class_weights(data.rates) * settings.weight_scale
    weights = torch.tensor(class_weights, dtype=torch.float32, device=device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    average = Average(network, settings.average_decay) if settings.average_decay else None
    generator = np.random.default_rng(settings.seed)
    training = Training(network, optimiser, plateau_of(optimiser, settings), average, generator, guards)
    if resume is not None:
        training.restore(resume)
    while not training.has_ended(settings):
        began = time.perf_counter()
        train_loss = train_epoch(training, task, train_windows, weights, settings, stopwatch)
        trained, learning_rate = time.perf_counter(), training.learning_rate
        with stopwatch.stage("validation"):
            metrics, rule = validate(training.shown, task, validation_windows, data.classes, settings, evaluation_guard)
        validated = time.perf_counter()
        for name, value in (("training", train_loss), ("validation", metrics["validation_loss"])):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the {name} loss became {value} in epoch {training.epoch + 1} at learning rate {learning_rate:g}"
                )
        is_best = training.advance(metrics["validation_loss"], metrics[f"validation_{task.metric}"], task)
        told = {
            "train_loss": train_loss,
            **metrics,
            "learning_rate": learning_rate,
            "seconds": time.perf_counter() - began,
            "windows_per_s": len(train_windows) / (trained - began),
            "validation_windows_per_s": len(data.validation) / (validated - trained),
            "micro_batch": float(guard.at_once),
            "validation_micro_batch": float(evaluation_guard.at_once),
            **{f"{stage}_s": seconds for stage, seconds in stopwatch.lap().items()},
        }
        snapshot = Snapshot(training)
        try:
            yield FitEpoch(training.epoch, told, is_best, rule, snapshot)
        finally:
            snapshot.close()


def train_epoch(
    training: Training, task: Task, windows: TrainingWindows, weights: Tensor, settings: Settings, stopwatch: Stopwatch
) -> float:  # fmt: skip
    """One pass over the training windows; the mean loss."""
    network, guard = training.network.train(), training.guards[0]
    total = torch.zeros((), device=weights.device)
    steps = math.ceil(len(windows) / settings.batch_size)
    batches = stopwatch.each("data", windows.epoch(training.epoch, settings.batch_size, training.generator))
    for step, (bands, stored) in enumerate(batches, training.epoch * steps):

        def gradients(at_once: int, bands: Tensor = bands, stored: Tensor = stored) -> Tensor:
            training.optimiser.zero_grad(set_to_none=True)
            return accumulate(network, task, bands, stored, weights, settings, at_once, stopwatch)

        loss = guard.run(gradients, len(bands))
        with stopwatch.stage("optimiser"):
            training.step(step, steps * settings.max_epochs, settings)
            total += loss * len(bands)
    return float(total) / len(windows)


def accumulate(
    network: Network, task: Task, bands: Tensor, stored: Tensor, weights: Tensor,
    settings: Settings, at_once: int, stopwatch: Stopwatch,
) -> Tensor:  # fmt: skip
    """Add the gradients of a batch's mean loss, ``at_once`` windows at a time; the loss.

    However many go at once, the gradients are the same but for batch normalisation, whose statistics are of those.
    """
    total = torch.zeros((), device=weights.device)
    for some, their in zip(bands.split(at_once), stored.split(at_once), strict=True):
        with stopwatch.stage("forward"):
            with autocast(weights.device, settings.precision):
                logits = network(some)
            loss = task.loss(logits, task.decode(their), weights, settings.shift_frames, settings.weigh)
            loss = loss * (len(some) / len(bands))
        with stopwatch.stage("backward"):
            loss.backward()
        total += loss.detach()
    return total


def train(
    config: TrainingConfig, shards: Path,
    *, device: str | None = None, share: float = 1.0, profile: bool = False, resume: TrainingState | None = None,
) -> Iterator[Epoch]:  # fmt: skip
    """Train what ``config`` says on prepared corpora under ``shards``; yields an Epoch with its checkpoint.

    ``share``: the part of a GPU's memory that is this training's. With ``profile``, metrics have each stage's seconds.
    ``resume``: the state of an epoch of this configuration, to go on behind it. The checkpoint's weights are copies.
    Everything that can be refused is refused (Refused) before the first step.
    """
    task = find_task(config.task)
    where = torch.device(device) if device else best_device()
    torch.manual_seed(config.settings.seed)
    settings = config.settings
    data = mixing.as_heard(TrainingData.open(config.corpora, shards, task.targets), settings, where, share)
    network = Network.fitting(data, task, config.architecture, config.hyperparameters, settings.level).to(where)
    stopwatch = Stopwatch(where if profile else None)
    for epoch in fit(network, task, data, settings, share=share, stopwatch=stopwatch, resume=resume):
        checkpoint = Checkpoint(
            config=config,
            classes=data.classes,
            features=data.features,
            bands=data.bands,
            weights=epoch.weights,
            epoch=epoch.number,
            metrics=epoch.metrics,
            peak_rule=epoch.rule,
        )
        yield Epoch(epoch.number, epoch.metrics, epoch.is_best, epoch.rule, epoch.snapshot, checkpoint)
