"""What a sweep sees of its trials: a record of each in its folder, a line an epoch on standard error, the tracker's
entries; and what it decides: whether a trial that was lost goes on, and whether the sweep has to stop."""

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS, DEBUG_METRICS, DONE, EXPERIMENT_TAG

from data_prep.files import is_disk_full
from data_prep.storage import Storage
from tuner.profile import EPOCH_METRICS, SweepProfile, TrialProfile
from tuner.records import TrialRecord
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
from tuner.tracking import Tracker, in_words, say
from tuner.trial_folder import TrialFolder

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

    from tuner.scheduler import Scheduler
    from tuner.searcher import SweepSearch

_NOT_METRICS = {*AUTO_RESULT_KEYS, *DEBUG_METRICS, DONE, EXPERIMENT_TAG, EPOCH, SAVING_S, BEGINS_AFTER, *EPOCH_METRICS}
STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "lost": "FAILED", "interrupted": "KILLED"}
logger = logging.getLogger(__name__)


def flat_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that the trial reported, without what Ray Tune adds."""
    return {
        name: value
        for name, value in result.items()
        if name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """An exception in a callback would end the sweep without a word; a disk that is full ends it with one."""

    @functools.wraps(hook)
    def guarded(self: "Watcher", *arguments: Any, **named: Any) -> None:
        try:
            hook(self, *arguments, **named)
        except Exception as error:
            if is_disk_full(error):
                self.disk_full = True
            else:
                logger.exception("the sweep's watcher failed in %s", hook.__name__)

    return guarded


class Watcher(tune.Callback):
    """Follows the trials of a sweep for the person, the sweep's folder, the tracking store and the profile.

    ``records``: the trials of an earlier run of the sweep. ``launched``: by name, when Tune asked for the trial
    (monotonic clock).
    """

    def __init__(
        self, *, metric: str, mode: str, trials: int, max_epochs: int, batch_size: int, max_failures: int,
        folder: Storage, tracker: Tracker, profile: SweepProfile, searcher: "SweepSearch", scheduler: "Scheduler",
        records: Sequence[TrialRecord] = (),
    ):  # fmt: skip
        self.metric, self.mode, self.folder, self.tracker = metric, mode, folder, tracker
        self.trials, self.max_epochs, self.batch_size = trials, max_epochs, batch_size
        self.max_failures, self.profile = max_failures, profile
        self.searcher, self.scheduler = searcher, scheduler
        self.records = {record.id: record for record in records}
        self.disk_full = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks, and a tracking URI may hold a password."""
        return {}

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best epoch of all that have not failed; of equals the one that began first."""
        sign = 1 if self.mode == "max" else -1
        able = [record for record in self.records.values() if record.best is not None and record.state != "failed"]
        return max(able, key=lambda record: (sign * (record.best or 0.0), -record.number), default=None)

    @property
    def words(self) -> str:
        """The searched metric as people read it: "validation micro F1"."""
        return in_words(self.metric)

    @property
    def undone(self) -> int:
        """Trials that can go on, or have not begun."""
        return self.trials - sum(record.ended for record in self.records.values())

    def tell_past(self) -> None:
        """Bring the tracking store up to date with trials that have ended: what it has already is left out there."""
        for record in self.records.values():
            if record.ended:
                self.tracker.start_trial(record.id, record.name, record.hyperparameters)
                for entry in record.history:
                    self.tracker.epoch(record.id, entry[EPOCH], flat_metrics(entry["metrics"]))
                self._tell_end(record)

    @_harmless
    def on_trial_start(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """Open the trial's record and run."""
        self._begin(trial)

    @_harmless
    def on_trial_result(
        self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", result: dict[str, Any], **info: Any
    ) -> None:
        """Take an epoch; one that comes again is left out. Files that it replaces are removed."""
        record = self._record(trial)
        if FAILURE in result:
            record.error, self.disk_full = result[FAILURE], self.disk_full or DISK_FULL in result
            return
        if NOTE in result:
            self._say(record, f"goes on from what is whole: {result[NOTE]}")
        record.rewind(result.get(BEGINS_AFTER, record.epochs), self.metric)
        metrics = flat_metrics(result)
        value, now = float(result[self.metric]), time.monotonic()
        new = record.take({EPOCH: int(result[EPOCH]), IS_BEST: result[IS_BEST], "metrics": metrics}, value)
        record.checkpoint = result[CHECKPOINT]
        if new:
            self.tracker.epoch(record.id, record.epochs, metrics)
        if REPLAYED in result:
            return
        TrialFolder(self.folder / record.id).keep({result[STATE], result[CHECKPOINT]})
        if not new:
            return
        best = self.best
        so_far = "" if best is None else f" (best {best.best:.3f})"
        epoch = f"epoch {record.epochs}/{self.max_epochs}"
        self._say(record, f"{epoch} {self.words} {value:.3f}{so_far} {result['seconds']:.0f} s")
        at_once = int(result["micro_batch"])
        if at_once < record.micro_batch:
            what = f"memory ran out with {record.micro_batch} windows at once; {at_once} from now on"
            self._say(record, f"{what}, the batch stays {self.batch_size}")
        record.micro_batch = at_once
        self.profile.trials[record.id].epoch(result, result["time_this_iter_s"], now)

    @_harmless
    def on_trial_complete(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """Close the run of a trial that came to its end, or said why it could not."""
        record = self._record(trial)
        if not record.error:
            stopped = record.id in self.scheduler.stopped
            self._end(record, "stopped" if stopped else "finished")
            if stopped:
                self._say(
                    record, f"stopped after epoch {record.epochs}: its {in_words(self.scheduler.metric)} is behind"
                )
        elif self.disk_full:
            self._end(record, "interrupted")
        else:
            self._fail(record)

    @_harmless
    def on_trial_error(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """A trial that has failed, or whose process is lost: that one goes on in another, while it has attempts."""
        record = self._record(trial)
        if record.error:
            self.searcher.failed(record.id)
            self._fail(record)
            return
        why = what_was_lost(trial)
        if record.attempts <= self.max_failures:
            record.attempts += 1
            self.searcher.again(record.id)
            record.save(self.folder)
            where = f"after epoch {record.epochs}" if record.epochs else "from the beginning"
            attempt = f"attempt {record.attempts} of {self.max_failures + 1}"
            self._say(record, f"lost its process or machine ({why}) and goes on {where}, {attempt}")
            return
        record.error = f"lost {record.attempts} times, the last time: {why}"
        self.searcher.failed(record.id)
        self._end(record, "lost")
        self._say(record, f"was {record.error}; `--resume` lets it go on")

    @_harmless
    def on_experiment_end(self, trials: "list[TuneTrial]", **info: Any) -> None:
        """Whatever is still running was interrupted."""
        for record in self.records.values():
            if record.state == "running":
                self._end(record, "interrupted")

    def _record(self, trial: "TuneTrial") -> TrialRecord:
        return self.records[trial.config[TRIAL]]

    def _begin(self, trial: "TuneTrial") -> None:
        hyperparameters = dict(trial.config)
        name = hyperparameters.pop(TRIAL)
        number = int(name.rpartition("-")[2])
        now = time.monotonic()
        record = self.records.setdefault(name, TrialRecord(name, number, hyperparameters, micro_batch=self.batch_size))
        if name in self.profile.trials:
            self.profile.trials[name].again(now)
        else:
            self.profile.trials[name] = TrialProfile(number, self.searcher.launched.get(name, now))
            if record.epochs or record.state != "running":
                self._say(record, f"goes on after epoch {record.epochs}" if record.epochs else "begins again")
        if record.state in ("lost", "interrupted"):
            record.state, record.attempts, record.error = "running", 1, ""
        record.save(self.folder)
        self.tracker.start_trial(name, record.name, record.hyperparameters)

    def _fail(self, record: TrialRecord) -> None:
        self._end(record, "failed")
        self._say(record, f"failed after {record.epochs} epochs: {record.error}")

    def _end(self, record: TrialRecord, state: str) -> None:
        record.state, record.seconds = state, time.time() - record.started
        if record.id in self.profile.trials:
            self.profile.trials[record.id].ended(state, time.monotonic())
        self._tell_end(record)
        record.save(self.folder)

    def _tell_end(self, record: TrialRecord) -> None:
        summary = {} if record.best is None else {f"best_{self.metric}": record.best, "best_epoch": record.best_epoch}
        self.tracker.end(record.id, STATUS[record.state], reason=record.error, summary=summary)

    def _say(self, record: TrialRecord, what: str) -> None:
        say(f"{record.name}/{self.trials} {what}")


def what_was_lost(trial: "TuneTrial") -> str:
    """Why Ray gave a trial's process up, in one line."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).is_file() else ""
    lines = text.rpartition("Failure # ")[2].splitlines()[1:]
    told = [line.strip() for line in lines if line.strip() and not line.startswith("\t")]
    return told[0][:200] if told else "Ray did not say why"
