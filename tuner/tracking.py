"""Runs in MLflow: one for the sweep, one inside it for each trial.

A sweep that goes on, or a trial that is tried again, tells its whole history anew: runs that are there are found by
the sweep's id and the trial's name, and what they have already is left out. So every epoch stands once, whatever was
killed when.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner import store
from tuner.telling import first_line, in_words, safe, say
from tuner.waiting import WaitingStore

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["SWEEP_RUN", "Tracker", "first_line", "in_words", "log_new", "safe", "say"]

SWEEP_RUN = "sweep"  # the trial tag of the sweep's own run
SECONDS_TO_WAIT_AT_END = 60.0
LONGEST_TEXT = 5000  # of a parameter or tag; MLflow takes 6000 and 8000


@dataclass
class _Run:
    """What the store has of a run: its end, its latest values, and at which steps it has a metric."""

    id: str
    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: "Run") -> "_Run":
        """A run that the store has."""
        data = run.data
        return cls(run.info.run_id, run.info.status, dict(data.tags), dict(data.params), dict(data.metrics))


class Tracker:
    """The runs of one sweep. Its methods return at once and never raise; `close` says what could not be written.

    ``sweep_id`` tells the sweep from others of its name; ``step_metric`` is a metric that every epoch has.
    """

    def __init__(
        self, uri: str, sweep: str, tags: Mapping[str, str], sweep_id: str = "", step_metric: str = "validation_loss",
        go_on: str = "",
    ):  # fmt: skip
        self.uri, self.sweep, self.sweep_id, self.step_metric = uri, sweep, sweep_id or sweep, step_metric
        self._tags = {**tags, **store.code_version(), "sweep": sweep, store.SWEEP_ID: self.sweep_id}
        self.go_on = go_on or f"mirtune sweep --name {sweep} --resume"  # the command that sends what was not taken
        self._runs: dict[str, _Run] = {}  # by trial
        self._store = WaitingStore(uri, SECONDS_TO_WAIT_AT_END)

    @property
    def error(self) -> Exception | None:
        """Why the store did not take something, the latest time."""
        return self._store.error

    def start_sweep(self, parameters: Mapping[str, Any]) -> None:
        """Open the sweep's own run; one that has ended is open again."""
        self._put("the sweep's run", lambda client: self._start(client, SWEEP_RUN, self.sweep, parameters))

    def start_trial(self, trial: str, name: str, parameters: Mapping[str, Any]) -> None:
        """Open a trial's run; ``name`` is what people read.

        One that was killed is open again; one that finished or failed when an epoch comes that it does not have.
        """
        self._put(f"the run of {name}", lambda client: self._start(client, trial, name, parameters))

    def epoch(self, trial: str, number: int, metrics: Mapping[str, float]) -> None:
        """Write an epoch's metrics in one request, unless the run has them; those that are not finite are left out."""
        now_ms = int(time.time() * 1000)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if not finite:
            return
        by = self.step_metric if self.step_metric in finite else min(finite)

        def write(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            run = self._runs[trial]
            if by not in run.steps:
                known = client.get_metric_history(run.id, by) if by in run.metrics else ()
                run.steps[by] = {point.step for point in known}
            if number in run.steps[by]:
                return
            self._reopen(client, run)
            client.log_batch(run.id, metrics=[Metric(name, value, now_ms, number) for name, value in finite.items()])
            run.steps[by].add(number)

        self._put("metrics of an epoch", write)

    def end(self, trial: str, status: str, *, reason: str = "", summary: Mapping[str, float] | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, with the reason as its tag and metrics that sum it up.

        Nothing is written where the run ended the same way before.
        """
        end_ms = int(time.time() * 1000)
        finite = {name: float(value) for name, value in (summary or {}).items() if math.isfinite(value)}

        def write(client: "MlflowClient") -> None:
            run, why = self._runs[trial], _text(reason)
            log_new(client, run.id, run.metrics, finite, end_ms)
            run.metrics.update(finite)
            if why and run.tags.get("reason") != why:
                client.set_tag(run.id, "reason", why)
                run.tags["reason"] = why
            elif not why and "reason" in run.tags:
                client.delete_tag(run.id, "reason")
                del run.tags["reason"]
            if run.status != status:
                client.set_terminated(run.id, status, end_ms)
                run.status = status

        self._put("the end of a run", write)

    def ask(self, what: str, write: Callable[["MlflowClient", dict[str, str]], Any]) -> Any:
        """Carry out ``write(client, runs)`` after all that was put before; its result, or None when it could not be.

        ``runs``: run ids by trial.
        """
        return self._store.ask(what, lambda client: write(client, {trial: run.id for trial, run in self._runs.items()}))

    def close(self) -> str:
        """Wait for what is left, a while; one sentence on what was lost, or an empty string."""
        self._store.close()
        lost = self._store.lost
        if not lost:
            return ""
        return (
            f"the tracking store {safe(self.uri)} did not take {len(lost)} reports, first {lost[0]} "
            f"({first_line(self.error)}); `{self.go_on}` sends what is missing"
        )

    def _put(self, what: str, write: Callable[["MlflowClient"], Any]) -> "Future[Any]":
        return self._store.put(what, write).done

    def _start(self, client: "MlflowClient", trial: str, name: str, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        run = self._runs.get(trial) or self._find(client, trial) or self._make(client, trial, name)
        self._runs[trial] = run
        if run.status == "KILLED" or trial == SWEEP_RUN:
            self._reopen(client, run)
        # MLflow refuses another value for a parameter that is there.
        missing = {key: _text(value) for key, value in parameters.items() if key not in run.parameters}
        if missing:
            client.log_batch(run.id, params=[Param(key, value) for key, value in missing.items()])
            run.parameters.update(missing)

    def _find(self, client: "MlflowClient", trial: str) -> _Run | None:
        """The run that the store has; where a lost answer made two, an empty one is removed."""
        experiment = store.experiment_id(client, self.uri)
        which = f'tags."{store.SWEEP_ID}" = {store.quoted(self.sweep_id)} and tags.trial = {store.quoted(trial)}'
        there = client.search_runs([experiment], which, order_by=["attributes.start_time ASC"])
        found = sorted(there, key=lambda run: not run.data.metrics)
        for spare in found[1:]:
            if not spare.data.metrics:
                client.delete_run(spare.info.run_id)
        return _Run.of(found[0]) if found else None

    def _make(self, client: "MlflowClient", trial: str, name: str) -> _Run:
        tags = {key: _text(value) for key, value in {**self._tags, "trial": trial}.items()}
        if trial != SWEEP_RUN:
            tags["mlflow.parentRunId"] = self._runs[SWEEP_RUN].id
        made = client.create_run(store.experiment_id(client, self.uri), tags=tags, run_name=_text(name))
        return _Run(made.info.run_id)

    @staticmethod
    def _reopen(client: "MlflowClient", run: _Run) -> None:
        if run.status != "RUNNING":
            client.update_run(run.id, "RUNNING")
            run.status = "RUNNING"


def log_new(
    client: "MlflowClient", run_id: str, known: Mapping[str, float], values: Mapping[str, float], now_ms: int,
    tags: Iterable[tuple[str, str]] = (),
) -> None:  # fmt: skip
    """Write those values (at step 0) that differ from the ``known`` ones, and tags, in one request if there are any."""
    from mlflow.entities import Metric, RunTag

    rows = [Metric(name, value, now_ms, 0) for name, value in values.items() if known.get(name) != value]
    marks = [RunTag(key, _text(value)) for key, value in tags]
    if rows or marks:
        client.log_batch(run_id, metrics=rows, tags=marks)


def _text(value: Any) -> str:
    """What a store keeps of a text: no secret, nothing that a terminal obeys or a database refuses."""
    return printable(safe(str(value)))[:LONGEST_TEXT]
