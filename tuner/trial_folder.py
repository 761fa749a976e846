"""A trial's folder: its best checkpoint and the state that its training goes on from, each whole or absent.

    trial-0007/trial.json                      hyperparameters, epochs, how it ended (written by the sweep)
               best-0005-9f3a61c2/             model.safetensors, config.json (written last)
               state-0007-4be01d77.safetensors network, optimiser, schedule, random state, what every epoch reported

Every file has a name of its own, so nothing whole is ever overwritten, and a process that was given up and writes on
does no harm: a state names the checkpoint that belongs to it. The trial's process only adds; the one process that holds
the sweep removes what its successors have replaced.
"""

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from data_prep.storage import Storage

if TYPE_CHECKING:
    from trainables.loop import Epoch
    from trainables.state import TrainingState

BEST, STATE_FILE, SUFFIX = "best-", "state-", ".safetensors"
_STATE = re.compile(rf"{STATE_FILE}\d+-\w+{re.escape(SUFFIX)}")


def _epoch(name: str) -> int:
    return int(name.split("-")[1])


@dataclass(frozen=True)
class Progress:
    """Where a trial stands: its training state, what every epoch reported, and the names of its files."""

    state: "TrainingState"
    history: list[dict[str, Any]]
    checkpoint: str
    name: str


class TrialFolder:
    """The folder of one trial, for the process that trains it with ``hyperparameters``, and for the sweep."""

    def __init__(self, folder: Storage, hyperparameters: Mapping[str, Any] | None = None) -> None:
        self.folder, self.hyperparameters = folder, hyperparameters

    def save(self, epoch: "Epoch", history: list[dict[str, Any]], checkpoint: str) -> tuple[str, str]:
        """Write an epoch's state, and its checkpoint where it is the best; the names of state and best checkpoint.

        ``history`` ends with this epoch; ``checkpoint`` is the best one before it. Raises OSError where the storage
        does not take it; what was there before stays.
        """
        own = f"{epoch.number:04d}-{uuid.uuid4().hex[:8]}"
        if epoch.is_best:
            from trainables.checkpoint import CONFIG

            checkpoint = f"{BEST}{own}"
            with TemporaryDirectory() as temporary:
                whole = Path(temporary) / checkpoint
                epoch.checkpoint.save(whole)
                self.folder.put(checkpoint, whole, last=CONFIG)
        name = f"{STATE_FILE}{own}{SUFFIX}"
        about = {"history": history, "checkpoint": checkpoint, "hyperparameters": dict(self.hyperparameters or {})}
        self.folder.write(name, epoch.state.to_bytes(about))
        return name, checkpoint

    def latest(self) -> tuple[Progress | None, str]:
        """The furthest state that is whole and whose checkpoint is there, or None: then the trial begins anew.

        And why a further one could not be used, if there is one.
        """
        from trainables.state import TrainingState

        names, why = self.folder.names(), ""
        for name in sorted((of for of in names if _STATE.fullmatch(of)), key=_epoch, reverse=True):
            try:
                state, also = TrainingState.from_bytes(self.folder.read(name), name)
            except FileNotFoundError:  # replaced meanwhile
                continue
            except Refused as refused:
                why = str(refused)
                continue
            history, checkpoint = also.get("history"), also.get("checkpoint")
            if not isinstance(history, list) or len(history) != state.epoch or not isinstance(checkpoint, str):
                why = f"{name} does not say what its epochs reported"
            elif self.hyperparameters is not None and also.get("hyperparameters") != self.hyperparameters:
                why = f"{name} is of other hyperparameters"
            elif checkpoint and checkpoint not in names:
                why = f"the checkpoint {checkpoint} of {name} is not there"
            else:
                return Progress(state, history, checkpoint, name), why
        return None, why

    def keep(self, names: Collection[str]) -> None:
        """Remove states and checkpoints but these. Only for the process that holds the sweep."""
        for name in self.folder.names():
            if name.startswith((BEST, STATE_FILE)) and name not in names:
                self.folder.remove(name)
