"""Arguments and output that several commands share."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.store import DEFAULT_TRACKING_URI, TRACKING_URI, default_uri
from tuner.telling import Progress, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from data_prep.shards import Corpus
    from trainables.checkpoint import Checkpoint
    from trainables.peaks import PeakRule

CHECKPOINT = "a folder, a registered CORPUS/ARCHITECTURE, or default: the one that comes with mirtune"
GAIN_DB, MOST_GAINS = 6.0, 25  # the gains that are averaged reach from -GAIN_DB to GAIN_DB
WIDE = 250  # columns of a table that no terminal shows
MOST_TURNED = 6  # rows of a table that may become its columns


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
        if done >= total or now - self.last >= Progress.SECONDS_BETWEEN_LINES:
            self.last = now
            say(f"{self.done} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB of {what}" if total else what)


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """--tracking-uri: the MLflow store."""
    # Not the default itself: it may hold a password.
    text = f"MLflow store (${TRACKING_URI}, else {DEFAULT_TRACKING_URI})"
    parser.add_argument("--tracking-uri", default=default_uri(), metavar="URI", help=text)


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """--thresholds: in the place of the checkpoint's own; see rule_of."""
    text = "least activation of an onset: 0.3 for all classes, or kick=0.4,hi-hat=0.25 for some (the checkpoint's own)"
    parser.add_argument("--thresholds", metavar="T|CLASS=T,...", help=text)


def rule_of(checkpoint: "Checkpoint", arguments: argparse.Namespace) -> "PeakRule":
    """The checkpoint's peak rule with the thresholds that the user gave, if any; Refused where they do not fit."""
    return with_thresholds(checkpoint.peak_rule, arguments.thresholds, checkpoint.classes)


def with_thresholds(rule: "PeakRule", text: str | None, classes: Sequence[str]) -> "PeakRule":
    """A rule with other thresholds: "0.3" for every class, "kick=0.4,hi-hat=0.25" for these alone; None for none.

    Refused on an unknown class, one that is there twice, and what is no number from 0 to 1.
    """
    from data_prep.refused import Refused, check_known

    if text is None:
        return rule
    if "=" not in text:
        return replace(rule, threshold=_threshold(text), thresholds=())
    given: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        check_known("class", name, classes)
        if name in given:
            raise Refused(f"--thresholds {text!r} has {name} twice; give each class one threshold")
        given[name] = _threshold(number)
    own = zip(classes, rule.thresholds_of(len(classes)), strict=True)
    return replace(rule, thresholds=tuple(given.get(name, threshold) for name, threshold in own))


def _threshold(text: str) -> float:
    from data_prep.refused import Refused

    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise Refused(
            f"{text[:40]!r} is no threshold; expected a number from 0 to 1, as in 0.3 or kick=0.4,hi-hat=0.25"
        )
    return number


def add_gains(parser: argparse.ArgumentParser) -> None:
    """--average-gains: how many gains to listen with; see gains_of."""
    text = f"listen N times, with gains spread over +-{GAIN_DB:g} dB, and take the mean: N times as slow (%(default)s)"
    parser.add_argument("--average-gains", type=int, default=1, metavar="N", help=text)


def gains_of(arguments: argparse.Namespace) -> tuple[float, ...]:
    """The gains (dB) that activations are averaged over: (0.0,) for one."""
    from data_prep.refused import Refused

    count = arguments.average_gains
    if not 1 <= count <= MOST_GAINS:
        raise Refused(f"--average-gains {count}; expected 1 to {MOST_GAINS}")
    return (0.0,) if count == 1 else tuple(2 * GAIN_DB * number / (count - 1) - GAIN_DB for number in range(count))


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: one document on standard output, nothing else."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_table(table: "Table") -> None:
    """A table on standard output: whole where that is no terminal, else closer or turned where it does not fit."""
    from rich import box
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    if _width(table, console) > console.width:
        table.box, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1, 0, 0)
    if _width(table, console) > console.width and table.row_count <= MOST_TURNED:
        table = turned(table)
    console.print(table)


def _width(table: "Table", console: "Console") -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update_width(WIDE), table).maximum


def turned(table: "Table") -> "Table":
    """The same table with a column for each of its rows, whose titles are the first column's."""
    from rich import box
    from rich.table import Table

    shown = Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False)
    first, *others = table.columns
    shown.add_column(first.header)
    for cell in first.cells:
        shown.add_column(cell, justify="right")
    for column in others:
        shown.add_row(column.header, *column.cells)
    return shown
