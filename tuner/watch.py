"""What a sweep sees of its trials: a record of each, a line an epoch on standard error, and the tracker's entries."""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle, tune
from ray.tune.result import AUTO_RESULT_KEYS, DEBUG_METRICS, DONE, EXPERIMENT_TAG, SHOULD_CHECKPOINT

from tuner.profile import EPOCH_METRICS, SweepProfile, TrialProfile
from tuner.tracking import Tracker, first_line, in_words, say
from tuner.trial import FAILURE

if TYPE_CHECKING:
    from ray.tune import Checkpoint
    from ray.tune.experiment import Trial as TuneTrial

_NOT_METRICS = {*AUTO_RESULT_KEYS, *DEBUG_METRICS, DONE, EXPERIMENT_TAG, SHOULD_CHECKPOINT, "epoch", *EPOCH_METRICS}
logger = logging.getLogger(__name__)


@dataclass
class TrialRecord:
    """A trial as far as it has come; ``best`` is the searched metric at its best epoch, whose checkpoint is kept."""

    id: str
    number: int  # from 1, in the order of starting
    hyperparameters: dict[str, Any]
    state: str = "running"  # then "finished", "failed" or "killed"
    epochs: int = 0
    best: float | None = None
    best_epoch: int = 0
    micro_batch: int = 0  # windows at once, the batch unless memory ran out
    checkpoint: "Checkpoint | None" = None
    error: str = ""
    started: float = field(default_factory=time.time)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """What people read."""
        return f"trial {self.number}"


def flat_metrics(result: dict[str, Any]) -> dict[str, float]:
    """The numbers that the trial reported, without what Ray Tune adds."""
    return {
        name: value
        for name, value in result.items()
        if name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """An exception in a callback would end the sweep, so it ends here."""

    @functools.wraps(hook)
    def guarded(*arguments: Any, **named: Any) -> None:
        try:
            hook(*arguments, **named)
        except Exception:
            logger.exception("the sweep's watcher failed in %s", hook.__name__)

    return guarded


class Watcher(tune.Callback):
    """Follows the trials of a sweep for the person, the tracking store and the profile.

    ``launched``: by trial id, when Tune asked for the trial (monotonic clock).
    """

    def __init__(
        self, *, metric: str, mode: str, trials: int, max_epochs: int, batch_size: int, tracker: Tracker,
        profile: SweepProfile, launched: Mapping[str, float],
    ):  # fmt: skip
        self.metric, self.mode, self.tracker = metric, mode, tracker
        self.trials, self.max_epochs, self.batch_size = trials, max_epochs, batch_size
        self.profile, self.launched = profile, launched
        self.records: dict[str, TrialRecord] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune writes its callbacks into the sweep's folder, and a tracking URI may hold a password."""
        return {}

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best epoch of all that have not failed."""
        sign = 1 if self.mode == "max" else -1
        able = [record for record in self.records.values() if record.best is not None and record.state != "failed"]
        return max(able, key=lambda record: sign * (record.best or 0.0), default=None)

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped the sweep: trials were killed, or never begun."""
        return len(self.records) < self.trials or any(record.state == "killed" for record in self.records.values())

    @property
    def words(self) -> str:
        """The searched metric as people read it: "validation micro F1"."""
        return in_words(self.metric)

    @_harmless
    def on_trial_start(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """Open the trial's record and run."""
        self._record(trial)

    @_harmless
    def on_trial_result(
        self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", result: dict[str, Any], **info: Any
    ) -> None:
        """Take an epoch; one that comes again is left out."""
        record = self._record(trial)
        if FAILURE in result:
            record.error = result[FAILURE]
            return
        epoch, value = int(result["epoch"]), float(result[self.metric])
        if epoch <= record.epochs:
            return
        record.epochs = epoch
        if result.get(SHOULD_CHECKPOINT):
            record.best, record.best_epoch = value, epoch
        self.tracker.epoch(record.id, epoch, flat_metrics(result))
        best = self.best
        so_far = "" if best is None else f" (best {best.best:.3f})"
        where = f"{record.name}/{self.trials}"
        say(f"{where} epoch {epoch}/{self.max_epochs} {self.words} {value:.3f}{so_far} {result['seconds']:.0f} s")
        at_once = int(result["micro_batch"])
        if at_once < record.micro_batch:
            what = f"memory ran out with {record.micro_batch} windows at once; {at_once} from now on"
            say(f"{where}: {what}, the batch stays {self.batch_size}")
        record.micro_batch = at_once
        self.profile.trials[record.id].epoch(result, result["time_this_iter_s"], time.monotonic())

    @_harmless
    def on_checkpoint(
        self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", checkpoint: "Checkpoint", **info: Any
    ) -> None:
        """Remember where the checkpoint lies; the one before it is gone."""
        record = self._record(trial)
        record.checkpoint = checkpoint
        self.profile.trials[record.id].saved(time.monotonic())

    @_harmless
    def on_trial_complete(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """Close the run of a trial that came to its end, or said why it could not."""
        record = self._record(trial)
        if record.error:
            self._fail(record)
        else:
            self._end(record, "finished", "FINISHED")

    @_harmless
    def on_trial_error(self, iteration: int, trials: "list[TuneTrial]", trial: "TuneTrial", **info: Any) -> None:
        """A trial whose process is lost; the sweep goes on."""
        record = self._record(trial)
        record.error = failure(trial)
        self._fail(record)

    @_harmless
    def on_experiment_end(self, trials: "list[TuneTrial]", **info: Any) -> None:
        """Whatever is still running was killed."""
        for record in self.records.values():
            if record.state == "running":
                self._end(record, "killed", "KILLED")

    def _record(self, trial: "TuneTrial") -> TrialRecord:
        if trial.trial_id not in self.records:
            record = TrialRecord(trial.trial_id, len(self.records) + 1, dict(trial.config), micro_batch=self.batch_size)
            self.records[record.id] = record
            launched = self.launched.get(record.id, time.monotonic())
            self.profile.trials[record.id] = TrialProfile(record.number, launched)
            self.tracker.start_trial(record.id, record.name, record.hyperparameters)
        return self.records[trial.trial_id]

    def _fail(self, record: TrialRecord) -> None:
        self._end(record, "failed", "FAILED")
        say(f"{record.name}/{self.trials} failed after {record.epochs} epochs: {record.error}")

    def _end(self, record: TrialRecord, state: str, status: str) -> None:
        record.state, record.seconds = state, time.time() - record.started
        self.profile.trials[record.id].ended(state, time.monotonic())
        summary = {} if record.best is None else {f"best_{self.metric}": record.best, "best_epoch": record.best_epoch}
        self.tracker.end(record.id, status, reason=record.error, summary=summary)


def failure(trial: "TuneTrial") -> str:
    """The trial's own exception in one line, without Ray's wrapping."""
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return "it ended without saying why"
    error = cloudpickle.loads(Path(path).read_bytes())
    error = getattr(error, "cause", None) or error
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
