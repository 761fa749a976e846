"""Commands as processes of their own that tests start, kill and look after: sweeps, and the nodes of a Ray cluster.

Each command leads a session of the system's, in which all its children stay, Ray's processes too: so what it has left
behind is known, and at the end nothing is left that a test has started.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

BIN = Path(sys.executable).parent
# Not ours to inherit: the store of whoever runs the tests, and the Ray that a test has started in its process.
NOT_INHERITED = re.compile(r"MLFLOW_|AWS_|PG|RAY_|MIRTUNE_")
# Reached from this machine only (see data_prep.local_ray); a token in ~/.ray would make heads ask for it, not nodes.
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# What `ray start --address` does, where that listens on this machine's loopback only, which Ray refuses by itself.
NODE = """
from ray._private import ray_constants, services
ray_constants.ENABLE_RAY_CLUSTER = True
services.get_node_ip_address = lambda *_: "127.0.0.1"
from ray.scripts.scripts import main
main()
"""
ANY_PORTS = ("--min-worker-port", "0", "--max-worker-port", "0", "--block")  # there may be several nodes here
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit status {self.status}\n{self.err}\n{self.out}"


@dataclass(frozen=True)
class Command:
    """A command that was started."""

    process: subprocess.Popen
    log: Path  # standard error; standard output is beside it

    @property
    def err(self) -> str:
        """What it has said on standard error."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def out(self) -> str:
        """What it has said on standard output."""
        return self.log.with_suffix(".out").read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        """Whether the command itself has not ended."""
        return self.process.poll() is None

    def left(self) -> dict[int, str]:
        """The number and name of every process of its session that lives."""
        return session(self.process.pid)

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Send a signal to the command alone, and not to what it has started."""
        self.process.send_signal(how)

    def kill_all(self) -> None:
        """End its whole session: what a machine does that is gone."""
        while left := self.left():
            for number in left:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait(timeout=10)

    def end(self, limit_s: float = 180.0) -> Ended:
        """Wait until it ends by itself; AssertionError where it does not."""
        try:
            self.process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {limit_s:g} s: {self.err[-2000:]}") from None
        return Ended(self.process.returncode, self.out, self.err)

    def wait_for(self, pattern: str, times: int = 1, limit_s: float = 120.0) -> "re.Match[str]":
        """The first match once ``pattern`` stands so often in its standard error; AssertionError if it never does."""

        def said_or_ended() -> bool:
            ended = not self.runs  # asked first: what it says last counts
            assert len(re.findall(pattern, self.err)) >= times or not ended, f"ended without {pattern!r}: {self.end()}"
            return len(re.findall(pattern, self.err)) >= times

        until(said_or_ended, limit_s, lambda: f"not {times} times {pattern!r} in: {self.err[-2000:]}")
        match = re.search(pattern, self.err)
        assert match
        return match


def until(found: Callable[[], Any], limit_s: float, otherwise: Callable[[], str] | str, pause_s: float = 0.02) -> Any:
    """What ``found()`` returns when that is true, looked at again and again; AssertionError where it never is."""
    latest = time.monotonic() + limit_s
    while not (result := found()):
        assert time.monotonic() < latest, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(pause_s)
    return result


def session(leader: int) -> dict[int, str]:
    """The number and name of every living process in the session that a process has begun."""
    living = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            before, _, after = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
            state, _, _, of = after.split()[:4]
            if int(of) == leader and state != "Z":
                living[int(path.parent.name)] = before.partition("(")[2]
    return living


class Processes:
    """Starts commands, and ends whatever is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands = folder, []
        # Short, for the sockets in it; a Ray that others have started on this machine is not seen from there.
        self.ray_folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))

    def start(self, *words: Any, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Command:
        """Start a program; ``environment`` is added to ours, without what says where stores and clusters are."""
        log = self.folder / f"command-{len(self.commands):03d}.err"
        inherited = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
        own = {**RAY, "RAY_TMPDIR": str(self.ray_folder)}
        with log.open("wb") as err, log.with_suffix(".out").open("wb") as out:
            process = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**inherited, **own, **(environment or {})}, cwd=cwd or self.folder, start_new_session=True,
            )  # fmt: skip
        self.commands.append(Command(process, log))
        return self.commands[-1]

    def mirtune(self, *words: Any, **given: Any) -> Command:
        """Start `mirtune ...`."""
        return self.start(BIN / "mirtune", *words, **given)

    def ray_head(self, cpus: int = 2, environment: Mapping[str, str] | None = None) -> tuple[Command, str]:
        """Start the head of a cluster on loopback; the command, and the address for RAY_ADDRESS."""
        port = free_port()
        words = ("--head", "--port", port, "--ray-client-server-port", free_port(), "--include-dashboard", "false")
        head = self.start(BIN / "ray", "start", *words, "--num-cpus", cpus, *ANY_PORTS, environment=environment)
        until(lambda: "Ray runtime started" in head.out, 90, lambda: f"no head: {head.out} {head.err}")
        return head, f"127.0.0.1:{port}"

    def ray_node(self, address: str, cpus: int = 1, environment: Mapping[str, str] | None = None) -> Command:
        """Start another node of a cluster on loopback."""
        words = ("start", "--address", address, "--num-cpus", cpus, *ANY_PORTS)
        node = self.start(sys.executable, "-c", NODE, *words, environment=environment)
        until(lambda: "Ray runtime started" in node.out, 90, lambda: f"no node: {node.out} {node.err}")
        return node

    def end_all(self) -> None:
        """Kill every process that is left, the youngest command's first."""
        for command in reversed(self.commands):
            command.kill_all()
        shutil.rmtree(self.ray_folder, ignore_errors=True)


@pytest.fixture
def processes(tmp_path) -> Iterator[Processes]:
    """Commands of this test."""
    of = Processes(tmp_path)
    yield of
    of.end_all()
