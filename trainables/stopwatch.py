"""Where an epoch's time goes: stages timed on the device, without making the host wait for it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch

T = TypeVar("T")


class Stopwatch:
    """Adds up the seconds of named stages; ``None`` for a device: measures nothing and costs nothing.

    On a GPU a stage is what passes on the GPU between two events in its queue, so the stages of a loop add up to the
    loop's time, whichever of GPU and host is ahead.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time what happens inside."""
        if self._device is None:
            return nullcontext()
        return self._on_gpu(name) if self._device.type == "cuda" else self._on_host(name)

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Go through ``items``, timing how long each takes to come."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def lap(self) -> dict[str, float]:
        """Seconds of each stage since the last lap; waits for the device."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for name, began, ended in self._events:
            self._seconds[name] += began.elapsed_time(ended) / 1000
        seconds = dict(self._seconds)
        self._events.clear()
        self._seconds.clear()
        return seconds

    @contextmanager
    def _on_host(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    @contextmanager
    def _on_gpu(self, name: str) -> Iterator[None]:
        stream = torch.cuda.current_stream(self._device)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record(stream)
        try:
            yield
        finally:
            events[1].record(stream)
            self._events.append((name, *events))  # type: ignore[arg-type]
