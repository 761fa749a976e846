"""The `mirtune` command: parses, calls one function, prints. Exit status 0 done, 2 refused, 1 failed otherwise."""

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from data_prep.refused import Refused, printable
from data_prep.versions import version_of
from tuner.commands import calibrate, demo, errors, evaluate, leaderboard, prep, pull, show, sweep, transcribe

COMMANDS = (demo, prep, show, sweep, leaderboard, pull, evaluate, errors, calibrate, transcribe)
DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def parser() -> argparse.ArgumentParser:
    """The command line, one subcommand per module in `tuner.commands`."""
    top = argparse.ArgumentParser(prog="mirtune", description="Hyperparameter search for music-audio models.")
    top.add_argument("--version", action="version", version=f"mirtune {version_of('mirtune')}")
    top.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except Refused as refused:
        return _tell(str(refused), REFUSED)
    except KeyboardInterrupt:
        return _tell("stopped", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if arguments.verbose:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return _tell(f"no space left on the disk, for {error.filename or 'what is written'}; free some", REFUSED)
        if isinstance(error, OSError) and error.filename is not None:
            return _tell(f"{error.filename}: {error.strerror}; give another path or change what is there", REFUSED)
        if arguments.verbose:
            return FAILED
        text = str(error) if type(error).__module__.startswith("tuner.") else f"{type(error).__name__}: {error}"
        return _tell(f"{text} (mirtune -v {arguments.command} ... shows the traceback)", FAILED)
    return DONE


def _tell(sentence: str, status: int) -> int:
    print(f"mirtune: {printable(sentence)}", file=sys.stderr)
    return status


def command() -> NoReturn:
    """Run one command and leave with its exit status; SIGTERM (a machine that is taken away) ends it as Ctrl-C does."""
    terminated: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        terminated.append(number)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)
    status = main()
    if status == INTERRUPTED:  # at once: Ray crashes in its own farewell where it was stopped while it started
        sys.stdout.flush()
        os._exit(TERMINATED if terminated else status)
    sys.exit(status)


if __name__ == "__main__":
    command()
