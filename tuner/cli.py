"""The `mirtune` command: parses, calls one function, prints.

Exit status: 0 done, 1 failed, 2 refused (what was asked cannot work), 130 and 143 interrupted by Ctrl-C and SIGTERM.
"""

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from data_prep.refused import Refused, printable
from tuner.commands import (
    calibrate,
    completion,
    demo,
    errors,
    evaluate,
    leaderboard,
    prep,
    pull,
    report,
    show,
    study,
    sweep,
    transcribe,
)
from tuner.parser import Parser
from tuner.telling import quiet

COMMANDS = (
    *(demo, prep, show, sweep, study, report, leaderboard, pull, evaluate),
    *(errors, calibrate, transcribe, completion),
)
DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
QUICK_START = """\
the usual order:
  mirtune demo                                      all of it in a few minutes
  mirtune prep mdb --source ~/mdb                   a corpus into shards
  mirtune show mdb                                  what is in it
  mirtune sweep --corpus mdb --architecture crnn \\
      --trials 15 --max-epochs 30                   search hyperparameters
  mirtune leaderboard                               what came out
  mirtune pull mdb/crnn --out best                  the best checkpoint
  mirtune transcribe song.wav --out midi            a song as MIDI
  mirtune COMMAND --help has the options of each, and examples.

exit status:
  0    done
  1    failed on the way; mirtune -v COMMAND ... shows the traceback
  2    refused: what was asked cannot work, and one sentence says why
  130  stopped by Ctrl-C, and 143 by SIGTERM; what can go on says how
"""


class Version(argparse._VersionAction):  # of which shtab knows that it takes nothing
    """--version, which is looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: Any) -> None:
        """Print it and leave."""
        from data_prep.versions import version_of

        print(f"mirtune {version_of('mirtune')}")
        parser.exit()


def parser() -> Parser:
    """The command line, one subcommand per module in `tuner.commands`."""
    top = Parser(prog="mirtune", description="Hyperparameter search for music-audio models.", below=QUICK_START)
    top.add_argument("--version", action=Version, help="show the version and exit")
    _add_manners(top, False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name, help=module.SUMMARY, description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            examples=getattr(module, "EXAMPLES", ()),
        )  # fmt: skip
        module.add_arguments(command)
        _add_manners(command, argparse.SUPPRESS)  # what is given before the command stands
        command.set_defaults(run=module.run, stopped=getattr(module, "STOPPED", "run the same command again"))
    return top


def _add_manners(parser: Parser, default: Any) -> None:
    quiet = "no progress; results, what is noted of them, warnings and errors remain"
    parser.add_argument("-q", "--quiet", action="store_true", default=default, help=quiet)
    parser.add_argument("-v", "--verbose", action="store_true", default=default, help="show the traceback of an error")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    top = parser()
    arguments = top.parse_args(argv)
    if arguments.command is None:
        top.print_help(sys.stderr)
        top.exit(REFUSED)
    try:
        with quiet(arguments.quiet):
            arguments.run(arguments)
        sys.stdout.flush()
    except Refused as refused:
        return _tell(str(refused), REFUSED)
    except KeyboardInterrupt:
        return _tell(f"stopped; {arguments.stopped}" if arguments.stopped else "stopped", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has seen enough
        _leave_pipe()
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


def _leave_pipe() -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command() -> NoReturn:
    """Run one command and leave with its exit status.

    SIGTERM (a machine that is taken away) ends it as Ctrl-C does: in order, and at once where it comes again. A sweep
    has its own way with both while it searches.
    """
    terminated: list[int] = []
    stops: list[int] = []

    def terminate(number: int, frame: object) -> None:
        terminated.append(number)
        signal.raise_signal(signal.SIGINT)

    def interrupt(number: int, frame: object) -> None:
        stops.append(number)
        if len(stops) > 1:
            os._exit(TERMINATED if terminated else INTERRUPTED)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, interrupt)
    try:
        status = main()
    except SystemExit as left:  # after --help, or an argument that does not fit
        status = left.code if isinstance(left.code, int) else FAILED
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_pipe()
    if status == INTERRUPTED:  # at once: Ray crashes in its own farewell where it was stopped while it started
        os._exit(TERMINATED if terminated else status)
    sys.exit(status)


if __name__ == "__main__":
    command()
