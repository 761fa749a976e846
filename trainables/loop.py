"""The training loop: a generator of epochs that has never heard of a search. B batch, T frames, F bands, K classes."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import SplitData, TrainingData
from trainables.network import Network, autocast, best_device
from trainables.tasks import Task, find_task

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class FitEpoch:
    """What ``fit`` yields: the epoch's number from 1, flat metrics, and whether it is the best so far."""

    number: int
    metrics: dict[str, float]
    is_best: bool


@dataclass(frozen=True)
class Epoch(FitEpoch):
    """What ``train`` yields: the same with a checkpoint of the network as it is now."""

    checkpoint: Checkpoint


def fit(network: Network, task: Task, data: TrainingData, settings: Settings) -> Iterator[FitEpoch]:
    """Train ``network`` where it is and yield after every epoch; ends at ``max_epochs`` or when the loss stands still.

    Raises FloatingPointError at the first epoch whose training or validation loss is not finite.
    """
    device = next(network.parameters()).device
    weights = torch.tensor(task.class_weights(data.rates), dtype=torch.float32, device=device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=settings.plateau_factor, patience=settings.plateau_patience_epochs
    )
    generator = np.random.default_rng(settings.seed)
    best: float | None = None
    lowest_loss, lowest_epoch = math.inf, 0
    for number in range(1, settings.max_epochs + 1):
        began = time.perf_counter()
        learning_rate = optimiser.param_groups[0]["lr"]
        train_loss = train_epoch(network, task, data.train, optimiser, weights, settings, generator)
        trained = time.perf_counter()
        metrics = validate(network, task, data.validation, data.classes, settings)
        for name, value in (("training", train_loss), ("validation", metrics["validation_loss"])):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the {name} loss became {value} in epoch {number} at learning rate {learning_rate:g}"
                )
        schedule.step(metrics["validation_loss"])
        value = metrics[f"validation_{task.metric}"]
        if is_best := task.better(value, best):
            best = value
        yield FitEpoch(
            number,
            {
                "train_loss": train_loss,
                **metrics,
                "learning_rate": learning_rate,
                "seconds": time.perf_counter() - began,
                "windows_per_s": len(data.train) / (trained - began),
            },
            is_best,
        )
        if metrics["validation_loss"] < lowest_loss:
            lowest_loss, lowest_epoch = metrics["validation_loss"], number
        if number - lowest_epoch >= settings.stop_patience_epochs:
            return


def train_epoch(
    network: Network, task: Task, split: SplitData, optimiser: torch.optim.Optimizer, weights: Tensor,
    settings: Settings, generator: np.random.Generator,
) -> float:  # fmt: skip
    """One pass over the training windows; the mean loss. Losses stay on the device until the end."""
    device = weights.device
    network.train()
    total = torch.zeros((), device=device)
    for bands, stored in split.shuffled(settings.batch_size, generator):
        bands, targets = bands.to(device, non_blocking=True), task.decode(stored.to(device, non_blocking=True))
        with autocast(device, settings.precision):
            logits = network(bands)
        loss = task.loss(logits, targets, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        optimiser.step()
        total += loss.detach() * len(bands)
    return float(total) / len(split)


@torch.inference_mode()
def validate(
    network: Network, task: Task, split: SplitData, classes: tuple[str, ...], settings: Settings
) -> dict[str, float]:
    """Unweighted loss a window, and the task's score on whole tracks (windows joined), as ``validation_...``."""
    device = next(network.parameters()).device
    network.eval()
    total = torch.zeros((), device=device)
    activations, targets = [], []
    for bands, stored in split.in_order(EVALUATION_BATCH):
        wanted = task.decode(stored.to(device, non_blocking=True))
        with autocast(device, settings.precision):
            logits = network(bands.to(device, non_blocking=True)).float()
        total += task.loss(logits, wanted, None) * len(bands)
        activations.append(task.activate(logits))
        targets.append(wanted)
    scores = task.score(split.per_track(torch.cat(activations)), split.per_track(torch.cat(targets)), classes)
    return {"validation_loss": float(total) / len(split), **{f"validation_{name}": of for name, of in scores.items()}}


def train(config: TrainingConfig, shards: Path, *, device: str | None = None) -> Iterator[Epoch]:
    """Train what ``config`` says on prepared corpora under ``shards``; yields an Epoch with its checkpoint.

    The checkpoint's weights are copies. Everything that can be refused is refused (Refused) before the first step.
    """
    task = find_task(config.task)
    where = torch.device(device) if device else best_device()
    torch.manual_seed(config.settings.seed)
    data = TrainingData.open(config.corpora, shards, task.targets)
    network = Network(
        task, config.architecture, config.hyperparameters,
        bands=data.bands, classes=len(data.classes), mean=data.mean, deviation=data.deviation,
    ).to(where)  # fmt: skip
    for epoch in fit(network, task, data, config.settings):
        yield Epoch(
            epoch.number,
            epoch.metrics,
            epoch.is_best,
            Checkpoint(
                config=config,
                classes=data.classes,
                features=data.features,
                bands=data.bands,
                weights={name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()},
                epoch=epoch.number,
                metrics=epoch.metrics,
            ),
        )
