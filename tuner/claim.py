"""One process at a time holds a sweep, and a process that was killed holds nothing.

On a disk that is a lock of the system's, which ends with its process. An object store has no locks: whoever wants a
sweep writes a claim of its own, looks at all claims, and steps back where another one is alive: its number rises every
few seconds, or it was made on this machine and its process is there. Of two that come at once both may step back.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.files import alone
from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.telling import say

LOCK, CLAIMS = ".driver.lock", "drivers"
BEAT_S, LEASE_S = 5.0, 30.0
OURS = frozenset({LOCK, CLAIMS})


@contextmanager
def held(folder: Storage, what: str) -> Iterator[Callable[[], bool]]:
    """Hold a sweep's ``folder``; yields a function that tells whether it is still held.

    Refused, in a sentence that begins with ``what``, where another process holds it.
    """
    if folder.is_local:
        folder.path.mkdir(parents=True, exist_ok=True)
        with alone(folder.path / LOCK, what):
            yield lambda: True
        return
    claim = _Claim(folder / CLAIMS)
    try:
        claim.write()
        claim.beat()  # from now on: another that comes while this one looks must see it alive
        if other := claim.other_alive():
            raise Refused(f"{what} (process {other['pid']} on {other['host']}); wait for it to end or stop it")
        yield claim.holds
    finally:
        claim.withdraw()


class _Claim:
    """One process's claim in an object store."""

    def __init__(self, folder: Storage) -> None:
        self.folder, self.name, self.number = folder, f"{uuid.uuid4().hex}.json", 0
        self._end = threading.Event()
        self._lost = False
        self._beaten = time.time()  # a clock that goes on while a machine sleeps
        self._thread = threading.Thread(target=self._beats, name="claim", daemon=True)

    def write(self) -> None:
        self.number += 1
        pid = str(os.getpid())
        content = {
            "number": self.number,
            "host": os.uname().nodename,
            "pid": pid,
            "machine": _machine(),
            "born": _born(pid),
        }
        self.folder.write(self.name, json.dumps(content).encode())

    def other_alive(self) -> dict[str, Any] | None:
        """Another claim that is alive; those that are not are removed. May wait for a beat of one from elsewhere."""
        for name, seen in self._others().items():
            if _is_here(seen):
                if _process_runs(seen):
                    return seen
            else:
                say(f"{seen['host']} held the sweep: waiting {LEASE_S:.0f} s to see whether it still does")
                until = time.monotonic() + LEASE_S
                while time.monotonic() < until:
                    time.sleep(1.0)
                    now = self._others().get(name)
                    if now is None:
                        break
                    if now["number"] != seen["number"]:
                        return now
            self.folder.remove(name)
        return None

    def _others(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name in self.folder.names():
            if name != self.name:
                try:
                    found[name] = _parsed(self.folder.read(name))
                except OSError:  # gone, or written just now
                    if self.folder.exists(name):
                        found[name] = _parsed(b"")
        return found

    def beat(self) -> None:
        self._thread.start()

    def holds(self) -> bool:
        if time.time() - self._beaten > 2 * BEAT_S:  # as after a sleep: what happened meanwhile?
            with suppress(OSError):
                self._lost = self._lost or not self.folder.exists(self.name)
        return not self._lost

    def _beats(self) -> None:
        while not self._end.wait(BEAT_S) and not self._lost:
            with suppress(OSError):  # a store that does not answer for a while takes no claim away
                self._beat()

    def _beat(self) -> None:
        if not self.folder.exists(self.name):  # taken for dead, after a long sleep
            self._lost = True
            return
        self.write()
        if time.time() - self._beaten > LEASE_S and self._others():  # one came, and did not see this beat in time
            self._lost = True
            self.folder.remove(self.name)
        self._beaten = time.time()

    def withdraw(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(2 * BEAT_S)
        with suppress(OSError):
            self.folder.remove(self.name)


def _parsed(content: bytes) -> dict[str, Any]:
    """A claim's content; of one that cannot be read, a claim that never beats."""
    try:
        claim = json.loads(content)
        return {"number": int(claim["number"]), **{key: str(claim[key]) for key in ("host", "pid", "machine", "born")}}
    except (ValueError, KeyError, TypeError):
        return {"number": 0, "host": "an unknown machine", "pid": "?", "machine": "", "born": ""}


def _machine() -> str:
    """What processes that can see each other share: the machine since it was started, and their name space."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux: every claim is then waited for
        return uuid.uuid4().hex


def _born(pid: str) -> str:
    """When a process of this machine began, in ticks since the machine did; empty where none runs, or a zombie."""
    try:
        path = Path(f"/proc/{int(pid)}/stat")
        of = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if of[0] in "ZX" else of[19]
    except (OSError, ValueError, IndexError):
        return ""


def _is_here(claim: dict[str, Any]) -> bool:
    return claim["machine"] == _machine()


def _process_runs(claim: dict[str, Any]) -> bool:
    return bool(claim["born"]) and _born(claim["pid"]) == claim["born"]
