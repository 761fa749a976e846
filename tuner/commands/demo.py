"""`mirtune demo`."""

import argparse
import sys
from pathlib import Path

from tuner.commands.common import add_json, print_json
from tuner.telling import is_quiet

SUMMARY = "the whole chain on grooves that mirtune generates and renders itself"
EXAMPLES = (
    ("everything, from preparing to transcribing, below the folder you are in", "mirtune demo"),
    ("and a score on real recordings", "mirtune demo --recordings ~/mdb"),
)


STOPPED = "prepared corpora stay; the same command begins the searches anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    text = "folder of the corpus mdb, to evaluate on real recordings as well"
    parser.add_argument("--recordings", type=Path, metavar="DIR", help=text)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration."""
    from tuner.demo import demo

    def tell(text: str) -> None:
        if not is_quiet():
            print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    shown = demo(recordings=arguments.recordings, say=tell)
    if arguments.json:
        print_json({key: str(of) if isinstance(of, Path) else of for key, of in vars(shown).items()})
    elif is_quiet():
        print(f"checkpoint: {shown.checkpoint}")
