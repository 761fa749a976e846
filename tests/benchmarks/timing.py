"""Timing for the benchmarks: every number is a ratio against something timed in the same run."""

import time
from collections.abc import Callable, Sequence


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


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in plain text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    print(title)
    for row in (headings, ["-" * width for width in widths], *rows):
        others = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join((f"{row[0]:<{widths[0]}}", *others)).rstrip(), flush=True)
    print(flush=True)
