"""What is known of a sweep's trials, kept as JSON in each trial's folder, so that whoever comes next knows it too."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from data_prep.finite import is_finite
from data_prep.refused import Refused
from data_prep.storage import Storage

RECORD = "trial.json"
FORMAT = 1
# Of these nothing more is to come: a sweep that goes on leaves them as they are.
ENDED = ("finished", "stopped", "failed")
STATES = (*ENDED, "running", "interrupted", "lost")


@dataclass
class TrialRecord:
    """A trial as far as it has come; ``best`` is the searched metric at its best epoch, whose checkpoint is kept.

    ``state``: "running"; then "finished" by itself, "stopped" by the scheduler, "failed" by its own error;
    "interrupted" with the sweep; or "lost" with its machine or process once too often. The latter two can go on.
    """

    id: str  # the name of its folder and of its runs
    number: int  # from 1, in the order of starting
    hyperparameters: dict[str, Any]
    state: str = "running"
    attempts: int = 1  # a trial whose process or machine is lost goes on in another attempt
    epochs: int = 0
    best: float | None = None
    best_epoch: int = 0
    micro_batch: int = 0  # windows at once, the batch unless memory ran out
    checkpoint: str = ""  # name of the best checkpoint in the trial's folder
    error: str = ""
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)  # what each epoch reported

    @property
    def name(self) -> str:
        """What people read."""
        return f"trial {self.number}"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ENDED

    def take(self, entry: Mapping[str, Any], value: float) -> bool:
        """Add an epoch, whose searched metric is ``value``; False where the record has it already."""
        epoch = int(entry["epoch"])
        if epoch <= self.epochs:
            return False
        self.epochs = epoch
        if entry["is_best"]:
            self.best, self.best_epoch = value, epoch
        self.history.append(dict(entry))
        return True

    def rewind(self, epochs: int, metric: str) -> None:
        """Forget what came after so many epochs: the trial goes on from there, as what it left then is damaged."""
        if epochs < self.epochs:
            kept = [entry for entry in self.history if entry["epoch"] <= epochs]
            self.epochs, self.history, self.best, self.best_epoch = 0, [], None, 0
            for entry in kept:
                self.take(entry, entry["metrics"][metric])

    def save(self, folder: Storage) -> None:
        """Write the record into the trial's folder below the sweep's ``folder``."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False)
        (folder / self.id).write(RECORD, content.encode())


def trial_name(number: int) -> str:
    """The name of a trial's folder."""
    return f"trial-{number:04d}"


def best_of(records: Iterable[TrialRecord], mode: str) -> TrialRecord | None:
    """The trial with the best epoch of all that have not failed; of equals the one that began first."""
    sign = 1 if mode == "max" else -1
    able = [record for record in records if record.best is not None and record.state != "failed"]
    return max(able, key=lambda record: (sign * (record.best or 0.0), -record.number), default=None)


def load_records(folder: Storage) -> list[TrialRecord]:
    """The records of all trials in a sweep's folder, by number; Refused where one is damaged."""
    records = []
    for name in folder.names():
        if not name.startswith("trial-"):
            continue
        try:
            content = (folder / name).read(RECORD)
        except FileNotFoundError:  # a trial that never began
            continue
        records.append(_parsed(content, name, folder))
    return sorted(records, key=lambda record: record.number)


def _parsed(content: bytes, name: str, folder: Storage) -> TrialRecord:
    known = {of.name for of in fields(TrialRecord)}
    try:
        values = json.loads(content)
        if values.pop("format") != FORMAT or set(values) != known:
            raise ValueError("another version of mirtune wrote it")
        record = TrialRecord(**values)
        whole = record.id == name == trial_name(record.number) and all(map(_is_entry, record.history))
        whole = whole and record.state in STATES and isinstance(record.hyperparameters, dict)
        whole = whole and type(record.attempts) is type(record.epochs) is int and isinstance(record.checkpoint, str)
        numbers = [] if record.best is None else [record.best]
        if not whole or not all(map(is_finite, numbers)):
            raise ValueError("its content does not fit together")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        where = f"{folder.location}/{name}"
        raise Refused(
            f"{where}/{RECORD} is not the record of a trial ({error}); remove {where} to have this trial run anew"
        ) from error
    return record


def _is_entry(entry: Any) -> bool:
    """Whether it is what an epoch reported."""
    if not (isinstance(entry, dict) and isinstance(entry.get("metrics"), dict)):
        return False
    numbers = all(map(is_finite, entry["metrics"].values()))
    return numbers and type(entry.get("epoch")) is int and type(entry.get("is_best")) is bool
