"""`mirtune evaluate`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.commands.common import add_json, add_shards, add_tracking, open_prepared, print_json, print_table

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY = "score a checkpoint on prepared corpora"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a registered CORPUS/ARCHITECTURE")
    parser.add_argument("--on", nargs="+", required=True, metavar="CORPUS", help="prepared corpora")
    text = "split of the corpora, or all; a wrong name lists them (%(default)s)"
    parser.add_argument("--split", default="test", metavar="NAME", help=text)
    text = "how to score; a wrong name lists the ways (whole tracks, where the corpus has them)"
    parser.add_argument("--protocol", metavar="NAME", help=text)
    add_shards(parser)
    add_tracking(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print scores: in JSON one object for one corpus, a list of them for several."""
    from trainables.evaluation import check_scoring, evaluate
    from tuner.registry import resolve

    corpora, shards = open_prepared(arguments.on, arguments.shards)
    for corpus in corpora:
        check_scoring(corpus, arguments.split, arguments.protocol)
    checkpoint = resolve(arguments.checkpoint, arguments.tracking_uri)
    named = {"split": arguments.split, "protocol": arguments.protocol}
    scores = [evaluate(checkpoint, corpus, shards, **named).to_dict() for corpus in arguments.on]
    if arguments.json:
        print_json(scores[0] if len(scores) == 1 else scores)
        return
    for score in scores:
        print_table(table(score))


def table(score: Mapping[str, Any]) -> "Table":
    """One corpus's score for people, a row per class and the two means."""
    from rich.table import Table

    title = (
        f"{score['corpus']}, split {score['split']}, protocol {score['protocol']}, within {score['tolerance_ms']} ms"
    )
    shown = Table(title=title)
    shown.add_column("class")
    for column in ("F1", "precision", "recall", "onsets"):
        shown.add_column(column, justify="right")
    for name, of in score["classes"].items():
        shown.add_row(name, *_rounded([of["f1"], of["precision"], of["recall"]]), str(of["onsets"]))
    shown.add_section()
    onsets = sum(of["onsets"] for of in score["classes"].values())
    shown.add_row("micro", *_rounded([score["micro_f1"], score["precision"], score["recall"]]), str(onsets))
    shown.add_row("macro", *_rounded([score["macro_f1"]]))
    return shown


def _rounded(numbers: Sequence[float | None]) -> list[str]:
    """Three decimals; empty where there is no number, as for a class that does not occur."""
    return ["" if number is None else f"{number:.3f}" for number in numbers]
