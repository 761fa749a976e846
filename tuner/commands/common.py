"""Arguments and output that several commands share."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.store import DEFAULT_TRACKING_URI, TRACKING_URI, default_uri

if TYPE_CHECKING:
    from rich.table import Table

    from data_prep.shards import Corpus

SECONDS_BETWEEN_LINES = 5.0


def add_shards(parser: argparse.ArgumentParser) -> None:
    """--shards: where prepared corpora are, a folder (Path) or a URI (str)."""
    text = "prepared corpora: a folder, or a URI such as s3://BUCKET/shards (%(default)s)"
    parser.add_argument("--shards", type=_place, default=Path("shards"), metavar="DIR|URI", help=text)


def _place(text: str) -> str | Path:
    return text if "://" in text else Path(text)


def open_prepared(names: Sequence[str], shards: str | Path, *, verify: bool = True) -> tuple[list["Corpus"], Path]:
    """Prepared corpora, with ``verify`` compared with their checksums, and the folder of this machine they lie in.

    Those in an object store are fetched, with a line of progress every few seconds. Refused where one is not there or
    damaged.
    """
    from data_prep.remote_corpora import at_hand
    from data_prep.shards import Corpus
    from data_prep.storage import Storage
    from tuner.prepared import refuse_unknown

    for name in names:
        refuse_unknown(name, shards)
    folder = at_hand(shards, names, verify=verify, progress=Transferred("fetched"))
    verify = verify and Storage.at(shards).is_local  # what was fetched has been compared
    return [Corpus.open(folder / name, verify=verify) for name in names], folder


class Transferred:
    """How much was moved to or from an object store: a line every few seconds on standard error, and one at the end."""

    def __init__(self, done: str) -> None:
        self.done = done
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Bytes done, bytes in all, of what; without bytes ``what`` is a sentence."""
        now = time.monotonic()
        if done >= total or now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            line = f"{self.done} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB of {what}" if total else what
            print(line, file=sys.stderr, flush=True)


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """--tracking-uri: the MLflow store."""
    # Not the default itself: it may hold a password.
    text = f"MLflow store (${TRACKING_URI}, else {DEFAULT_TRACKING_URI})"
    parser.add_argument("--tracking-uri", default=default_uri(), metavar="URI", help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: one document on standard output, nothing else."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_table(table: "Table") -> None:
    """A table on standard output; as wide as it needs where that is no terminal."""
    from rich.console import Console

    console = Console()
    Console(width=None if console.is_terminal else 140).print(table)
