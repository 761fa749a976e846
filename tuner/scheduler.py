"""When a trial is stopped early: `none` runs every trial to its own end, `asha` keeps the better half at each rung.

Rungs rank by validation loss and not by the searched score: on small corpora F1, which needs activations above a
threshold, is still 0 after five epochs of a configuration that ends well, while the loss already tells them apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from tuner.records import TrialRecord
from tuner.reports import LAST, REPLAYED, TRIAL

RANKED_BY = "validation_loss"
REDUCTION = 2


class NoStops(FIFOScheduler):
    """Every trial runs to its own end."""

    stopped: frozenset[str] = frozenset()


class Asha(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al. 2020) that knows trials by their names, over retries and restarts.

    ``past``: trials of an earlier run of the sweep, whose epochs fill the rungs. What a trial says again when it goes
    on (REPLAYED) is recorded and stops nothing: it was decided when it was said first. Only of the LAST such epoch that
    is not certain, so it is decided then.
    """

    def __init__(self, *, max_epochs: int, grace_epochs: int, past: Iterable[TrialRecord] = ()) -> None:
        super().__init__(
            time_attr="epoch",
            metric=RANKED_BY,
            mode="min",
            max_t=max_epochs + 1,  # a trial that reaches its last epoch has ended by itself and was not stopped
            grace_period=min(grace_epochs, max_epochs),
            reduction_factor=REDUCTION,
        )
        self.stopped: set[str] = set()  # names of the trials it has stopped
        for record in past:
            stand_in = SimpleNamespace(config={TRIAL: record.id})
            self.on_trial_add(None, stand_in)
            for entry in record.history:
                result = {"epoch": entry["epoch"], **entry["metrics"], REPLAYED: True}
                self.on_trial_result(None, stand_in, result)
            self.on_trial_remove(None, stand_in)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial begins, or goes on."""
        super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP after an epoch."""
        decision = super().on_trial_result(tune_controller, _named(trial), result)
        if REPLAYED in result and LAST not in result:
            return TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP:
            self.stopped.add(trial.config[TRIAL])
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended."""
        super().on_trial_complete(tune_controller, _named(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial is gone."""
        self._trial_info.pop(trial.config[TRIAL], None)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial has failed, or its process is lost; its rungs stay."""
        self.on_trial_remove(tune_controller, trial)


def _named(trial: Any) -> Any:
    """Tune's trials have another id each time they begin; ours keep their names."""
    return SimpleNamespace(trial_id=trial.config[TRIAL])


Scheduler = NoStops | Asha


def _none(max_epochs: int, grace_epochs: int, past: Sequence[TrialRecord]) -> Scheduler:
    return NoStops()


def _asha(max_epochs: int, grace_epochs: int, past: Sequence[TrialRecord]) -> Scheduler:
    return Asha(max_epochs=max_epochs, grace_epochs=grace_epochs, past=past)


SCHEDULERS: Mapping[str, Callable[[int, int, Sequence[TrialRecord]], Scheduler]] = {"none": _none, "asha": _asha}
"""Name -> function of the epochs a trial has at most, those it has at least, and the trials of an earlier run."""
