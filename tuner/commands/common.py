"""Arguments and output that several commands share."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.store import DEFAULT_TRACKING_URI

if TYPE_CHECKING:
    from rich.table import Table


def add_shards(parser: argparse.ArgumentParser) -> None:
    """--shards: where prepared corpora are."""
    parser.add_argument(
        "--shards", type=Path, default=Path("shards"), metavar="DIR", help="prepared corpora (%(default)s)"
    )


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """--tracking-uri: the MLflow store."""
    text = "MLflow store (%(default)s)"
    parser.add_argument("--tracking-uri", default=DEFAULT_TRACKING_URI, metavar="URI", help=text)


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
