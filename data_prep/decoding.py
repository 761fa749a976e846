"""Files at which a decoder crashes, found by a process of its own, which may die of them.

A library in C that crashes ends its whole process and says nothing. Files that a process died over are decoded here
first, so that they cost their own tracks and no more.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# what a crash ends with; other signals come from people, or where memory runs out
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


def crashing(paths: Sequence[Path]) -> dict[Path, str]:
    """The audio files, of those given, whose decoder crashes, and the name of the signal that it dies of.

    As many processes are started as there are such files, and one more.
    """
    found: dict[Path, str] = {}
    left = list(dict.fromkeys(paths))
    while left:
        names = b"\0".join(map(os.fsencode, left))
        done = subprocess.run([sys.executable, "-m", __name__], input=names, capture_output=True, check=False)
        if -done.returncode not in CRASHES:
            break
        decoded = done.stdout.count(b"\n")
        found[left[decoded]] = signal.Signals(-done.returncode).name
        del left[: decoded + 1]
    return found


def main() -> None:
    """Decode the files named on standard input, with zero bytes between, and write an empty line after each."""
    from data_prep.audio import read_blocks

    for name in sys.stdin.buffer.read().split(b"\0"):
        try:
            for _ in read_blocks(Path(os.fsdecode(name))):
                pass
        except Exception:  # whoever prepares the track will say it
            pass
        print(flush=True)


if __name__ == "__main__":
    main()
