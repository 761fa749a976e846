"""What a sweep sees of its trials: a record of each in its folder, a line an epoch on standard error, the tracker's
entries; and what it decides: whether a trial that was lost goes on, and whether the sweep has to stop."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ray import tune

from data_prep.storage import Storage
from tuner.hooks import flat_metrics, harmless, what_was_lost
from tuner.profile import SweepProfile, TrialProfile
from tuner.records import TrialRecord, best_of
from tuner.reports import (
    BEGINS_AFTER,
    CHECKPOINT,
    DISK_FULL,
    EPOCH,
    FAILURE,
    IS_BEST,
    NOTE,
    REPLAYED,
    STATE,
    TRIAL,
)
from tuner.tracking import Tracker, in_words, say
from tuner.trial_folder import TrialFolder
from tuner.trial_runs import TrialRuns, place_of

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

    from tuner.scheduler import Scheduler
    from tuner.searcher import SweepSearch


class Watcher(tune.Callback):
    """Follows the trials of a sweep for the person, the sweep's folder, the tracking store and the profile.

    ``records``: the trials of an earlier run of the sweep. ``launched``: by name, when Tune asked for the trial
    (monotonic clock).
    """

    def __init__(
        self, *, metric: str, mode: str, trials: int, max_epochs: int, batch_size: int, max_failures: int,
        folder: Storage, tracker: Tracker, profile: SweepProfile, searcher: "SweepSearch", scheduler: "Scheduler",
        records: Sequence[TrialRecord] = (), is_held: Callable[[], bool] = lambda: True,
    ):  # fmt: skip
        self.metric, self.mode, self.folder, self.tracker = metric, mode, folder, tracker
        self.runs = TrialRuns(tracker, metric, folder)
        self.trials, self.max_epochs, self.batch_size = trials, max_epochs, batch_size
        self.max_failures, self.profile = max_failures, profile
        self.searcher, self.scheduler = searcher, scheduler
        self.records = {record.id: record for record in records}
        self.is_held = is_held
        self.full = ""  # where and why nothing more can be written
        self._unsaved: dict[str, TrialRecord] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks, and a tracking URI may hold a password."""
        return {}

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best epoch of all that have not failed; of equals the one that began first."""
        return best_of(self.records.values(), self.mode)

    @property
    def words(self) -> str:
        """The searched metric as people read it: "validation micro F1"."""
        return in_words(self.metric)

    @property
    def undone(self) -> int:
        """Trials that can go on, or have not begun."""
        return self.trials - sum(record.ended for record in self.records.values())

    def tell_past(self) -> None:
        """Bring the tracking store up to date with an earlier run: what it has already is left out there."""
        self.runs.tell_past(self.records.values())

    @harmless
    def on_trial_start(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """Open the trial's record and run."""
        self._begin(trial)

    @harmless
    def on_trial_result(
        self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", result: dict[str, Any], **info: Any
    ) -> None:
        """Take an epoch; one that comes again is left out. Files that it replaces are removed."""
        record = self._record(trial)
        if FAILURE in result:
            record.error = result[FAILURE]
            if DISK_FULL in result:
                self.full = record.error
            return
        if NOTE in result:
            self._say(record, f"goes on from what is whole: {result[NOTE]}")
        if result.get(BEGINS_AFTER):
            self._say(record, f"goes on after epoch {result[BEGINS_AFTER]}")
        record.rewind(result.get(BEGINS_AFTER, record.epochs), self.metric)
        metrics = flat_metrics(result)
        value, now = float(result[self.metric]), time.monotonic()
        new = record.take({EPOCH: int(result[EPOCH]), IS_BEST: result[IS_BEST], "metrics": metrics}, value)
        record.checkpoint = result[CHECKPOINT]
        if new:
            self.runs.epoch(record, metrics, place_of(trial, result))
        if REPLAYED in result:
            return
        if self._unsaved:
            self._save()
        if result[IS_BEST]:  # before the checkpoint that it names now is removed
            self._save(record)
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

    @harmless
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
        elif self.full:
            self._end(record, "interrupted")
        else:
            self._fail(record)

    @harmless
    def on_trial_error(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """A trial that has failed, or whose process is lost: that one goes on in another, while it has attempts."""
        if trial.config[TRIAL] not in self.profile.trials:  # lost before it began
            self._begin(trial)
        record = self._record(trial)
        if record.error:
            self.searcher.failed(record.id)
            self._fail(record)
            return
        why = what_was_lost(trial)
        if record.attempts <= self.max_failures:
            record.attempts += 1
            record.seconds += time.time() - record.started
            self.searcher.again(record.id)
            self._save(record)
            where = f"after epoch {record.epochs}" if record.epochs else "from the beginning"
            attempt = f"attempt {record.attempts} of {self.max_failures + 1}"
            self._say(record, f"lost its process or machine ({why}) and goes on {where}, {attempt}")
            return
        record.error = f"lost {record.attempts} times, the last time: {why}"
        self.searcher.failed(record.id)
        self._end(record, "lost")
        self._say(record, f"was {record.error}; `--resume` lets it go on")

    @harmless
    def on_experiment_end(self, trials: "list[TuneTrial]", **info: Any) -> None:
        """Whatever is still running was interrupted."""
        for record in self.records.values():
            if record.state == "running":
                self._end(record, "interrupted")
        for pause_s in (1.0, 4.0, 16.0):
            if not self._unsaved:
                break
            with suppress(OSError):
                self._save()
                break
            time.sleep(pause_s)

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
            record.state, record.attempts, record.error = "running", 1, ""
        record.started = time.time()
        self.runs.start(record)
        self.tracker.watch_machine()
        (self.folder / name).sweep_away(0)
        self._save(record)

    def _fail(self, record: TrialRecord) -> None:
        self._end(record, "failed")
        self._say(record, f"failed after {record.epochs} epochs: {record.error}")

    def _end(self, record: TrialRecord, state: str) -> None:
        record.state, record.seconds = state, record.seconds + time.time() - record.started
        if record.id in self.profile.trials:
            self.profile.trials[record.id].ended(state, time.monotonic())
        self.runs.end(record)
        self._save(record)

    def _save(self, record: TrialRecord | None = None) -> None:
        """Write a record, and those that could not be written before."""
        if record is not None:
            self._unsaved[record.id] = record
        for name in list(self._unsaved):
            self._unsaved[name].save(self.folder)
            del self._unsaved[name]

    def _say(self, record: TrialRecord, what: str) -> None:
        say(f"{record.name}/{self.trials} {what}")
