"""Optuna as Ray Tune's searcher, told the truth about how trials end, whatever was killed meanwhile.

Ray Tune's own OptunaSearch tells Optuna that stopped trials are complete, leaves trials with NaN running for ever and
stumbles over results of trials that have finished; restored, it runs finished trials again. Here a trial ends as
COMPLETE with the best value of its epochs (the checkpoint that is kept is the best one, too), as PRUNED with what it
reached when a scheduler stopped it early, or as FAIL. What Optuna knew is rebuilt from the trials' records, and each
suggestion draws from a generator of its own (seed and number of the trial), so a sweep with one trial at a time
suggests the same whether or not it was interrupted.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from tuner.records import TrialRecord, trial_name
from tuner.reports import DISK_FULL, FAILURE, TRIAL

optuna.logging.set_verbosity(optuna.logging.WARNING)
STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class SweepSearch(OptunaSearch):
    """TPE over the Tune domains of the Tuner's parameter space, for so many trials, each with a name that it keeps.

    ``points``: hyperparameters of the first trials. ``records``: what an earlier run of the sweep left; those that
    have ended are told to Optuna, the others go on first. ``stopped``: names of trials that the scheduler stopped.
    """

    def __init__(
        self, *, metric: str, mode: str, seed: int, trials: int, points: Sequence[Mapping[str, Any]] = (),
        records: Sequence[TrialRecord] = (), stopped: Collection[str] = (),
    ):  # fmt: skip
        self.seed, self.trials, self.points, self.stopped = seed, trials, points, stopped
        self.launched: dict[str, float] = {}  # by name: when Tune asked for it, on the monotonic clock
        self._past = [record for record in records if record.ended]
        self._waiting = deque((of.number, dict(of.hyperparameters)) for of in records if not of.ended)
        self._numbers = {record.number for record in records}
        self._names: dict[str, str] = {}  # of the trials that run, by Tune's id
        self._open: dict[str, optuna.Trial] = {}  # by name, those that Optuna was not told the end of
        self._best: dict[str, float] = {}  # by name
        self._last_step: dict[str, int] = {}
        super().__init__(metric=metric, mode=mode, sampler=TPESampler(seed=seed))

    @property
    def study(self) -> optuna.Study:
        """What Optuna knows."""
        assert self._ot_study is not None
        return self._ot_study

    @property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """The space as Optuna has it."""
        assert isinstance(self._space, dict)
        return self._space

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take the space, and tell Optuna of the trials that have ended."""
        if not super().set_search_properties(metric, mode, config, **spec):
            return False
        for record in self._past:
            values = {entry["epoch"]: entry["metrics"][self.metric] for entry in record.history}
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=STATES[record.state],
                    params=record.hyperparameters,
                    distributions=self.distributions,
                    value=record.best if record.state == "finished" else None,
                    intermediate_values=values,
                )
            )
        return True

    def suggest(self, trial_id: str) -> Any:
        """Hyperparameters and name of the trial that Tune starts next: one that goes on, else a new one.

        None while those that run might have to go on elsewhere, FINISHED after the last.
        """
        if self._waiting:
            number, hyperparameters = self._waiting.popleft()
        elif len(self._numbers) < self.trials:
            number = next(of for of in range(1, self.trials + 1) if of not in self._numbers)
            hyperparameters = dict(self.points[number - 1]) if number <= len(self.points) else {}
        else:
            return None if self._names else Searcher.FINISHED
        name = trial_name(number)
        self._numbers.add(number)
        self._names[trial_id] = name
        self.launched.setdefault(name, time.monotonic())
        if name not in self._open:
            if hyperparameters:
                self.study.enqueue_trial(hyperparameters)
            generator = np.random.SeedSequence([self.seed, number]).generate_state(1)
            self.study.sampler = TPESampler(seed=int(generator[0]))
            self._open[name] = self.study.ask(fixed_distributions=self.distributions)
        return {**self._open[name].params, TRIAL: name}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take one epoch; what comes again, or from a trial that has ended, adds nothing."""
        name = self._names.get(trial_id)
        if name in self._open:
            self._take(name, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended, once. One whose process ended stays open: `again` or `failed` says more.

        Tune shows the last epoch of a trial that a scheduler stops here alone, and not in on_trial_result.
        """
        name = self._names.pop(trial_id, None)
        if name is None or error or name not in self._open or (result is not None and DISK_FULL in result):
            return
        finite = result is not None and FAILURE not in result and self._take(name, result)
        trial = self._open.pop(name)
        if not finite:
            self.study.tell(trial, state=TrialState.FAIL)
        elif name in self.stopped:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, self._best[name])

    def again(self, name: str) -> None:
        """Let a trial whose process is lost go on in another."""
        trial = self._open[name]
        self._waiting.append((int(name.rpartition("-")[2]), dict(trial.params)))

    def failed(self, name: str) -> None:
        """Tell Optuna that a trial failed and does not go on."""
        if trial := self._open.pop(name, None):
            self.study.tell(trial, state=TrialState.FAIL)

    def _take(self, name: str, result: Mapping[str, Any]) -> bool:
        """Report the epoch to Optuna unless it has it; whether its value is a finite number."""
        value, step = result.get(self.metric), result.get("epoch")
        if value is None or step is None or not math.isfinite(value):
            return False
        if step > self._last_step.get(name, 0):
            self._open[name].report(value, step)
            self._last_step[name] = step
        better = max if self.mode == "max" else min
        self._best[name] = better(value, self._best.get(name, value))
        return True
