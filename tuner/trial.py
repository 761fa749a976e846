"""What runs in a trial's process: one training run, reported epoch by epoch, that goes on where it was.

A class, not a function: Tune then holds no thread that an early stop would have to wait for, and the process (with its
imports and the corpora on its GPU) is used again for the next trial, even after one that failed. Every epoch leaves a
training state in the trial's folder before it is reported. A trial that begins where there is one says its epochs
again, each in a moment, and goes on: so whoever listens, Optuna, rungs, MLflow, hears every epoch, whatever was lost
with a machine or with the process that runs the sweep.

Errors of a trial's own (numbers that are not finite, hyperparameters that build no model, memory that ran out, and
whatever else the training raises) are reported as a last result and the trial fails. A process or machine that is lost
says nothing, and a storage that does not answer is raised: Tune then tells the sweep, which lets the trial go on.
"""

import dataclasses
import gc
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def fill_in(config: "TrainingConfig", chosen: Mapping[str, Any]) -> "TrainingConfig":
    """``config`` with the values that a search chose: names of training settings go there, the others to the model."""
    names = {field.name for field in dataclasses.fields(config.settings)}
    settings = {name: value for name, value in chosen.items() if name in names}
    return dataclasses.replace(
        config,
        hyperparameters={name: value for name, value in chosen.items() if name not in names},
        settings=dataclasses.replace(config.settings, **settings),
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
        except OSError as error:
            if not is_disk_full(error):
                raise
            return {FAILURE: first_line(error), DISK_FULL: True, DONE: True}
        except Exception as error:
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

        from data_prep.remote_corpora import at_hand
        from trainables.loop import train

        hyperparameters = dict(self._given)
        self._folder = TrialFolder(self.job.folder / hyperparameters.pop(TRIAL))
        progress, note = self._folder.latest()
        if progress is not None:
            self._history, self._checkpoint = progress.history, progress.checkpoint
            names = {STATE: progress.name, CHECKPOINT: progress.checkpoint}
            self._replays.extend({**_report(entry), **names, REPLAYED: True} for entry in progress.history)
        torch.set_num_threads(self.job.threads)
        config = fill_in(self.job.config, hyperparameters)
        self._epochs = train(
            config, at_hand(self.job.shards, config.corpora), device=self.job.device, share=self.job.share,
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
        name, self._checkpoint = self._folder.save(epoch, self._history, self._checkpoint)
        saving_s = time.perf_counter() - began
        return {**_report(entry), STATE: name, CHECKPOINT: self._checkpoint, SAVING_S: saving_s}


def _report(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch as Tune takes it: flat."""
    return {**entry["metrics"], EPOCH: entry[EPOCH], IS_BEST: entry[IS_BEST]}


def leaves_the_process_sound(error: Exception) -> bool:
    """Whether another trial may begin in the process where ``error`` came up."""
    from trainables.memory import OutOfMemory, ran_out

    if isinstance(error, RuntimeError) and not isinstance(error, OutOfMemory):
        return ran_out(error)
    return isinstance(error, FloatingPointError | Refused | OutOfMemory)
