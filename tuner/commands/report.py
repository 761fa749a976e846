"""`mirtune report`."""

import argparse
import webbrowser
from dataclasses import asdict
from pathlib import Path

from tuner.commands.common import Transferred, add_json, print_json
from tuner.options import SweepOptions

SUMMARY = "a sweep as one page: curves, hyperparameters, trials, scores by class, examples, time, faults"
EXAMPLES = (
    ("the page of a sweep, in its folder", "mirtune report groove.crnn-20261121-160324"),
    ("open it in the browser", "mirtune report groove.crnn-20261121-160324 --open"),
    ("a sweep in an object store", "mirtune report night --storage s3://bucket/sweeps --out night.html"),
    ("as fast as can be, without listening to anything", "mirtune report night --no-examples"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("sweep", metavar="SWEEP", help="its name, as `mirtune sweep` printed it; it may still run")
    text = "where sweeps have their folders (%(default)s)"
    parser.add_argument("--storage", default=SweepOptions.storage, metavar="DIR|URI", help=text)
    text = "prepared corpora, for the example windows; an object store's are fetched (where they were when the sweep "
    text += "began, without fetching any)"
    parser.add_argument("--shards", metavar="DIR|URI", help=text)
    text = "the page (report.html in the sweep's folder; of an object store's, SWEEP.html here)"
    parser.add_argument("--out", type=Path, metavar="FILE.html", help=text)
    parser.add_argument("--no-examples", action="store_true", help="leave out the example windows")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the page, and say where it is."""
    from data_prep.refused import printable
    from tuner.report import report
    from tuner.telling import say

    made = report(
        arguments.sweep, storage=arguments.storage, shards=arguments.shards, out=arguments.out,
        examples=not arguments.no_examples, say=say, progress=Transferred("fetched"),
    )  # fmt: skip
    if arguments.open:
        webbrowser.open(made.path.resolve().as_uri())
    if arguments.json:
        print_json({**asdict(made), "path": str(made.path.resolve())})
        return
    if made.note and not arguments.no_examples:
        say(f"no example windows. {made.note}")
    trials = "1 trial" if made.facts["trials"] == 1 else f"{made.facts['trials']} trials"
    size = f"{made.size_bytes / 1e6:.1f} MB"
    print(printable(f"{made.path}: {trials}, {size}, made in {made.seconds:.0f} s"))
