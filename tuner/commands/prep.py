"""`mirtune prep`."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.commands.common import add_shards, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from data_prep.shards import Manifest

SUMMARY = "turn a corpus into shards"
SECONDS_BETWEEN_LINES = 5.0
SHOWN_REASONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("corpus", metavar="CORPUS", help="name of the corpus; a wrong one lists the names")
    parser.add_argument("--source", type=Path, metavar="DIR", help="the corpus as downloaded")
    add_shards(parser)
    parser.add_argument(
        "--kits", type=Path, nargs="+", default=[], metavar="DIR", help="folders of kits to render with"
    )
    parser.add_argument(
        "--accompaniment", type=Path, metavar="DIR", help="General MIDI files to mix under what is rendered"
    )
    parser.add_argument("--hours", type=float, metavar="H", help="take part of the corpus")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of whatever is drawn (%(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (one a processor)")


class Progress:
    """A line every few seconds on standard error, and one at the end."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.last = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tracks done, tracks in all, what was just done."""
        now = time.monotonic()
        if done >= total or now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            ending = f" ({what})" if what else ""
            print(f"prepared {done} of {total} tracks, {now - self.began:.0f} s{ending}", file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> None:
    """Prepare a corpus."""
    from data_prep.corpora import PrepOptions
    from data_prep.job import prepare
    from data_prep.refused import Refused

    if arguments.hours is not None and not arguments.hours > 0:
        raise Refused(f"--hours {arguments.hours:g}: expected a number above 0, or no --hours for the whole corpus")
    if arguments.workers is not None and arguments.workers < 1:
        raise Refused(f"--workers {arguments.workers}: expected 1 or more, or no --workers for one a processor")
    options = PrepOptions(
        kits=tuple(arguments.kits),
        accompaniment=arguments.accompaniment,
        hours=arguments.hours,
        seed=arguments.seed,
        workers=arguments.workers,
    )
    began = time.monotonic()
    manifest = prepare(
        arguments.corpus, source=arguments.source, shards=arguments.shards, options=options, progress=Progress()
    )
    print_table(table(manifest))
    for entry in manifest.refused[:SHOWN_REASONS]:
        print(f"left out: {entry['reason']}", file=sys.stderr)
    if len(manifest.refused) > SHOWN_REASONS:
        more = len(manifest.refused) - SHOWN_REASONS
        print(f"and {more} more tracks; manifest.json lists all with reasons", file=sys.stderr)
    seconds, audio_s = time.monotonic() - began, sum(of.seconds for of in manifest.splits.values())
    print(f"{arguments.corpus} is ready in {arguments.shards / arguments.corpus} after {seconds:.0f} s", end="")
    print(f" ({audio_s / seconds:.0f} times real time)")


def table(manifest: "Manifest") -> "Table":
    """What each split holds, and how often each class occurs in it."""
    from rich.table import Table

    shown = Table(title=f"Corpus {manifest.corpus}")
    shown.add_column("split")
    for column in ("tracks", "hours", "left out", *manifest.classes):
        shown.add_column(column, justify="right")
    for split, of in manifest.splits.items():
        left_out = sum(entry["split"] == split for entry in manifest.refused)
        onsets = [f"{of.onsets[name]:,}" for name in manifest.classes]
        shown.add_row(split, str(of.tracks), f"{of.seconds / 3600:.2f}", str(left_out), *onsets)
    return shown
