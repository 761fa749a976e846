"""A Ray that mirtune starts on this machine: it is seen by this machine alone and ends with who started it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Whether there is a cluster to listen to; read at Ray's import here, and at their start by its processes.
CLUSTERED = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Held by handles, not by numbers, which the system gives to others.
END = """
import os, signal, sys
handles = [os.pidfd_open(int(number)) for number in sys.argv[1:]]
sys.stdin.read()
for handle in handles:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have a Ray that is started within listen on 127.0.0.1 only; by itself it listens on every address.

    Ray turns a ``_node_ip_address`` of 127.0.0.1 into the machine's own, so it is told what it is told on macOS.
    """
    from ray._private import ray_constants

    before, known = os.environ.get(CLUSTERED), getattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    os.environ[CLUSTERED], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = known
        os.environ.pop(CLUSTERED)
        if before is not None:
            os.environ[CLUSTERED] = before


def end_with_this_process() -> None:
    """See that the helpers of the Ray that this process started end with it, even where it is killed.

    The kernel ends Ray's servers, and workers end themselves; but the servers' helpers first try for a minute to reach
    a server that is gone. Elsewhere than on Linux, and for a Ray that was there before, nothing is done.
    """
    helpers = [helper for child in _children(os.getpid()) if _name(child) == "raylet" for helper in _children(child)]
    if helpers:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", END, *map(str, helpers)],
            stdin=subprocess.PIPE,  # its end comes when this process does
            start_new_session=True,  # an interrupt from the terminal is not for it
        )


def _children(process: int) -> list[int]:
    listed: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            listed += map(int, path.read_text().split())
        except OSError:  # a thread that has ended
            continue
    return listed


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""
