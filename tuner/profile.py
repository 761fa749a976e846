"""Where the wall time of a sweep's trials goes, stage by stage, from the moment Ray is asked for a trial to its end.

start: until the first epoch begins (process, imports, corpora, network). data, forward, backward, optimiser,
validation: as the training loop measures them. checkpoint: until the epoch's state, and its checkpoint where it is the
best, lie in the storage. reporting: waiting for Ray Tune between an epoch and the next. rest: what is left, the
unfinished epoch of a trial that failed or was lost included. Where a trial ends and results travel is seen by the sweep
alone, so the sweep's clock decides, and a trial's own durations divide what passed between two of its messages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_prep.storage import Storage
from tuner.reports import SAVING_S

if TYPE_CHECKING:
    from rich.table import Table

IN_EPOCH = ("data", "forward", "backward", "optimiser", "validation")
STAGES = ("start", *IN_EPOCH, "checkpoint", "reporting", "rest")
EPOCH_METRICS = frozenset(f"{stage}_s" for stage in IN_EPOCH)
JSON, MARKDOWN = "profile.json", "profile.md"


@dataclass
class TrialProfile:
    """One trial's seconds in each stage; moments are seconds of one clock."""

    number: int
    launched: float
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    epochs: int = 0
    epochs_s: float = 0.0  # training and validation
    state: str = "running"
    _accounted: float = field(init=False)  # until which moment time has found its stage
    _begins: bool = True  # no epoch of this attempt was seen

    def __post_init__(self) -> None:
        self._accounted = self.launched

    def epoch(self, metrics: Mapping[str, float], step_s: float, now: float) -> None:
        """Take an epoch's metrics, which arrived ``now``; the trial's step, the weights' copy included, took step_s."""
        waited, self._accounted = now - self._accounted, now
        epoch_s, saving_s = metrics["seconds"], metrics[SAVING_S]
        self.seconds["checkpoint"] += saving_s
        if self._begins:
            self.seconds["start"] += max(waited - epoch_s - saving_s, 0.0)
        else:
            self.seconds["reporting"] += max(waited - step_s, 0.0)
        self._begins = False
        for stage in IN_EPOCH:
            self.seconds[stage] += metrics.get(f"{stage}_s", 0.0)
        self.epochs += 1
        self.epochs_s += epoch_s

    def again(self, now: float) -> None:
        """The trial begins once more, its process was lost; what was lost with that is rest."""
        self._accounted, self._begins = now, True

    def ended(self, state: str, now: float) -> None:
        """How the trial ended, as `tuner.records` has it."""
        self.state = state
        if state in ("finished", "stopped"):
            self.seconds["reporting"] += now - self._accounted
        # At least nothing: events on a GPU and the host's clock differ by microseconds.
        self.seconds["rest"] = max(now - self.launched - sum(self.seconds.values()), 0.0)

    @property
    def wall_s(self) -> float:
        """Seconds from the launch to the end."""
        return sum(self.seconds.values())


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Parts of the whole, which add up to 1; all 0 where no time passed."""
    total = sum(seconds.values())
    return {stage: of / total if total else 0.0 for stage, of in seconds.items()}


@dataclass
class SweepProfile:
    """The profiles of a sweep's trials, and the sweep's own time before, during and after the search."""

    name: str
    at_once: int = 1
    trials: dict[str, TrialProfile] = field(default_factory=dict)  # by trial id, in the order of starting
    before_s: float = 0.0  # checks, Ray's start
    search_s: float = 0.0
    after_s: float = 0.0  # the best checkpoint's test and registration, Ray's end

    @property
    def by_number(self) -> list[TrialProfile]:
        """The trials in the order of their numbers: those that begin together come in any order."""
        return sorted(self.trials.values(), key=lambda of: of.number)

    @property
    def seconds(self) -> dict[str, float]:
        """Of all trials."""
        return {stage: sum(of.seconds[stage] for of in self.by_number) for stage in STAGES}

    @property
    def training_share(self) -> float:
        """The part of the sweep's places (trials at once, for as long as the sweep took) that went into epochs."""
        places_s = self.at_once * (self.before_s + self.search_s + self.after_s)
        return sum(of.epochs_s for of in self.by_number) / places_s if places_s else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sweep": self.name,
            "trials_at_once": self.at_once,
            "before_s": self.before_s,
            "search_s": self.search_s,
            "after_s": self.after_s,
            "training_and_validation_share": self.training_share,
            "trials": [
                {
                    "trial": of.number,
                    "state": of.state,
                    "epochs": of.epochs,
                    "wall_s": of.wall_s,
                    "epochs_s": of.epochs_s,
                    "seconds": of.seconds,
                    "shares": shares(of.seconds),
                }
                for of in self.by_number
            ],
            "all": {"seconds": self.seconds, "shares": shares(self.seconds)},
        }

    def rows(self) -> list[list[str]]:
        """The table's cells: a row a trial, then one for all; shares in percent."""
        every = [(str(of.number), of.seconds) for of in self.by_number] + [("all", self.seconds)]
        return [
            [name, f"{sum(of.values()):.1f}", *(f"{100 * share:.1f}" for share in shares(of).values())]
            for name, of in every
        ]

    @property
    def summary(self) -> str:
        """What the table cannot say: the sweep around its trials."""
        return (
            f"before the search {self.before_s:.1f} s, search {self.search_s:.1f} s, after it {self.after_s:.1f} s; "
            f"{self.at_once} trials at a time spent {self.training_share:.0%} of that in training and validation"
        )

    def write(self, folder: Storage) -> str:
        """Write profile.json and profile.md into the sweep's folder, each whole or absent; the folder."""
        head = ["trial", "wall s", *STAGES]
        table = [head, ["---:"] * len(head), *self.rows()]
        lines = [f"# {self.name}: where its trials' time went, in percent", ""]
        lines += [f"| {' | '.join(cells)} |" for cells in table]
        lines += ["", f"{self.summary[0].upper()}{self.summary[1:]}.", ""]
        folder.write(JSON, (json.dumps(self.to_dict(), indent=2) + "\n").encode())
        folder.write(MARKDOWN, "\n".join(lines).encode())
        return folder.location


def table(profile: SweepProfile) -> "Table":
    """The shares for people, in 100 columns."""
    from rich.table import Table

    shown = Table(title="Where the trials' time went (percent)", box=None, padding=(0, 1, 0, 0))
    for title in ("trial", "wall s", *STAGES):
        shown.add_column(title, justify="right")
    *trials, every = profile.rows()
    for cells in trials:
        shown.add_row(*cells)
    shown.add_section()
    shown.add_row(*every, style="bold")
    return shown
