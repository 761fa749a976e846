"""Runs in MLflow: one for the sweep, one inside it for each trial.

A sweep that goes on, or a trial that is tried again, tells its whole history anew: runs that are there are found by
the sweep's id and the trial's name, and what they have already is left out. So every epoch stands once, whatever was
killed when.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tuner import store
from tuner.run_inputs import Input, log_inputs
from tuner.run_notes import NOTE, sweep_begun
from tuner.system_metrics import Sampler
from tuner.telling import first_line, in_words, safe, say
from tuner.tracked_run import TrackedRun, log_new, text_of, texts
from tuner.waiting import WaitingStore

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mlflow import MlflowClient

__all__ = ["SWEEP_RUN", "Tracker", "first_line", "in_words", "log_new", "safe", "say"]

SWEEP_RUN = "sweep"  # the trial tag of the sweep's own run
STATE = "state"  # the tag that says more than MLflow's status: "running", "finished", "stopped", "lost", ...
STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}
OF_SWEEP = ("recipe", "scheduler")  # parameters of a sweep that are tags of all its runs
SECONDS_TO_WAIT_AT_END = 60.0


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
        self._runs: dict[str, TrackedRun] = {}  # by trial
        self._store = WaitingStore(uri, SECONDS_TO_WAIT_AT_END)
        self._sampler: Sampler | None = None
        self.command = ""  # that began the sweep

    @property
    def error(self) -> Exception | None:
        """Why the store did not take something, the latest time."""
        return self._store.error

    def start_sweep(self, parameters: Mapping[str, Any]) -> None:
        """Open the sweep's own run; one that has ended is open again."""
        self._tags |= {name: str(parameters[name]) for name in OF_SWEEP if name in parameters}
        self.command = str(parameters.get("command", ""))
        note = {NOTE: sweep_begun(parameters, self._tags, self.go_on)}
        self._put("the sweep's run", lambda client: self._start(client, SWEEP_RUN, self.sweep, parameters, note))

    def start_trial(self, trial: str, name: str, parameters: Mapping[str, Any]) -> None:
        """Open a trial's run; ``name`` is what people read.

        One that was killed is open again; one that finished or failed when an epoch comes that it does not have.
        """
        self._put(f"the run of {name}", lambda client: self._start(client, trial, name, parameters, {}))

    def inputs(self, trial: str, inputs: Sequence[Input]) -> None:
        """Say what a run is trained and validated on; what it has already is left out."""

        def write(client: "MlflowClient") -> None:
            run = self._runs[trial]
            log_inputs(client, run.id, [of for of in inputs if of.key not in run.inputs])
            run.inputs |= {of.key for of in inputs}

        self._put("the corpora of a run", write)

    def epoch(
        self, trial: str, number: int, metrics: Mapping[str, float], tags: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Write an epoch's metrics and tags in one request, unless the run has them; only finite numbers are taken."""
        now_ms = int(time.time() * 1000)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if not finite:
            return
        by = self.step_metric if self.step_metric in finite else min(finite)

        def write(client: "MlflowClient") -> None:
            from mlflow.entities import Metric, RunTag

            run = self._runs[trial]
            if by not in run.steps:
                known = client.get_metric_history(run.id, by) if by in run.metrics else ()
                run.steps[by] = {point.step for point in known}
            if number in run.steps[by]:
                return
            self._reopen(client, run)
            rows = [Metric(name, value, now_ms, number) for name, value in finite.items()]
            new = run.lacks(tags)
            client.log_batch(run.id, metrics=rows, tags=[RunTag(*of) for of in new.items()])
            run.tags.update(new)
            run.steps[by].add(number)

        self._put("metrics of an epoch", write)

    def end(
        self, trial: str, status: str, *, reason: str = "", summary: Mapping[str, float] | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Close a run as FINISHED, FAILED or KILLED, with the reason as its tag, others, and metrics that sum it up.

        Nothing is written where the run ended the same way before.
        """
        end_ms = int(time.time() * 1000)
        finite = {name: float(value) for name, value in (summary or {}).items() if math.isfinite(value)}
        told = {STATE: STATES[status], **tags, **({"reason": reason} if reason else {})}

        def write(client: "MlflowClient") -> None:
            run = self._runs[trial]
            new = run.lacks(told)
            log_new(client, run.id, run.metrics, finite, end_ms, new)
            run.metrics.update(finite)
            run.tags.update(new)
            if not reason and "reason" in run.tags:
                client.delete_tag(run.id, "reason")
                del run.tags["reason"]
            if run.status != status:
                client.set_terminated(run.id, status, end_ms)
                run.status = status

        self._put("the end of a run", write)

    def watch_machine(self) -> None:
        """From now on until the end, write how busy this machine is into the sweep's run."""
        self._sampler = self._sampler or Sampler(self._sampled)

    def ask(self, what: str, write: Callable[["MlflowClient", dict[str, str]], Any]) -> Any:
        """Carry out ``write(client, runs)`` after all that was put before; its result, or None when it could not be.

        ``runs``: run ids by trial.
        """
        return self._store.ask(what, lambda client: write(client, {trial: run.id for trial, run in self._runs.items()}))

    def close(self) -> str:
        """Wait for what is left, a while; one sentence on what was lost, or an empty string."""
        if self._sampler is not None:
            self._sampler.stop()
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

    def _sampled(self, numbers: Mapping[str, float]) -> None:
        """Write how busy this machine is into the sweep's run, unless the store is away; the step is in seconds."""
        now_ms = int(time.time() * 1000)

        def write(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            run = self._runs[SWEEP_RUN]
            second = (now_ms - run.began_ms) // 1000
            client.log_batch(run.id, metrics=[Metric(name, value, now_ms, second) for name, value in numbers.items()])

        if self._store.answers:
            self._store.put("how busy the machine is", write, minor=True)

    def _start(
        self, client: "MlflowClient", trial: str, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Param

        run = self._runs.get(trial) or self._find(client, trial) or self._make(client, trial, name, tags)
        self._runs[trial] = run
        if run.status == "KILLED" or trial == SWEEP_RUN:
            self._reopen(client, run)
        # MLflow refuses another value for a parameter that is there.
        missing = {key: text_of(value) for key, value in parameters.items() if key not in run.parameters}
        if missing:
            client.log_batch(run.id, params=[Param(key, value) for key, value in missing.items()])
            run.parameters.update(missing)

    def _find(self, client: "MlflowClient", trial: str) -> TrackedRun | None:
        """The run that the store has; where a lost answer made two, an empty one is removed."""
        experiment = store.experiment_id(client, self.uri)
        which = f'tags."{store.SWEEP_ID}" = {store.quoted(self.sweep_id)} and tags.trial = {store.quoted(trial)}'
        there = client.search_runs([experiment], which, order_by=["attributes.start_time ASC"])
        found = sorted(there, key=lambda run: not run.data.metrics)
        for spare in found[1:]:
            if not spare.data.metrics:
                client.delete_run(spare.info.run_id)
        return TrackedRun.of(found[0]) if found else None

    def _make(self, client: "MlflowClient", trial: str, name: str, more: Mapping[str, str]) -> TrackedRun:
        tags = texts({**self._tags, **store.origin(), **more, "trial": trial, STATE: "running"})
        if trial != SWEEP_RUN:
            tags["mlflow.parentRunId"] = self._runs[SWEEP_RUN].id
        made = client.create_run(store.experiment_id(client, self.uri), tags=tags, run_name=text_of(name))
        return TrackedRun(made.info.run_id, made.info.start_time, tags=tags)

    @staticmethod
    def _reopen(client: "MlflowClient", run: TrackedRun) -> None:
        if run.status != "RUNNING":
            client.update_run(run.id, "RUNNING")
            run.status = "RUNNING"
            client.set_tag(run.id, STATE, "running")
            run.tags[STATE] = "running"
