"""Timing for the benchmarks: every number is a ratio against something timed in the same run."""

import time
from collections.abc import Callable


def seconds_of(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of some runs after one that warms up: other load on the machine only ever adds."""
    work()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def report(title: str, plain: tuple[str, float], ours: tuple[str, float], target: float) -> None:
    """Print both times, their ratio, and the ratio that was asked for."""
    ratio = plain[1] / ours[1]
    print(f"{title}\n  {plain[0]:<52} {plain[1]:9.4f} s\n  {ours[0]:<52} {ours[1]:9.4f} s")
    print(
        f"  {ratio:.1f} times as fast; asked for: {target:g}{'' if ratio >= target else '  <-- MISSED'}\n", flush=True
    )
