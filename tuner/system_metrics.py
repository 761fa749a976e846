"""How busy this machine is while a sweep runs: processor, memory, GPUs, as MLflow's own metrics `system/...`.

The samples come seldomer the longer it runs, so that a sweep of days leaves no more of them than a page can draw.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

PREFIX = "system/"
SHORTEST_PAUSE_S = 5.0
PAUSE_OF_ELAPSED = 0.01  # 36 s after an hour, a quarter of an hour after a day: 600 samples by then, 800 in a week


def monitors() -> list[Any]:
    """MLflow's, for what this machine has; none where the packages that they need are not there."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    logging.getLogger(GPUMonitor.__module__).setLevel(logging.CRITICAL)  # a GPU that does not say its power is none
    found: list[Any] = [CPUMonitor()]
    with suppress(Exception):  # no NVIDIA GPU here
        found.append(GPUMonitor())
    return found


def sample(of: list[Any]) -> dict[str, float]:
    """The numbers of now, since the sample before; without those of a monitor that fails."""
    numbers: dict[str, float] = {}
    for monitor in of:
        with suppress(Exception):  # a GPU that is reset has nothing to say for a moment
            monitor.clear_metrics()
            monitor.collect_metrics()
            numbers |= {f"{PREFIX}{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
    return numbers


def pause_s(elapsed_s: float) -> float:
    """How long to wait for the next sample, so long after the first."""
    return max(elapsed_s * PAUSE_OF_ELAPSED, SHORTEST_PAUSE_S)


class Sampler:
    """Calls ``take(numbers)`` now and then, from a thread of its own, until it is stopped."""

    def __init__(self, take: Callable[[Mapping[str, float]], None]) -> None:
        self._take, self._stopped = take, threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more samples after this."""
        self._stopped.set()

    def _run(self) -> None:
        began = time.monotonic()
        of: list[Any] = []
        with suppress(Exception):  # nothing that runs depends on it
            of = monitors()
        sample(of)  # the processor's use is since the sample before
        while of and not self._stopped.wait(pause_s(time.monotonic() - began)):
            with suppress(Exception):
                if numbers := sample(of):
                    self._take(numbers)
