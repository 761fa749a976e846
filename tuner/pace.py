"""How fast trials train: as earlier ones did that trained the same way, else as a few steps here show."""

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.options import SweepOptions
from tuner.packing import Packing
from tuner.records import TrialRecord, load_records
from tuner.sweep_folder import SweepFile
from tuner.telling import say

if TYPE_CHECKING:
    import torch

    from trainables.config import TrainingConfig
    from trainables.data import TrainingData
    from trainables.placement import Batches, TrainingWindows
    from tuner.plan import Plan

DRAWN = 9  # configurations, of which the cheapest, the middle one and the dearest are tried
TRIED_S = 2.0  # for training each, after a first step, and half of it for validating
# Speeds of trials that differ in these say nothing about each other.
SAME = ("architecture", "task", "recipe", "batch_size", "precision", "cpus_per_trial")
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Pace:
    """Windows a second in training and in validation, of a slow, a middling and a fast configuration; and from where.

    ``besides_s``: what a trial takes besides its epochs, where that is known.
    """

    training: Triple
    validation: Triple
    source: str
    besides_s: float = 0.0


def recorded(options: SweepOptions, gpus: float) -> Pace | None:
    """The pace of trials in the storage that trained the same way, with about as much of a GPU; None without any."""
    storage = Storage.at(options.storage)
    training: list[float] = []
    validation: list[float] = []
    besides: list[float] = []
    sweeps: list[str] = []
    for name in storage.names():
        try:
            file = SweepFile.load(storage / name)
            if file is None or not _alike(file.options, options, gpus):
                continue
            records = load_records(storage / name)
        except (Refused, OSError):  # of another version, or something else that lies there
            continue
        before = len(training)
        for record in records:
            told = [entry["metrics"] for entry in record.history]
            paces = [of for of in told if of.get("windows_per_s", 0) > 0 and of.get("validation_windows_per_s", 0) > 0]
            if paces:
                training.append(statistics.median(of["windows_per_s"] for of in paces))
                validation.append(statistics.median(of["validation_windows_per_s"] for of in paces))
                besides += _besides(record, told)
        if len(training) > before:
            sweeps.append(name)
    if not training:
        return None
    of = f"{sweeps[-1]}" + (f" and {len(sweeps) - 1} more" if len(sweeps) > 1 else "")
    source = f"{len(training)} {'trial' if len(training) == 1 else 'trials'} of sweep {of} in {options.storage}"
    besides_s = statistics.median(besides) if besides else 0.0
    return Pace(_spread(training), _spread(validation), source, besides_s=besides_s)


def _besides(record: TrialRecord, told: Sequence[Mapping[str, Any]]) -> list[float]:
    """What a trial took that went through in one piece, epochs aside."""
    if not record.ended or record.attempts > 1 or len(told) < record.epochs:
        return []
    return [max(record.seconds - sum(of.get("seconds", 0.0) for of in told), 0.0)]


def _alike(before: Mapping[str, Any], options: SweepOptions, gpus: float) -> bool:
    share = before.get("gpus_per_trial")
    same = all(before.get(name, getattr(SweepOptions, name, None)) == getattr(options, name) for name in SAME)
    return same and isinstance(share, int | float) and abs(share - gpus) < 0.01


def measured(
    config: "TrainingConfig", plan: "Plan", packing: Packing, data: "TrainingData", threads: int
) -> Pace | None:
    """The pace of a few configurations drawn from the space, trained here for some steps; None without such a device.

    ``config``: the sweep's, whose hyperparameters are to be chosen. ``data``: as the network is to be given it.
    """
    import torch

    if packing.gpus and not torch.cuda.is_available():
        return None
    drawn = _drawn(config, plan)
    if not drawn:
        return None
    chosen = [drawn[which] for which in sorted({0, len(drawn) // 2, len(drawn) - 1})]
    say(f"no sweep like it is in the storage: {len(chosen)} configurations of the space train here for a few steps")
    device = torch.device("cuda" if packing.gpus else "cpu")
    with _threads(device, threads):
        paces = [tried(of, data, device, packing.share) for of in chosen]
    source = f"a few steps of {len(chosen)} configurations of the space, one at a time, on this machine"
    return Pace(_spread([of[0] for of in paces]), _spread([of[1] for of in paces]), source)


def _drawn(config: "TrainingConfig", plan: "Plan") -> "list[TrainingConfig]":
    """Configurations drawn from the space by the sweep's seed, those with the least arithmetic first."""
    import numpy as np

    from trainables.cost import cost_of
    from tuner.trial import fill_in

    chance = np.random.RandomState(config.settings.seed)
    drawn: list[tuple[int, int, TrainingConfig]] = []
    for number in range(10 * DRAWN):
        chosen = {name: domain.sample(random_state=chance) for name, domain in plan.space.items()}
        try:
            filled = fill_in(config, chosen)
            cost = cost_of(
                config.architecture, filled.hyperparameters, bands=plan.bands, classes=plan.classes, task=config.task
            )
        except Refused:  # values that do not go together
            continue
        drawn.append((cost.training_flop, number, filled))
        if len(drawn) == DRAWN:
            break
    return [of for _, _, of in sorted(drawn, key=lambda one: one[:2])]


@contextmanager
def _threads(device: "torch.device", threads: int) -> Iterator[None]:
    """As many threads as a trial has, on a processor."""
    import torch

    from trainables.memory import keep_freed_memory

    before = torch.get_num_threads()
    if device.type == "cpu":
        keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tried(config: "TrainingConfig", data: "TrainingData", device: "torch.device", share: float) -> tuple[float, float]:
    """Windows a second in training and in validation of a configuration, as a few real steps show."""
    import numpy as np
    import torch

    from trainables.inference import BATCH_WINDOWS
    from trainables.loop import train_epoch
    from trainables.memory import MemoryGuard
    from trainables.mixing import training_windows
    from trainables.network import Network, autocast
    from trainables.stopwatch import Stopwatch
    from trainables.tasks import find_task
    from trainables.training import Training

    settings, task = config.settings, find_task(config.task)
    torch.manual_seed(settings.seed)
    network = Network.fitting(data, task, config.architecture, config.hyperparameters, settings.level).to(device)
    weights = torch.tensor(task.class_weights(data.rates) * settings.weight_scale, dtype=torch.float32, device=device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True)
    guards = MemoryGuard(settings.batch_size), MemoryGuard(BATCH_WINDOWS[device.type])
    training = Training(network, optimiser, None, None, np.random.default_rng(settings.seed), guards)
    some = SomeSteps(training_windows(data, settings, device, share), TRIED_S)
    train_epoch(training, task, some, weights, settings, Stopwatch())  # type: ignore[arg-type]

    bands = some.bands[: BATCH_WINDOWS[device.type]]
    network.eval()
    count, began = 0, time.perf_counter()
    with torch.inference_mode(), autocast(device, settings.precision):
        while count < 1 or time.perf_counter() - began < TRIED_S / 2:
            network(bands).sum().item()
            count += 1
    return some.windows_per_s, len(bands) * count / (time.perf_counter() - began)


class SomeSteps:
    """Training windows of which an epoch ends after some seconds, and tells how many came in one."""

    def __init__(self, windows: "TrainingWindows", seconds: float) -> None:
        self._windows, self._seconds = windows, seconds
        self.bands: torch.Tensor
        self.windows_per_s = 0.0

    def __len__(self) -> int:
        return len(self._windows)

    def epoch(self, number: int, batch_size: int, generator: Any) -> "Batches":
        """Batches of as many epochs as it takes."""
        import torch

        counted, began = 0, math.inf
        while True:
            for bands, halves in self._windows.epoch(number, batch_size, generator):
                given = time.perf_counter()
                yield bands, halves
                if bands.device.type == "cuda":
                    torch.cuda.synchronize(bands.device)
                now, self.bands = time.perf_counter(), bands
                if began == math.inf:  # the first step has what no other has: kernels are chosen, memory is taken
                    began = now
                    if now - given < 2 * self._seconds:  # else that weighs little, and another takes too long
                        continue
                    began = given
                counted += len(bands)
                if now - began >= self._seconds:
                    self.windows_per_s = counted / (now - began)
                    return
            number += 1


def _spread(values: Sequence[float]) -> Triple:
    return min(values), statistics.median(values), max(values)
