"""What runs in a trial's process: one training run, reported epoch by epoch.

A class, not a function: Tune then holds no thread that an early stop would have to wait for, and the process (with its
imports and the corpora on its GPU) is used again for the next trial, even after one that failed. Ray Tune ends the
process of a trial that raises; so failures that leave a process sound (numbers that are not finite, hyperparameters
that build no model, memory that ran out) are reported as a last result; only others, such as errors of a GPU, raise.
"""

import dataclasses
import gc
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import DONE, RESULT_DUPLICATE, SHOULD_CHECKPOINT

from data_prep.refused import Refused
from tuner.tracking import first_line

if TYPE_CHECKING:
    from trainables.config import TrainingConfig
    from trainables.loop import Epoch

CHECKPOINT_FOLDER = "checkpoint"
FAILURE = "failure"  # in a trial's last result: why it failed


@dataclass(frozen=True)
class Job:
    """What the trials of a sweep share: the configuration to fill in, the data, the resources, the searched metric."""

    config: "TrainingConfig"
    shards: Path
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
    epoch: "Epoch | None" = None
    epochs: "Iterator[Epoch]" = iter(())

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        """Begin training with the hyperparameters in ``config``."""
        assert job is not None
        self.job = job
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin anew with other hyperparameters in the same process; corpora that lie on its GPU stay there."""
        import torch

        self.cleanup()
        if self.job.device == "cuda":
            gc.collect()  # a failure's frames may hold tensors in cycles
            torch.cuda.empty_cache()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; its metrics are flat numbers."""
        try:
            epoch = next(self.epochs, None)
            if epoch is None:
                return {RESULT_DUPLICATE: True}  # Tune's word for "ended by itself; the last result stands"
            value = epoch.metrics[self.job.metric]
            if not math.isfinite(value):
                raise FloatingPointError(f"{self.job.metric} is {value} in epoch {epoch.number}")
        except Exception as error:
            if not leaves_the_process_sound(error):
                raise
            return {FAILURE: first_line(error), DONE: True}
        self.epoch = epoch
        return {**epoch.metrics, "epoch": epoch.number, SHOULD_CHECKPOINT: bool(epoch.is_best)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the checkpoint of the epoch that was just reported."""
        assert self.epoch is not None
        self.epoch.checkpoint.save(Path(checkpoint_dir) / CHECKPOINT_FOLDER)

    def cleanup(self) -> None:
        """Let go of the model and of its latest weights."""
        close = getattr(self.epochs, "close", None)
        if close is not None:
            close()
        self.epochs, self.epoch = iter(()), None

    def _begin(self, hyperparameters: Mapping[str, Any]) -> None:
        import torch

        from trainables.loop import train

        torch.set_num_threads(self.job.threads)
        config = fill_in(self.job.config, hyperparameters)
        self.epochs = train(
            config, self.job.shards, device=self.job.device, share=self.job.share, profile=self.job.profile
        )


def leaves_the_process_sound(error: Exception) -> bool:
    """Whether another trial may begin in the process where ``error`` came up."""
    from trainables.memory import OutOfMemory, ran_out

    if isinstance(error, RuntimeError) and not isinstance(error, OutOfMemory):
        return ran_out(error)
    return isinstance(error, FloatingPointError | Refused | OutOfMemory)
