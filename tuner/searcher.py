"""Optuna as Ray Tune's searcher, told the truth about how trials end.

Ray Tune's own OptunaSearch tells Optuna that stopped trials are complete, leaves trials with NaN running for ever and
stumbles over results of trials that have finished. Here a trial ends as COMPLETE with the best value of its epochs (the
checkpoint that is kept is the best one, too), as PRUNED when a scheduler stopped it early, or as FAIL.
"""

import math
import time
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray.tune.result import TRAINING_ITERATION
from ray.tune.search.optuna import OptunaSearch

optuna.logging.set_verbosity(optuna.logging.WARNING)


class SeededSearch(OptunaSearch):
    """TPE over the Tune domains of the Tuner's parameter space, repeatable exactly one trial at a time."""

    def __init__(self, *, metric: str, mode: str, seed: int):
        self._best: dict[str, float] = {}  # by trial id
        self._last_step: dict[str, int] = {}
        self.launched: dict[str, float] = {}  # by trial id: when Tune asked for it, on the monotonic clock
        super().__init__(metric=metric, mode=mode, sampler=TPESampler(seed=seed))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Hyperparameters for a trial that Tune starts next, and the moment."""
        self.launched.setdefault(trial_id, time.monotonic())
        return super().suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take one epoch; results of finished or unknown trials, and repeated ones, add nothing."""
        if trial_id not in self._completed_trials and trial_id in self._ot_trials:
            self._take(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended, once.

        Tune shows the last epoch of a trial that a scheduler stops here alone, and not in on_trial_result.
        """
        if trial_id in self._completed_trials or trial_id not in self._ot_trials:
            return
        self._completed_trials.add(trial_id)
        last_step = self._last_step.get(trial_id, 0)
        finite = result is not None and self._take(trial_id, result)
        trial, study = self._ot_trials[trial_id], self._ot_study
        assert study is not None
        if error or not finite:
            study.tell(trial, state=TrialState.FAIL)
        elif self._last_step[trial_id] > last_step:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, self._best[trial_id])

    def _take(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Report the epoch to Optuna unless it has it; whether its value is a finite number."""
        value, step = result.get(self.metric), result.get(TRAINING_ITERATION)
        if value is None or step is None or not math.isfinite(value):
            return False
        if step > self._last_step.get(trial_id, 0):
            self._ot_trials[trial_id].report(value, step)
            self._last_step[trial_id] = step
        better = max if self.mode == "max" else min
        self._best[trial_id] = better(value, self._best.get(trial_id, value))
        return True
