"""`mirtune pull`."""

import argparse
from pathlib import Path

from data_prep.refused import printable
from tuner.commands.common import add_tracking

SUMMARY = "copy the best registered checkpoint into a folder"
EXAMPLES = (
    ("the best CRNN that was trained on groove", "mirtune pull groove/crnn --out best"),
    ("of a model that learned from several corpora", "mirtune pull groove+mdb/crnn --out best"),
    ("from a team's server", "mirtune pull groove/crnn --out best --tracking-uri http://127.0.0.1:5000"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="CORPUS/ARCHITECTURE", help="as in the leaderboard")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to make; an earlier pull is replaced"
    )
    add_tracking(parser)


def run(arguments: argparse.Namespace) -> None:
    """Pull a checkpoint."""
    from tuner.registry import pull

    folder = pull(arguments.name, arguments.out, arguments.tracking_uri)
    print(printable(f"{arguments.name} is in {folder}; README.md there says what it is and how to use it"))
