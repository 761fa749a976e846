"""What runs in a trial's process: one training run, reported epoch by epoch, that goes on where it was.

A class, not a function: Tune then holds no thread that an early stop would have to wait for, and the process (with its
imports and the corpora on its GPU) is used again for the next trial, even after one that failed. Every epoch leaves a
training state in the trial's folder before it is reported. A trial that begins where there is one says its epochs
again, each in a moment, and goes on: so whoever listens, Optuna, rungs, MLflow, hears every epoch, whatever was lost
with a machine or with the process that runs the sweep.

Errors of a trial's own (numbers that are not finite, hyperparameters that build no model, memory that ran out, and
whatever else the training raises) are reported as a last result and the trial fails. A process or machine that is lost
says nothing; corpora that a machine does not have, a GPU that fails, and a storage that is away for long are raised:
Tune then tells the sweep, which lets the trial go on elsewhere.
"""

import dataclasses
import gc
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ray import tune
from ray.tune.result import DONE, RESULT_DUPLICATE

from data_prep.files import is_disk_full
from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.reports import (
    BEGINS_AFTER,
    CHECKPOINT,
    DISK_FULL,
    EPOCH,
    FAILURE,
    IS_BEST,
    LAST,
    NOTE,
    REPLAYED,
    SAVING_S,
    STATE,
    TRIAL,
)
from tuner.tracking import first_line
from tuner.trial_folder import TrialFolder

if TYPE_CHECKING:
    from trainables.config import TrainingConfig
    from trainables.loop import Epoch


PATIENCE_S, LONGEST_PAUSE_S = 600.0, 30.0  # for a storage that does not answer
PAUSE_NOT_HERE_S = 20.0  # else the machine that cannot work would be the first to ask for every trial
Result = TypeVar("Result")


class NotHere(RuntimeError):
    """This machine lacks what a trial needs, or is broken: no error of the trial's own."""


@dataclass(frozen=True)
class Job:
    """What the trials of a sweep share: the configuration to fill in, the data, the resources, the searched metric."""

    config: "TrainingConfig"
    folder: Storage  # of the sweep
    shards: str
    threads: int
    device: str
    metric: str
    share: float = 1.0  # of a GPU
    profile: bool = False
    checksums: Mapping[str, str] = field(default_factory=dict)  # of the corpora's manifests


def fill_in(config: "TrainingConfig", chosen: Mapping[str, Any]) -> "TrainingConfig":
    """``config`` with the values that a search chose: those of training go to the settings, the others to the model."""
    from trainables.config import SETTING_NAMES

    settings = {name: value for name, value in chosen.items() if name in SETTING_NAMES}
    return dataclasses.replace(
        config,
        hyperparameters={name: value for name, value in chosen.items() if name not in SETTING_NAMES},
        settings=config.settings.with_values(settings),
    )


class Trial(tune.Trainable):
    """One trial of a sweep: each step is an epoch."""

    job: Job
    _epochs: "Iterator[Epoch] | None"
    _replays: deque[dict[str, Any]]
    _history: list[dict[str, Any]]
    _unsound: Exception | None

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        """Take the hyperparameters and the name in ``config``; the first step begins, or goes on."""
        assert job is not None
        self.job, self._given = job, config
        self._forget()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial in the same process; corpora that lie on its GPU stay there."""
        import torch

        self.cleanup()
        if self.job.device == "cuda":
            gc.collect()  # a failure's frames may hold tensors in cycles
            torch.cuda.empty_cache()
        self._given = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, or say one again; its metrics are flat numbers."""
        if self._unsound is not None:
            raise self._unsound  # the failure is told; now Tune ends this process
        try:
            news = self._begin() if self._epochs is None else {}
            return (self._replays.popleft() if self._replays else self._next()) | news
        except NotHere:
            time.sleep(PAUSE_NOT_HERE_S)
            raise
        except OSError as error:
            if not is_disk_full(error):
                raise
            return {FAILURE: f"{error} on {os.uname().nodename}", DISK_FULL: True, DONE: True}
        except Exception as error:
            if device_is_broken(error):
                raise
            if leaves_the_process_sound(error):
                return {FAILURE: first_line(error), DONE: True}
            self._unsound = error
            return {FAILURE: first_line(error)}

    def cleanup(self) -> None:
        """Let go of the model and of its latest weights."""
        close = getattr(self._epochs, "close", None)
        if close is not None:
            close()
        self._forget()

    def _forget(self) -> None:
        self._epochs, self._unsound = None, None
        self._replays, self._history = deque(), []
        self._checkpoint = ""

    def _begin(self) -> dict[str, Any]:
        """Open the trial's folder; its epochs so far are said again. What the first result has to say beside them."""
        import torch

        from trainables.loop import train

        hyperparameters = dict(self._given)
        self._folder = TrialFolder(self.job.folder / hyperparameters.pop(TRIAL), hyperparameters)
        progress, note = patiently(self._folder.latest)
        if progress is not None:
            self._history, self._checkpoint = progress.history, progress.checkpoint
            names = {STATE: progress.name, CHECKPOINT: progress.checkpoint}
            self._replays.extend({**_report(entry), **names, REPLAYED: True} for entry in progress.history)
            self._replays[-1][LAST] = True
        torch.set_num_threads(self.job.threads)
        config = fill_in(self.job.config, hyperparameters)
        self._epochs = train(
            config, corpora_here(self.job), device=self.job.device, share=self.job.share,
            profile=self.job.profile, resume=progress.state if progress else None,
        )  # fmt: skip
        return {BEGINS_AFTER: len(self._replays), **({NOTE: note} if note else {})}

    def _next(self) -> dict[str, Any]:
        """The next epoch, after its state lies in the folder."""
        assert self._epochs is not None
        epoch = next(self._epochs, None)
        if epoch is None:
            return {RESULT_DUPLICATE: True}  # Tune's word for "ended by itself; the last result stands"
        value = epoch.metrics[self.job.metric]
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.job.metric} is {value} in epoch {epoch.number}")
        began = time.perf_counter()
        finite = {name: of for name, of in epoch.metrics.items() if math.isfinite(of)}
        entry = {EPOCH: epoch.number, IS_BEST: bool(epoch.is_best), "metrics": finite}
        self._history.append(entry)
        name, self._checkpoint = patiently(lambda: self._folder.save(epoch, self._history, self._checkpoint))
        saving_s = time.perf_counter() - began
        return {**_report(entry), STATE: name, CHECKPOINT: self._checkpoint, SAVING_S: saving_s}


def _report(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch as Tune takes it: flat."""
    return {**entry["metrics"], EPOCH: entry[EPOCH], IS_BEST: entry[IS_BEST]}


def corpora_here(job: Job) -> Path:
    """The folder that holds the corpora on this machine, as they were when the sweep began; NotHere without them."""
    from data_prep.manifest import Manifest
    from data_prep.remote_corpora import at_hand
    from trainables.data import TrainingData
    from trainables.tasks import find_task

    try:
        folder = at_hand(job.shards, job.config.corpora)
        for name, checksum in job.checksums.items():
            if Manifest.load(folder / name).checksum != checksum:
                raise NotHere(f"corpus {name!r} in {job.shards} was prepared anew since the sweep began")
        TrainingData.open(job.config.corpora, folder, find_task(job.config.task).targets)  # kept for the training
    except (OSError, Refused) as error:
        raise NotHere(f"{os.uname().nodename} cannot train on the corpora: {error}") from error
    return folder


def patiently(action: Callable[[], Result]) -> Result:
    """What ``action`` gives, tried again for minutes where the storage does not answer; a full disk is told at once."""
    until, pause_s = time.monotonic() + PATIENCE_S, 1.0
    while True:
        try:
            return action()
        except OSError as error:
            if is_disk_full(error) or time.monotonic() + pause_s > until:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def device_is_broken(error: Exception) -> bool:
    """Whether a GPU failed, which no other trial in the process, and perhaps on the machine, survives."""
    from trainables.memory import OutOfMemory, ran_out

    if not isinstance(error, RuntimeError) or isinstance(error, OutOfMemory):
        return False
    return not ran_out(error) and "CUDA error" in str(error)


def leaves_the_process_sound(error: Exception) -> bool:
    """Whether another trial may begin in the process where ``error`` came up."""
    from trainables.memory import OutOfMemory, ran_out

    if isinstance(error, RuntimeError) and not isinstance(error, OutOfMemory):
        return ran_out(error)
    return isinstance(error, FloatingPointError | Refused | OutOfMemory)
