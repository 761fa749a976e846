"""`mirtune leaderboard`."""

import argparse
import math
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.commands.common import add_tracking, print_json, print_table

if TYPE_CHECKING:
    from tuner.leaderboard_columns import Column, Rows

SUMMARY = "best validation and test score per corpus and architecture; every version or trial with its figures"
EXAMPLES = (
    ("the best model of each corpus and architecture", "mirtune leaderboard"),
    ("small ones first, for a page", "mirtune leaderboard --sort parameters --markdown"),
    ("models by their score on a corpus that they never saw", "mirtune leaderboard --sort zero_shot.mdb"),
    ("versions since a day, the oldest first", "mirtune leaderboard --all-versions --since 2026-11-01 --sort=-when"),
    ("every trial, for a spreadsheet", "mirtune leaderboard --trials --csv"),
)  # fmt: skip
MOST_ROWS = 100  # of a table that a person reads; CSV, JSON and Markdown have them all
MINOR = 9  # columns of that rank are not missed
WIDTH = 140  # where the output is no terminal, as print_table has it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    which = parser.add_argument_group("which rows")
    which.add_argument("--corpus", nargs="+", default=[], metavar="NAME", help="only models trained on one of these")
    which.add_argument("--architecture", nargs="+", default=[], metavar="NAME", help="only these")
    which.add_argument("--task", nargs="+", default=[], metavar="NAME", help="only models of these tasks")
    text = "only those with this validation score or a better one"
    which.add_argument("--min-score", type=float, metavar="SCORE", help=text)
    text = "only models that are no larger"
    which.add_argument("--max-parameters", type=int, metavar="N", help=text)
    which.add_argument(
        "--since", metavar="DATE", help="only those made then or later: 2026-11-21, 2026-11-21T18:00 (UTC)"
    )
    of = which.add_mutually_exclusive_group()
    of.add_argument("--all-versions", action="store_true", help="every registered version, not only the best")
    of.add_argument("--trials", action="store_true", help="every trial of every sweep")
    shown = parser.add_argument_group("what is shown of them")
    text = "by this column, the best, latest or smallest first; --sort=-COLUMN turns it round (corpus, then score)"
    shown.add_argument("--sort", metavar="COLUMN", help=text)
    text = f"so many rows at most, 0 for all (tables {MOST_ROWS}, others all)"
    shown.add_argument("--limit", type=int, metavar="N", help=text)
    text = "these columns, in this order; a wrong name lists them (those that fit; CSV and JSON have all)"
    shown.add_argument("--columns", metavar="A,B,...", help=text)
    text = "zero-shot scores on these corpora alone (on all that there are)"
    shown.add_argument("--zero-shot", nargs="+", metavar="CORPUS", help=text)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    form.add_argument("--csv", action="store_true", help="print comma-separated values and nothing else")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table and nothing else")
    add_tracking(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the leaderboard."""
    from data_prep.refused import Refused
    from tuner import leaderboard as of
    from tuner.leaderboard_columns import chosen, columns_of, in_order

    if arguments.limit is not None and arguments.limit < 0:
        raise Refused(f"--limit {arguments.limit}; expected a number of rows, or 0 for all")
    if arguments.min_score is not None and math.isnan(arguments.min_score):
        raise Refused("--min-score nan; expected a score")
    if arguments.trials and (arguments.zero_shot or arguments.max_parameters is not None):
        raise Refused("--zero-shot and --max-parameters are about registered models; leave them or --trials out")
    kind: Any = of.TrialRow if arguments.trials else of.Row
    rows = _read(arguments)
    if not rows:
        _tell_none(arguments)
    rows = _filtered(rows, arguments)
    asked = [name.strip() for name in (arguments.columns or "").split(",") if name.strip()]
    # Where there are no rows nobody knows which scores there will be.
    columns = columns_of(rows, kind, arguments.zero_shot if rows else _scored_on([arguments.sort or "", *asked]))
    if arguments.sort:
        rows = in_order(rows, columns_of(rows, kind) if rows else columns, arguments.sort)
    some = chosen(columns, asked) if asked else None
    limit = arguments.limit
    if limit is None and not (arguments.json or arguments.csv or arguments.markdown):
        limit = MOST_ROWS
    _print(rows[: limit or None], columns, some, arguments, len(rows))


def _scored_on(columns: Sequence[str]) -> list[str]:
    """The corpora of the zero-shot columns among those that are named."""
    from tuner.zero_shot import PREFIX

    names = (name.removeprefix("-") for name in columns)
    return list(dict.fromkeys(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)))


def _read(arguments: argparse.Namespace) -> "Rows":
    from tuner.leaderboard import leaderboard, trials

    if arguments.trials:
        return trials(arguments.tracking_uri, arguments.corpus)
    return leaderboard(arguments.tracking_uri, arguments.corpus, all_versions=arguments.all_versions)


def _tell_none(arguments: argparse.Namespace) -> None:
    from tuner.telling import say

    of = f" for {' or '.join(arguments.corpus)}" if arguments.corpus else ""
    everything = argparse.Namespace(**{**vars(arguments), "corpus": []})
    others = sorted({row.corpus for row in _read(everything)}) if of else []
    there = f"choose from {', '.join(others)}, or " if others else ""
    what = "no trial is in the store" if arguments.trials else "no model is registered"
    todo = f"{there}run mirtune sweep --corpus NAME --architecture NAME --trials N"
    say(f"{what}{of} yet; {todo}")


def _filtered(rows: "Rows", arguments: argparse.Namespace) -> "Rows":
    from tuner.leaderboard import Row
    from tuner.leaderboard_columns import among, at_least, since
    from tuner.telling import say

    before = len(rows)
    rows = among(among(rows, "architecture", arguments.architecture), "task", arguments.task)
    if arguments.min_score is not None:
        rows = at_least(rows, arguments.min_score)
    if arguments.max_parameters is not None:
        rows = [row for row in rows if isinstance(row, Row) and row.parameters <= arguments.max_parameters]
    if arguments.since is not None:
        rows = since(rows, arguments.since)
    if before and not rows:
        say(f"none of {before:,} rows is left by these filters; leave some out")
    return rows


def _print(
    rows: "Rows", columns: "list[Column]", some: "list[Column] | None", arguments: argparse.Namespace, of: int
) -> None:  # fmt: skip
    """Print rows in the form that was asked for; ``some`` columns alone, ``of`` how many rows."""
    from tuner.leaderboard_tables import as_csv, as_markdown, of_use

    if arguments.json:
        print_json([{column.name: column.value(row) for column in some} if some else row.to_dict() for row in rows])
    elif arguments.csv:
        sys.stdout.write(as_csv(rows, some or columns))
    elif arguments.markdown and rows:
        sys.stdout.write(as_markdown(rows, some or [*of_use(rows, columns), *_runs(rows, columns)]))
    elif rows and not arguments.markdown:
        _print_tables(rows, columns, some, arguments, of)


def _runs(rows: "Rows", columns: "list[Column]") -> "list[Column]":
    """The column of runs, where they are links."""
    return [column for column in columns if column.name == "run" and any(row.link for row in rows)]


def _print_tables(
    rows: "Rows", columns: "list[Column]", some: "list[Column] | None", arguments: argparse.Namespace, of: int
) -> None:  # fmt: skip
    from rich.console import Console

    from tuner.leaderboard_tables import tables, union_note, zero_shot_note
    from tuner.telling import safe, say

    console = Console()
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH
    shown, left = tables(rows, some or columns, width, asked=some is not None)
    for table in shown:
        print_table(table)
    kept = [column for column in some or columns if column not in left]
    for note in filter(None, (zero_shot_note(rows, kept), union_note(rows, kept))):
        say(note)
    missed = [column.name for column in left if column.rank < MINOR]
    if missed:
        say(f"no room for {', '.join(missed)}: a wider terminal, --columns or --csv shows them")
    if of > len(rows):
        say(f"{len(rows):,} of {of:,} rows: --limit N shows more, 0 all")
    if any(row.run for row in rows) and not any(row.link for row in rows):
        say(f"every run with its curves: mlflow ui --backend-store-uri {shlex.quote(safe(arguments.tracking_uri))}")
