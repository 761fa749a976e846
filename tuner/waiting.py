"""Writing to a store that may be slow, or away for a while: one thread, one queue, and patience."""

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import store
from tuner.telling import first_line, safe, say

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_BETWEEN_WORDS = 10.0
LONGEST_PAUSE_S = 10.0
LONGEST_ATTEMPT_S = 600.0  # a large upload may take its time; a connection that hangs may not keep a sweep for ever
LONGEST_LAST_ATTEMPT_S = 60.0  # of a store that was silent before
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
# Answers that may be about this entry or about the store.
UNCLEAR_ANSWERS = {"INTERNAL_ERROR", "BAD_REQUEST"}
# Packages whose errors are about a place that cannot be reached, as are OSError and those of databases.
OF_NETWORKS = ("botocore", "boto3", "urllib3")


@dataclass
class Entry:
    """One thing to write; ``done`` has the result, or why it could not be had. A ``minor`` one is not missed."""

    what: str
    write: Callable[["MlflowClient"], Any]
    done: "Future[Any]" = field(default_factory=Future)
    given_up: bool = False
    minor: bool = False


class WaitingStore:
    """Writes entries in their order, by one thread; what the store does not take waits and is tried again.

    At the end the store may be silent for ``patience_s`` seconds; then what is left is lost, and counted. An entry
    that alone is not taken, by a store that answers otherwise, is lost alone.
    """

    def __init__(self, uri: str, patience_s: float):
        self.uri, self.patience_s = uri, patience_s
        self.lost: list[str] = []  # what could not be written
        self.error: Exception | None = None  # and why, the latest time
        self._client: MlflowClient | None = None
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._closed_at = math.inf
        self._silent_since: float | None = None  # None while the store answers
        self._attempt_ended, self._in_attempt = time.monotonic(), False
        self._hurry = threading.Event()  # somebody waits: pauses are short
        self._put = self._taken = 0  # entries
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        self._thread.start()

    @property
    def answers(self) -> bool:
        """Whether the store took what it was given last."""
        return self._silent_since is None

    def put(self, what: str, write: Callable[["MlflowClient"], Any], *, minor: bool = False) -> Entry:
        """Have ``write(client)`` carried out after all that was put before; once only if it is ``minor``."""
        self._put += 1
        entry = Entry(what, write, minor=minor)
        self._entries.put(entry)
        return entry

    def ask(self, what: str, write: Callable[["MlflowClient"], Any]) -> Any:
        """Like ``put``, but wait for it; its result, or None where it could not be had. What is left stays queued."""
        entry = self.put(what, write)

        def is_done(timeout_s: float) -> bool:
            with suppress(Exception):
                entry.done.result(timeout_s)
            return entry.done.done()

        if not self._wait(is_done):
            entry.given_up = True
        self._hurry.clear()
        done = entry.done.done() and entry.done.exception() is None
        return entry.done.result() if done else None

    def close(self) -> None:
        """Wait for what is left; then `lost` is complete."""
        self._closed_at = time.monotonic()
        self._entries.put(None)

        def is_done(timeout_s: float) -> bool:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()

        if not self._wait(is_done) and self._put:
            self.lost.append("what is still being written")

    def _wait(self, is_done: Callable[[float], bool]) -> bool:
        """Wait until ``is_done``, telling what for; False where the store was silent for longer than we are patient."""
        began = said = time.monotonic()
        self._hurry.set()
        while not is_done(0.2):
            now, silent = time.monotonic(), self._silent_since
            left_s = LONGEST_ATTEMPT_S - (now - max(self._attempt_ended, began))
            if silent is not None:
                left_s = self.patience_s - (now - max(silent, began))
            # The writing thread gives up by itself where the store is closed: let it be first.
            if left_s < (-LONGEST_LAST_ATTEMPT_S if silent is not None and self._in_attempt else -5):
                return False
            if now - said >= SECONDS_BETWEEN_WORDS:
                said = now
                why = f" ({first_line(self.error)})" if silent is not None else ""
                reports = f"{self._put - self._taken} reports"
                limit = f"{max(left_s, 0):.0f} s at most"
                say(f"waiting for the tracking store {safe(self.uri)} to take {reports}{why}; {limit}")
        return True

    def _write_all(self) -> None:
        # Importing MLflow and making a store's tables takes seconds: while Ray starts, not beside the first trials.
        with suppress(Exception):  # the first entry meets the same error, and tells of it
            self._client = store.connect(self.uri)
        while (entry := self._entries.get()) is not None:
            if entry.minor:
                self._try(entry)
            else:
                self._write(entry)
            self._taken += 1

    def _try(self, entry: Entry) -> None:
        """Write it if the store takes it now; nobody asks for the result."""
        self._in_attempt = True
        with suppress(Exception):
            if self._client is not None and self.answers and math.isinf(self._closed_at):
                entry.write(self._client)
        self._attempt_ended, self._in_attempt = time.monotonic(), False

    def _write(self, entry: Entry) -> None:
        pause_s, began = 0.5, time.monotonic()
        while not self._gives_up(entry):
            self._in_attempt = True
            try:
                if self._client is None:
                    self._client = store.connect(self.uri)
                result = entry.write(self._client)
            except Exception as error:
                self.error = error
                if is_final(error) or self._is_about(error, began):
                    self._silent_since = None
                    break
                if self._silent_since is None:
                    self._silent_since = time.monotonic()
                    say(f"the tracking store {safe(self.uri)} does not answer ({first_line(error)}); reports wait")
            else:
                if self._silent_since is not None:
                    say(f"the tracking store {safe(self.uri)} answers again")
                self._silent_since = None
                entry.done.set_result(result)
                return
            finally:
                self._attempt_ended, self._in_attempt = time.monotonic(), False
            if self._hurry.is_set():
                time.sleep(min(pause_s, 1.0))
            else:  # woken at the end, so that a long pause does not eat the time that is left
                self._hurry.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self.lost.append(entry.what)
        entry.done.set_exception(self.error or RuntimeError("given up"))

    def _gives_up(self, entry: Entry) -> bool:
        if self._silent_since is None:
            return entry.given_up
        waited_s = time.monotonic() - max(self._silent_since, self._closed_at)
        return entry.given_up or waited_s >= self.patience_s

    def _is_about(self, error: Exception, began: float) -> bool:
        """Whether an error that has come for a while is about its entry: the store answers when asked for another."""
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException) or error.error_code not in UNCLEAR_ANSWERS:
            return False
        if time.monotonic() - began < self.patience_s / 2 or self._client is None:
            return False
        try:
            self._client.get_experiment_by_name(store.EXPERIMENT)
        except Exception:
            return False
        return True


def is_final(error: Exception) -> bool:
    """Whether the store, or our own mistake, answered; False where the store is absent, locked or overloaded."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, MlflowException):
        return error.error_code in FINAL_ANSWERS
    return not (isinstance(error, OSError | DBAPIError) or type(error).__module__.startswith(OF_NETWORKS))
