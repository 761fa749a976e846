"""What runs in a trial's process: one training run, reported epoch by epoch.

A class, not a function: Tune then holds no thread that an early stop would have to wait for, and the process (with its
imports) is used again for the next trial. An exception, or a searched metric that is not finite, marks it as failed.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import RESULT_DUPLICATE, SHOULD_CHECKPOINT

if TYPE_CHECKING:
    from trainables.config import TrainingConfig
    from trainables.loop import Epoch

CHECKPOINT_FOLDER = "checkpoint"


@dataclass(frozen=True)
class Job:
    """What the trials of a sweep share: the configuration to fill in, the data, the resources, the searched metric."""

    config: "TrainingConfig"
    shards: Path
    threads: int
    device: str
    metric: str


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
    epoch: "Epoch"
    epochs: "Iterator[Epoch]" = iter(())

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        """Begin training with the hyperparameters in ``config``."""
        import torch

        assert job is not None
        self.job = job
        torch.set_num_threads(job.threads)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin anew with other hyperparameters in the same process."""
        import torch

        self.cleanup()
        if self.job.device == "cuda":
            torch.cuda.empty_cache()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; its metrics are flat numbers."""
        epoch = next(self.epochs, None)
        if epoch is None:
            return {RESULT_DUPLICATE: True}  # Tune's word for "ended by itself; the last result stands"
        self.epoch = epoch
        value = epoch.metrics[self.job.metric]
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.job.metric} is {value} in epoch {epoch.number}")
        return {**epoch.metrics, "epoch": epoch.number, SHOULD_CHECKPOINT: bool(epoch.is_best)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the checkpoint of the epoch that was just reported."""
        self.epoch.checkpoint.save(Path(checkpoint_dir) / CHECKPOINT_FOLDER)

    def cleanup(self) -> None:
        """Let go of the model and the data."""
        close = getattr(self.epochs, "close", None)
        if close is not None:
            close()
        self.epochs = iter(())

    def _begin(self, hyperparameters: Mapping[str, Any]) -> None:
        from trainables.loop import train

        config = fill_in(self.job.config, hyperparameters)
        self.epochs = iter(train(config, self.job.shards, device=self.job.device))
