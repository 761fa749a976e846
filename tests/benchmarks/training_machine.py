"""What a machine can do at most, measured: arithmetic, copying, and the walk through a recurrent layer. B batch."""

import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from data_prep.manifest import WINDOW_FRAMES
from data_prep.spectrogram import BANDS
from trainables.cost import FLOAT_BYTES, Cost
from trainables.models.blocks import Recurrence
from trainables.network import Network, autocast, has_bf16_units
from trainables.tasks.drum_onsets import loss

PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}  # several times any cache
TOUCHES = 5  # of a kept byte: written, read by the next layer, read by the backward pass; its gradient written and read
OPTIMISER_TOUCHES = 9  # of a parameter: read twice, and gradient and both moments, written and read all


@dataclass(frozen=True)
class Machine:
    """A device and its bounds: products of ``precision`` (FLOP/s) and memory read or written (bytes/s)."""

    device: torch.device
    name: str
    precision: str
    peak_flop_per_s: float
    memory_bytes_per_s: float


def seconds_of_device(work: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    """Seconds of ``work`` once warm: on a GPU the median by its own clock, on a processor the shortest."""
    for _ in range(3 if device.type == "cuda" else 1):
        work()
    took = []
    for _ in range(repeats):
        if device.type == "cuda":
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            work()
            ended.record()
            torch.cuda.synchronize(device)
            took.append(began.elapsed_time(ended) / 1000)
        else:
            before = time.perf_counter()
            work()
            took.append(time.perf_counter() - before)
    return statistics.median(took) if device.type == "cuda" else min(took)


def measure(device: torch.device) -> Machine:
    """Measure a machine: a large matrix product of random values, and a large copy."""
    precision = "bf16" if has_bf16_units(device) else "fp32"
    side, kind = PRODUCT_SIDE[device.type], torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    product_s = seconds_of_device(lambda: one @ other, device)
    source = torch.ones(COPIED_BYTES[device.type] // FLOAT_BYTES, device=device)
    target = torch.empty_like(source)
    copy_s = seconds_of_device(lambda: target.copy_(source), device)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{_processor()}, {torch.get_num_threads()} threads"
    return Machine(device, name, precision, 2 * side**3 / product_s, 2 * COPIED_BYTES[device.type] / copy_s)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


@dataclass(frozen=True)
class Bounds:
    """Seconds that a training window cannot undercut, one for each thing that may bound it."""

    arithmetic_s: float
    memory_s: float  # an estimate, from what is kept for the backward pass
    steps_s: float  # the walk through recurrent layers, forward and back, frame by frame
    launches_s: float  # on a GPU, the rest of a step that has one window only: it does not shrink with the batch

    def highest(self, taken_s: float) -> tuple[str, float]:
        """What bounds a window that took ``taken_s``, and how many times that bound it took."""
        named = {
            "arithmetic": self.arithmetic_s,
            "memory": self.memory_s,
            "recurrent steps": self.steps_s,
            "launches": self.launches_s,
        }
        name = max(named, key=named.__getitem__)
        return name, taken_s / named[name]


def bounds(machine: Machine, cost: Cost, network: Network, batch: int, classes: int) -> Bounds:
    """The bounds of training ``network``, of this cost, by batches of so many windows."""
    moved = TOUCHES * cost.saved_bytes + OPTIMISER_TOUCHES * cost.parameter_bytes / batch
    walk = walk_s(network, machine)
    launches = single_step_s(network, machine, classes) - walk if machine.device.type == "cuda" else 0.0
    return Bounds(
        arithmetic_s=cost.training_flop / machine.peak_flop_per_s,
        memory_s=moved / machine.memory_bytes_per_s,
        steps_s=walk / batch,
        launches_s=launches / batch,
    )


def single_step_s(network: Network, machine: Machine, classes: int) -> float:
    """Seconds of a training step of one window, which leaves the weights as they are."""
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, fused=True)
    bands = torch.rand(1, WINDOW_FRAMES, BANDS, device=machine.device)
    targets = torch.zeros(1, WINDOW_FRAMES, classes, device=machine.device)
    weights = torch.ones(classes, device=machine.device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(machine.device, machine.precision):
            logits = network(bands)
        loss(logits, targets, weights).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()

    seconds = seconds_of_device(step, machine.device)
    network.zero_grad(set_to_none=True)
    return seconds


def sequential_steps(network: Network) -> int:
    """Steps that wait for each other in a training step: layers times frames, forward and back; 0 without recurrence.

    Both directions of a layer walk beside each other.
    """
    return sum(2 * of.num_layers * WINDOW_FRAMES for of in network.modules() if isinstance(of, nn.RNNBase))


def walk_s(network: Network, machine: Machine) -> float:
    """Seconds of the network's own recurrent layers, forward and back, over one window: next to no arithmetic a step.

    More windows at once can only take longer. 0 without recurrent layers.
    """
    seconds = 0.0
    network.train()
    for module, features in _recurrences(network, machine):

        def walk(module: nn.Module = module, features: Tensor = features) -> None:
            with autocast(machine.device, machine.precision):
                heard = module(features)
            heard.sum().backward()

        seconds += seconds_of_device(walk, machine.device, repeats=10 if machine.device.type == "cuda" else 3)
    network.zero_grad(set_to_none=True)
    return seconds


@torch.no_grad()
def _recurrences(network: Network, machine: Machine) -> list[tuple[nn.Module, Tensor]]:
    """The recurrent modules, and one window (1, T, D) as each receives it."""
    found: list[tuple[nn.Module, Tensor]] = []

    def remember(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append((module, inputs[0].float().requires_grad_()))

    modules = [module for module in network.modules() if isinstance(module, Recurrence)]
    hooks = [module.register_forward_pre_hook(remember) for module in modules]
    was_training = network.training
    with autocast(machine.device, machine.precision):
        network.eval()(torch.rand(1, WINDOW_FRAMES, BANDS, device=machine.device))
    network.train(was_training)  # in eval mode batch norms were left as they were
    for hook in hooks:
        hook.remove()
    return found


class HostMemory:
    """The most memory that is this process's own (mapped files left out), in bytes, while inside; None if unknown."""

    def __init__(self, every_s: float = 0.02) -> None:
        self._every_s, self._ended, self._thread = every_s, threading.Event(), threading.Thread(target=self._watch)
        self.peak_bytes = own_bytes()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        if self.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, own_bytes() or 0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()


def own_bytes() -> int | None:
    """Resident memory of this process that belongs to no file; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return None
