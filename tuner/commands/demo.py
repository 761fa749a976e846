"""`mirtune demo`."""

import argparse
from functools import partial
from pathlib import Path

SUMMARY = "the whole chain on grooves that mirtune generates and renders itself"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="folder of the corpus mdb, to evaluate on real recordings as well",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration."""
    from tuner.demo import demo

    demo(recordings=arguments.recordings, say=partial(print, flush=True))
