"""`mirtune errors`."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.commands import common
from tuner.commands.common import print_json, print_table
from tuner.commands.evaluate import add_scoring, scoring

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY = "what a checkpoint's errors coincide with: tables and a picture"
EXAMPLES = (
    ("what the checkpoint that comes with mirtune gets wrong on mdb", "mirtune errors default --on mdb"),
    (
        "the best one registered for mdb, on two corpora, elsewhere",
        "mirtune errors mdb/crnn --on mdb groove --out results/errors-of-crnn",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_scoring(parser)
    text = "where errors.md, errors.csv, errors.json and errors.png go (%(default)s)"
    parser.add_argument("--out", type=Path, default=Path("results/errors"), metavar="DIR", help=text)
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the report, and say in short what it holds and where it is."""
    from data_prep.refused import printable
    from trainables.errors import find_errors
    from tuner.error_report import write_report

    checkpoint, shards, named = scoring(arguments)
    found = [asdict(find_errors(checkpoint, corpus, shards, **named)) for corpus in arguments.on]
    files = write_report(arguments.out, arguments.checkpoint, found)
    if arguments.json:
        print_json({"checkpoint": arguments.checkpoint, "corpora": found, "files": files})
        return
    for errors in found:
        for error in ("false_alarms", "misses"):
            print_table(table(errors, error))
    print("\n".join(printable(f"{name}: {path}") for name, path in files.items()))


def table(errors: Mapping[str, Any], error: str) -> "Table":
    """The false alarms or the misses on one corpus: a row a class, a column a kind."""
    from tuner.commands.evaluate import plain_table
    from tuner.error_report import KINDS, WORDS

    title = f"{errors['corpus']}, split {errors['split']}: {WORDS[error].lower()} within {errors['tolerance_ms']} ms"
    shown = plain_table(title)
    for column in ("onsets", "all", *KINDS[error]):
        shown.add_column(column, justify="right", no_wrap=True)
    for name, of in errors["classes"].items():
        numbers = [of["onsets"], *(sum(n.values()) if isinstance(n, dict) else n for n in of[error].values())]
        shown.add_row(name, *(f"{number:,}" if number else "·" for number in numbers))
    return shown
