"""How long the command line takes to say something, against Python that does nothing.

Processor seconds (user and system) of whole processes, the least and the median of several, taken in turns: what else
runs on the machine hardly counts in them. The wall clock beside it does.

    python tests/benchmarks/startup.py [--times 10]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mirtune --help": ["-m", "tuner.cli", "--help"],
    "mirtune --version": ["-m", "tuner.cli", "--version"],
    "mirtune sweep --help": ["-m", "tuner.cli", "sweep", "--help"],
    "mirtune completion bash": ["-m", "tuner.cli", "completion", "bash"],
}


def timed(arguments: list[str]) -> tuple[float, float]:
    """Processor and wall seconds of a Python process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def main() -> None:
    """Print a line a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=10, metavar="N", help="processes of each (%(default)s)")
    times = parser.parse_args().times
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(times):
        for name, arguments in COMMANDS.items():
            taken[name].append(timed(arguments))
    bare = min(processor for processor, _ in taken["python -c pass"])
    for name, all_s in taken.items():
        processor = [of for of, _ in all_s]
        print(
            f"{name:<24} processor {min(processor):.3f} s (median {statistics.median(processor):.3f}), "
            f"{min(processor) / bare:.1f} times bare Python; wall {min(of for _, of in all_s):.3f} s"
        )


if __name__ == "__main__":
    main()
