"""Runs in MLflow: one for the sweep, one inside it for each trial.

Everything is written by one thread from a queue, so a slow or absent store neither stops nor slows a sweep: what cannot
be written waits and is tried again; what is left when the sweep ends is counted and told.
"""

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEEP_RUN = "sweep"  # the trial tag of the sweep's own run
SECONDS_TO_WAIT_AT_END = 20.0
LONGEST_PAUSE_S = 10.0
# Answers of a store that is there: asking again would bring the same answer.
FINAL_ANSWERS = {
    "ALREADY_EXISTS",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}


@dataclass
class _Entry:
    what: str
    write: Callable[["MlflowClient"], Any]
    done: "Future[Any]" = field(default_factory=Future)


class Tracker:
    """The runs of one sweep. Its methods return at once and never raise; `close` says what could not be written."""

    def __init__(self, uri: str, sweep: str, tags: Mapping[str, str]):
        self.uri, self.sweep, self.patience_s = uri, sweep, SECONDS_TO_WAIT_AT_END
        self.lost: list[str] = []  # what could not be written
        self.error: Exception | None = None  # and why, the latest time
        self._tags = {**tags, **store.code_version(), "sweep": sweep}
        self._runs: dict[str, str] = {}  # trial -> run id
        self._client: MlflowClient | None = None
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._deadline = math.inf
        self._answers = True  # whether the store took the latest entry that was offered
        self._asked = False  # whether there was anything to write
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        self._thread.start()

    def start_sweep(self, parameters: Mapping[str, Any]) -> None:
        """Open the sweep's own run."""
        self._put("the sweep's run", lambda client: self._start(client, SWEEP_RUN, self.sweep, parameters))

    def start_trial(self, trial: str, name: str, parameters: Mapping[str, Any]) -> None:
        """Open a trial's run; ``name`` is what people read."""
        self._put(f"the run of {name}", lambda client: self._start(client, trial, name, parameters))

    def epoch(self, trial: str, number: int, metrics: Mapping[str, float]) -> None:
        """Write an epoch's metrics in one request; those that are not finite are left out."""
        now_ms = int(time.time() * 1000)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}

        def write(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            rows = [Metric(name, value, now_ms, number) for name, value in finite.items()]
            client.log_batch(self._runs[trial], metrics=rows)

        self._put("metrics of an epoch", write)

    def end(self, trial: str, status: str, *, reason: str = "", summary: Mapping[str, float] | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, with the reason as its tag and metrics that sum it up."""
        if summary:
            self.epoch(trial, 0, summary)
        end_ms = int(time.time() * 1000)

        def write(client: "MlflowClient") -> None:
            if reason:
                client.set_tag(self._runs[trial], "reason", reason[:5000])
            client.set_terminated(self._runs[trial], status, end_ms)

        self._put("the end of a run", write)

    def ask(self, what: str, write: Callable[["MlflowClient", dict[str, str]], Any]) -> Any:
        """Carry out ``write(client, runs)`` after all that was put before; its result, or None when it could not be."""
        done = self._put(what, lambda client: write(client, dict(self._runs)))
        self._give_it(self.patience_s)
        try:
            return done.result(timeout=self.patience_s + 60)  # an upload that has begun may take its time
        except Exception:
            return None
        finally:
            self._deadline = math.inf
            self._closing.clear()

    def close(self) -> str:
        """Wait for what is left, a while; one sentence on what was lost, or an empty string."""
        self._give_it(self.patience_s)
        self._entries.put(None)
        self._thread.join(self.patience_s + 5)
        if self._thread.is_alive() and self._asked:
            self.lost.append("what is still being written")
        if not self.lost:
            return ""
        return (
            f"the tracking store {safe(self.uri)} did not take {len(self.lost)} reports, first {self.lost[0]} "
            f"({first_line(self.error)}); the sweep's own folder has the checkpoints"
        )

    def _put(self, what: str, write: Callable[["MlflowClient"], Any]) -> "Future[Any]":
        self._asked = True
        entry = _Entry(what, write)
        self._entries.put(entry)
        return entry.done

    def _give_it(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._closing.set()

    def _write_all(self) -> None:
        # Importing MLflow and making a store's tables takes seconds: while Ray starts, not beside the first trials.
        with suppress(Exception):  # the first entry meets the same error, and tells of it
            self._client = store.connect(self.uri)
        while (entry := self._entries.get()) is not None:
            self._write(entry)

    def _write(self, entry: _Entry) -> None:
        pause_s = 0.5
        while self._answers or time.monotonic() < self._deadline:
            try:
                if self._client is None:
                    self._client = store.connect(self.uri)
                result = entry.write(self._client)
                self._answers = True
                entry.done.set_result(result)
                return
            except Exception as error:
                self.error = error
                was_there, self._answers = self._answers, is_final(error)
                if self._answers:
                    break
                if was_there:
                    say(f"the tracking store {safe(self.uri)} does not answer ({first_line(error)}); reports wait")
            # Woken when the sweep ends, so that a long pause does not eat the time that is left.
            if self._closing.is_set():
                time.sleep(min(pause_s, 1.0))
            else:
                self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self.lost.append(entry.what)
        entry.done.set_exception(self.error or RuntimeError("given up"))

    def _start(self, client: "MlflowClient", trial: str, name: str, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        experiment = store.experiment_id(client, self.uri)
        # A run whose making was not answered may be there: look before making another.
        found = client.search_runs(
            [experiment], f"tags.sweep = '{self.sweep}' and tags.trial = '{trial}'", max_results=1
        )
        if found:
            run_id = found[0].info.run_id
        else:
            tags = {**self._tags, "trial": trial}
            if trial != SWEEP_RUN:
                tags["mlflow.parentRunId"] = self._runs[SWEEP_RUN]
            run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
        self._runs[trial] = run_id


def is_final(error: Exception) -> bool:
    """Whether the store, or our own mistake, answered; False where the store is absent, locked or overloaded."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        return error.error_code in FINAL_ANSWERS
    return not isinstance(error, OSError | OperationalError)


def first_line(error: BaseException | None) -> str:
    """Kind and first line of an error's text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def in_words(metric: str) -> str:
    """A metric as people read it: "validation micro F1"."""
    return " ".join("F1" if word == "f1" else word for word in metric.split("_"))


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def safe(uri: str) -> str:
    """The URI without a password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else uri
