"""What the tracking store is told of the trials of a sweep: a run each, which says what it is, where it runs, how it
ended, and which corpora it had."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.hooks import flat_metrics
from tuner.records import TrialRecord
from tuner.reports import EPOCH
from tuner.run_inputs import TRAINING, Input, inputs_of
from tuner.run_notes import NOTE, run_name, trial_ended
from tuner.sweep_folder import SweepFile
from tuner.tracking import STATE, SWEEP_RUN, Tracker

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "lost": "FAILED", "interrupted": "KILLED"}


class TrialRuns:
    """Tells the tracker of trials by their records; ``metric`` is the searched one, ``folder`` the sweep's."""

    def __init__(self, tracker: Tracker, metric: str, folder: Storage) -> None:
        self.tracker, self.metric, self.folder = tracker, metric, folder
        self._inputs: list[Input] = []
        self._fixed: set[str] = set()  # hyperparameters of one value alone

    def tell_past(self, records: Iterable[TrialRecord]) -> None:
        """Tell of the corpora, and of all that an earlier run of the sweep did."""
        with suppress(OSError, Refused):  # the trials say what is wrong with the corpora
            file = SweepFile.load(self.folder)
            if file is not None:
                narrow = dict(file.options.get("narrow", {}))
                self._fixed = {name for name, values in narrow.items() if len(values) == 1}
                self._inputs = inputs_of(file)
            self.tracker.inputs(SWEEP_RUN, self._inputs)
        for record in records:
            self.start(record)
            for entry in record.history:
                self.tracker.epoch(record.id, entry[EPOCH], flat_metrics(entry["metrics"]))
            if record.state != "running":
                self.end(record)

    def start(self, record: TrialRecord) -> None:
        """Open the trial's run."""
        self.tracker.start_trial(record.id, run_name(record, self._fixed), record.hyperparameters)
        self.tracker.inputs(record.id, [of for of in self._inputs if of.split in TRAINING])

    def epoch(self, record: TrialRecord, metrics: Mapping[str, float], place: Mapping[str, str]) -> None:
        """Add the record's last epoch."""
        self.tracker.epoch(record.id, record.epochs, metrics, place)

    def end(self, record: TrialRecord) -> None:
        """Close the trial's run."""
        summary = {} if record.best is None else {f"best_{self.metric}": record.best, "best_epoch": record.best_epoch}
        tags = {STATE: record.state, NOTE: trial_ended(record, self.metric, self.tracker.sweep, self.tracker.command)}
        self.tracker.end(record.id, STATUS[record.state], reason=record.error, summary=summary, tags=tags)


def place_of(trial: "TuneTrial", result: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a trial's run: the machine it runs on, and what it has of it."""
    of = trial.placement_group_factory
    held: Mapping[str, float] = of.required_resources if of else {}
    gpus, cpus = float(held.get("GPU", 0)), float(held.get("CPU", 0))
    return {"host": str(result.get("hostname", "")), "device": f"{gpus:g} GPU" if gpus else f"{cpus:g} CPU"}
