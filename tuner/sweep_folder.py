"""A sweep's folder: what was asked, whose it is, and its trials.

NAME/sweep.json      options, checksums of the corpora, the sweep's id; written before the first trial
     trial-0001/     see `tuner.trial_folder`
     result.json     the best trial, its scores on the test splits, what it took; written again whenever it ends
     learning-curves.png, profile.json, profile.md     at the end
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data_prep.finite import is_finite
from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.claim import OURS

SWEEP, RESULT, FORMAT = "sweep.json", "result.json", 1
MOST = 1 << 53  # of a count


@dataclass(frozen=True)
class SweepFile:
    """What `sweep.json` holds: options, the corpora's checksums, first points, and an id that no other sweep has."""

    options: dict[str, Any]
    manifests: dict[str, str]
    points: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def save(self, folder: Storage) -> None:
        """Write it."""
        content = {"format": FORMAT, "id": self.id, "options": self.options}
        content |= {"manifests": self.manifests, "points": self.points}
        folder.write(SWEEP, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: Storage) -> "SweepFile | None":
        """Read it; None where no sweep has begun in the folder, Refused where there is something else."""
        try:
            content = json.loads(folder.read(SWEEP))
            if content.pop("format") != FORMAT:
                raise ValueError("another version of mirtune wrote it")
            found = cls(**content)
            if not (isinstance(found.id, str) and isinstance(found.options, Mapping)):
                raise ValueError("its content does not fit together")
        except FileNotFoundError:
            if others := [name for name in folder.names() if name not in OURS]:
                raise Refused(
                    f"{folder.location} is in use and holds no sweep ({others[0]!r}); choose another --name"
                ) from None
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Refused(
                f"{folder.location}/{SWEEP} is not the file of a sweep ({error}); choose another --name"
            ) from error
        return found


@dataclass(frozen=True)
class ResultFile:
    """What `result.json` holds: how the sweep of that id ended the latest time. ``tests`` as `mirtune evaluate --json`.

    ``checkpoint`` lies in the folder of ``trial``; ``validation``: the searched metric at its ``epoch``.
    """

    sweep_id: str
    metric: str
    mode: str  # "max" or "min"
    trial: str
    checkpoint: str
    epoch: int
    validation: float
    tests: dict[str, dict[str, Any]]  # by corpus
    parameters: int
    trials: int
    undone: int  # trials that can go on
    trial_seconds: float  # of all trials together
    cpus_per_trial: int
    gpus_per_trial: float
    version: str  # of mirtune
    when: str  # ISO 8601, UTC
    registered: bool = False  # whether the tracking store has taken it; a sweep that goes on offers it again

    @property
    def trial_hours(self) -> float:
        """Of all trials together, whatever they ran on."""
        return self.trial_seconds / 3600

    @property
    def gpu_hours(self) -> float:
        """Of all trials together; 0 on processors."""
        return self.trial_hours * self.gpus_per_trial

    def save(self, folder: Storage) -> None:
        """Write it, unless the same is there but for the time: then nothing has come since."""
        there = self.load(folder, self.sweep_id)
        same = there is not None and replace(there, when=self.when, registered=self.registered) == self
        if there is not None and same and there.registered >= self.registered:
            return
        folder.write(RESULT, (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: Storage, sweep_id: str) -> "ResultFile | None":
        """Read it; None where the sweep has not ended yet, or another version of mirtune wrote what is there."""
        try:
            content = json.loads(folder.read(RESULT))
            if content.pop("format") != FORMAT or content["sweep_id"] != sweep_id:
                return None
            found = cls(**content)
            return found if found._fits() else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None

    def _fits(self) -> bool:
        """Whether each value is of its kind: whoever wrote the file may be a stranger."""
        words = (self.metric, self.mode, self.trial, self.checkpoint, self.version, self.when)
        counts = (self.epoch, self.parameters, self.trials, self.undone, self.cpus_per_trial)
        numbers = (self.validation, self.trial_seconds, self.gpus_per_trial)
        return (
            all(isinstance(of, str) for of in words)
            and all(type(of) is int and abs(of) < MOST for of in counts)
            and all(map(is_finite, numbers))
            and isinstance(self.tests, dict)
            and all(isinstance(of, dict) for of in self.tests.values())
            and type(self.registered) is bool
        )
