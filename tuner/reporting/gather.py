"""What a sweep's folder knows, as plain JSON for its page. Nothing that stands in the folder is trusted."""

import json
import math
from dataclasses import dataclass, fields
from typing import Any

from data_prep.refused import Refused, printable
from data_prep.storage import Storage
from tuner.options import SweepOptions, folder_of
from tuner.profile import JSON as PROFILE
from tuner.profile import STAGES
from tuner.records import STATES, TrialRecord, best_of, load_records
from tuner.sweep_folder import SWEEP, ResultFile, SweepFile
from tuner.telling import safe

LONGEST_TEXT = 2000
MOST_CURVE_NUMBERS = 1_000_000  # in the page, of all metrics of all trials together
MOST_CURVE_POINTS = 60_000  # of one metric: more is neither seen on a screen nor hovered over at ease
MOST_METRICS = 60
SPLITS = ("validation_", "train_")


@dataclass(frozen=True)
class Gathered:
    """A sweep as it stands in its folder; ``result`` and ``profile`` are None where it has not left any.

    A sweep that goes on still has the result of the time before: see ``ended``.

    ``key``: the searched metric as trials report it, for example validation_micro_f1.
    """

    name: str
    folder: Storage
    file: SweepFile
    records: list[TrialRecord]
    result: ResultFile | None
    profile: dict[str, Any] | None
    metric: str
    mode: str

    @property
    def key(self) -> str:
        """The searched metric as trials report it."""
        return f"validation_{self.metric}"

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best value so far, of those that have not failed."""
        return best_of(self.records, self.mode)

    @property
    def ended(self) -> bool:
        """Whether the result is of these trials as they stand; False where the sweep goes on, or never ended."""
        result, best = self.result, self.best
        if result is None or best is None or any(record.state == "running" for record in self.records):
            return False
        seconds = sum(number(record.seconds) or 0.0 for record in self.records)
        of = (result.trial, result.epoch, result.trials)
        return of == (best.id, best.best_epoch, len(self.records)) and math.isclose(result.trial_seconds, seconds)


def gather(name: str, storage: str) -> Gathered:
    """Read a sweep's folder, finished or not.

    Refused where there is no sweep of the name, it has begun no trial, its task is unknown, or a record is damaged.
    """
    folder = folder_of(storage, name)
    here = Storage.at(storage)
    file = SweepFile.load(folder) if folder.exists(SWEEP) else None
    if file is None:
        others = [of for of in here.names() if (here / of).exists(SWEEP)]
        there = f"choose from {', '.join(others[-10:])}" if others else "there is none: give the --storage that has it"
        raise Refused(f"there is no sweep named {name!r} in {storage}; {there}")
    records = load_records(folder)
    if not records:
        raise Refused(f"sweep {name!r} in {storage} has begun no trial yet; report on it when it has")
    result = ResultFile.load(folder, file.id)
    metric, mode = _metric(file, result)
    return Gathered(name, folder, file, records, result, _profile(folder), metric, mode)


def _metric(file: SweepFile, result: ResultFile | None) -> tuple[str, str]:
    if result is not None and isinstance(result.metric, str) and result.mode in ("max", "min"):
        return result.metric, result.mode
    from trainables.tasks import find_task  # here, as it imports torch

    task = find_task(str(file.options.get("task", SweepOptions.task)))
    return task.metric, task.mode


def _profile(folder: Storage) -> dict[str, Any] | None:
    """Seconds by stage, of every trial and all together; None where the sweep was not profiled."""
    try:
        found = json.loads(folder.read(PROFILE))
        trials: list[dict[str, Any]] = [
            {"trial": int(of["trial"]), "seconds": {stage: float(of["seconds"][stage]) for stage in STAGES}}
            for of in found["trials"]
        ]
        around = {name: float(found[name]) for name in ("before_s", "search_s", "after_s")}
        every = [*around.values(), *(seconds for of in trials for seconds in of["seconds"].values())]
        finite = all(map(math.isfinite, every))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {"stages": list(STAGES), "trials": trials, **around} if finite and trials else None


def number(value: Any) -> float | None:
    """``value`` where it is a finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 and math.isfinite(value) else None


def text(value: Any) -> str:
    """``value`` on a line, without secrets and not too long."""
    return printable(safe(str(value)[: 2 * LONGEST_TEXT]))[:LONGEST_TEXT]


def scalar(value: Any) -> Any:
    """A hyperparameter's value: a finite number, true or false, or text."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 53):
        return value
    return value if number(value) is not None else text(value)


def short(value: float) -> float:
    """Five digits: more is not seen."""
    return float(f"{value:.5g}")


def trials_of(sweep: Gathered) -> list[dict[str, Any]]:
    """A row a trial."""
    batch = number(sweep.file.options.get("batch_size"))
    return [
        {
            "number": record.number,
            "state": record.state,
            "hyperparameters": {text(name): scalar(value) for name, value in record.hyperparameters.items()},
            "best": number(record.best),
            "best_epoch": int(number(record.best_epoch) or 0),
            "epochs": record.epochs,
            "seconds": short(number(record.seconds) or 0.0),
            "attempts": record.attempts,
            "micro_batch": int(number(record.micro_batch) or 0),
            "reduced": bool(batch and 0 < (number(record.micro_batch) or 0) < batch),
            "error": text(record.error),
        }
        for record in sweep.records
    ]


def metrics_of(sweep: Gathered) -> list[str]:
    """What epochs report, the searched metric and the losses first."""
    found = {name: None for record in sweep.records for entry in record.history[-1:] for name in entry["metrics"]}
    first = [name for name in (sweep.key, "validation_loss", "train_loss") if name in found]
    scores = [name for name in found if name.startswith(SPLITS) and name not in first]
    return [*first, *scores, *(name for name in found if name not in {*first, *scores})][:MOST_METRICS]


def curves_of(sweep: Gathered) -> dict[str, Any]:
    """Every metric of every trial, an epoch; of long curves as many epochs as a screen shows, the best and the last."""
    metrics = metrics_of(sweep)
    trials = len(sweep.records)
    most = min(MOST_CURVE_POINTS // trials, MOST_CURVE_NUMBERS // (trials * max(len(metrics), 1)))
    kept = [_thinned(record, max(most, 4)) for record in sweep.records]
    return {
        "metrics": [text(name) for name in metrics],
        "epochs": [[entry["epoch"] for entry in entries] for entries in kept],
        "values": [[[_short(entry["metrics"].get(name)) for entry in entries] for entries in kept] for name in metrics],
    }


def _short(value: Any) -> float | None:
    found = number(value)
    return None if found is None else short(found)


def _thinned(record: TrialRecord, most: int) -> list[dict[str, Any]]:
    """At most so many entries of a trial's history, evenly spread, and its best one."""
    history = record.history
    if len(history) <= most:
        return history
    step = (len(history) - 1) / (most - 2)
    places = {round(step * index) for index in range(most - 1)}
    places |= {place for place, entry in enumerate(history) if entry["epoch"] == record.best_epoch}
    return [history[place] for place in sorted(places)]


def command_of(sweep: Gathered) -> str:
    """The command of the same search, each word quoted for a shell, whatever the folder says; empty where none is."""
    import shlex

    known = {of.name for of in fields(SweepOptions)} - {"tracking_uri"}
    try:
        given = {name: value for name, value in sweep.file.options.items() if name in known}
        given |= {"corpora": tuple(given["corpora"]), "profile": sweep.profile is not None}
        given |= {"gpus_per_trial": given.get("gpus_per_trial") or None}  # 0: what a machine without one decides
        return printable(shlex.join(shlex.split(safe(SweepOptions(**given).command))))
    except (TypeError, ValueError, KeyError, AttributeError):
        return ""


def states_of(sweep: Gathered) -> dict[str, int]:
    """How many trials are in each state, where there are any."""
    found = [record.state for record in sweep.records]
    return {state: found.count(state) for state in STATES if state in found}
