"""A training as it goes: what an epoch changes, taken after one and put back to go on from there."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.refused import Refused
from trainables.averaging import Average
from trainables.config import Settings
from trainables.memory import MemoryGuard
from trainables.network import Network
from trainables.schedule import cosine_factor
from trainables.state import PLATEAU, TrainingState
from trainables.tasks import Task

NETWORK, AVERAGE, OPTIMISER = "network.", "average.", "optimiser."  # what tensors' names begin with
CPU_GENERATOR, CUDA_GENERATOR = "generator.cpu", "generator.cuda"
MOMENTS = ("exp_avg", "exp_avg_sq")  # torch.optim.AdamW's words


@dataclass
class Training:
    """A training as it goes: what an epoch changes. ``best`` is of the task's metric, the lowest loss of validation."""

    network: Network
    optimiser: torch.optim.AdamW  # fused
    plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None  # None: the learning rate goes by steps
    average: Average | None  # of the weights
    generator: np.random.Generator
    guards: tuple[MemoryGuard, MemoryGuard]  # of training and of validation
    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    lowest_loss: float = math.inf
    lowest_epoch: int = 0

    @property
    def shown(self) -> Network:
        """The network that is validated and kept."""
        return self.average.network if self.average else self.network

    @property
    def learning_rate(self) -> float:
        """That of the latest step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def has_ended(self, settings: Settings) -> bool:
        """Whether all epochs are done, or the loss or the score, whichever counts, stands still."""
        if self.epoch == 0:
            return False
        latest = {"loss": self.lowest_epoch, "score": self.best_epoch}[settings.stop_on]
        return self.epoch >= settings.max_epochs or self.epoch - latest >= settings.stop_patience_epochs

    def step(self, number: int, steps: int, settings: Settings) -> None:
        """Move the weights by their gradients in step ``number``, counted from 0 over all epochs, of so many."""
        if self.plateau is None:
            for group in self.optimiser.param_groups:
                group["lr"] = settings.learning_rate * cosine_factor(number, steps)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_norm)
        self.optimiser.step()
        if self.average:
            self.average.follow(self.network, number)

    def advance(self, loss: float, value: float, task: Task) -> bool:
        """An epoch is done with this validation loss and value of the task's metric; whether that is the best yet."""
        self.epoch += 1
        if self.plateau is not None:
            self.plateau.step(loss)
        if loss < self.lowest_loss:
            self.lowest_loss, self.lowest_epoch = loss, self.epoch
        if is_best := task.better(value, self.best):
            self.best, self.best_epoch = value, self.epoch
        return is_best

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def weights(self) -> dict[str, Tensor]:
        """The network's parameters and buffers themselves, and those of the average where there is one."""
        found = {NETWORK + name: value.detach() for name, value in self.network.state_dict().items()}
        if self.average:
            found |= {AVERAGE + name: value.detach() for name, value in self.average.network.state_dict().items()}
        return found

    def moments(self) -> dict[str, Tensor]:
        """The optimiser's tensors themselves; those of a parameter without a step yet are made, as zeros."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            of = self.optimiser.state[parameter]
            if not of:  # of the parameter's own layout in memory: the fused step does not look at strides
                of["step"] = torch.zeros((), device=parameter.device)
                of |= {moment: torch.zeros_like(parameter) for moment in MOMENTS}
            found |= {f"{OPTIMISER}{name}.{part}": of[part] for part in ("step", *MOMENTS)}
        return found

    def generators(self) -> dict[str, Tensor]:
        """States of torch's generators: of the host, and of the network's GPU where it is on one."""
        states = {CPU_GENERATOR: torch.get_rng_state()}
        if self.device.type == "cuda":
            states[CUDA_GENERATOR] = torch.cuda.get_rng_state(self.device)
        return states

    def facts(self) -> dict[str, Any]:
        """All else, as JSON."""
        plateau = self.plateau.state_dict() if self.plateau else None
        return {
            "learning_rates": [float(group["lr"]) for group in self.optimiser.param_groups],
            "plateau": {name: plateau[name] for name in PLATEAU} if plateau else None,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "lowest_loss": self.lowest_loss,
            "lowest_epoch": self.lowest_epoch,
            "windows_at_once": [guard.at_once for guard in self.guards],
            "generator": self.generator.bit_generator.state,
        }

    def restore(self, state: TrainingState) -> None:
        """Be where ``state`` was taken; Refused, and nothing changed, where it is of another network.

        A state from another kind of device is taken: what that one has no generator for goes on from the seed.
        """
        there = self.weights() | self.moments()
        self._check(state, there | self.generators())
        for name, value in there.items():
            value.copy_(state.tensors[name])
        torch.set_rng_state(state.tensors[CPU_GENERATOR])
        if self.device.type == "cuda" and CUDA_GENERATOR in state.tensors:
            torch.cuda.set_rng_state(state.tensors[CUDA_GENERATOR], self.device)
        facts = state.facts
        for group, learning_rate in zip(self.optimiser.param_groups, facts["learning_rates"], strict=True):
            group["lr"] = learning_rate
        if self.plateau:
            self.plateau.load_state_dict(facts["plateau"])
        self.generator.bit_generator.state = facts["generator"]
        for guard, at_once in zip(self.guards, facts["windows_at_once"], strict=True):
            guard.at_once = min(guard.at_once, at_once)
        self.epoch, self.best, self.best_epoch = state.epoch, facts["best"], facts.get("best_epoch", state.epoch)
        self.lowest_loss, self.lowest_epoch = facts["lowest_loss"], facts["lowest_epoch"]

    def _check(self, state: TrainingState, there: Mapping[str, Tensor]) -> None:
        expected, found = dict(shapes(there)), dict(shapes(state.tensors))
        groups = len(state.facts["learning_rates"]), len(self.optimiser.param_groups)
        if strays := sorted(expected.items() ^ found.items()):
            name = strays[0][0]
            reason = f"{name!r} is {found.get(name, 'missing')}, not {expected.get(name, 'there')}"
        elif groups[0] != groups[1]:
            reason = f"it has {groups[0]} learning rates, not {groups[1]}"
        elif (self.plateau is None) != (state.facts["plateau"] is None):
            reason = "its learning rate went by another schedule"
        else:
            return
        raise Refused(
            f"the training state of epoch {state.epoch} does not fit the network ({reason}); resume with the "
            "configuration that it was saved under, or begin anew"
        )


def shapes(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Type and shape of each in words, but for a GPU's generator, which not every state has."""
    for name, value in tensors.items():
        if name != CUDA_GENERATOR:
            yield name, f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


class Snapshot:
    """A training right after an epoch: what is small is taken at once, weights and moments when they are asked for.

    They have to be asked for before the training goes on or ends, and are copied once, however often they are.
    """

    def __init__(self, training: Training) -> None:
        self._epoch, self._facts, self._generators = training.epoch, training.facts(), training.generators()
        self._training: Training | None = training

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Copies of the shown network's parameters and buffers in the host's memory."""
        return {name: copy_of(value) for name, value in self._still().shown.state_dict().items()}

    @cached_property
    def state(self) -> TrainingState:
        """The state to go on from; its weights are ``weights``, not copied again."""
        training = self._still()
        shown = {(AVERAGE if training.average else NETWORK) + name: of for name, of in self.weights.items()}
        others = (training.weights() | training.moments()).items()
        copied = {name: copy_of(value) for name, value in others if name not in shown}
        return TrainingState(self._epoch, shown | copied | self._generators, self._facts)

    def close(self) -> None:
        """The training goes on or ends: what was not asked for is gone, and nothing here holds the network."""
        self._training = None

    def _still(self) -> Training:
        assert self._training is not None, (
            f"asked for the state of epoch {self._epoch} when the training had gone on or ended"
        )
        return self._training


def copy_of(value: Tensor) -> Tensor:
    """A copy in the host's memory, contiguous whatever the layout (as files want it)."""
    return torch.empty(value.shape, dtype=value.dtype).copy_(value)
