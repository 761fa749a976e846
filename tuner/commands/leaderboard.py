"""`mirtune leaderboard`."""

import argparse
import sys

from data_prep.refused import printable
from tuner.commands.common import add_json, add_tracking, print_json, print_table

SUMMARY = "best validation and test score per corpus and architecture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--corpus", nargs="+", default=[], metavar="NAME", help="only models trained on one of these")
    add_tracking(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the leaderboard."""
    from tuner.leaderboard import leaderboard, table

    rows = leaderboard(arguments.tracking_uri, arguments.corpus)
    if not rows:
        of = f" for {' or '.join(arguments.corpus)}" if arguments.corpus else ""
        others = sorted({row.corpus for row in leaderboard(arguments.tracking_uri)}) if of else []
        there = f"choose from {', '.join(others)}, or " if others else ""
        todo = f"{there}run mirtune sweep --corpus NAME --architecture NAME --trials N"
        print(printable(f"no model is registered{of} yet; {todo}"), file=sys.stderr)
    if arguments.json:
        print_json([row.to_dict() for row in rows])
    elif rows:
        print_table(table(rows))
