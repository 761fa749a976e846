"""`mirtune evaluate`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.commands import common
from tuner.commands.common import open_prepared, print_json, print_table

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from rich.table import Table

    from trainables.checkpoint import Checkpoint
    from trainables.peaks import PeakRule

SUMMARY = "score a checkpoint on prepared corpora"
EXAMPLES = (
    ("the best registered model on the test split of its corpus", "mirtune evaluate groove/crnn --on groove"),
    ("on a corpus it never saw; the score is kept with the model", "mirtune evaluate groove/crnn --on mdb --split all"),
    ("the checkpoint that comes with mirtune, track by track", "mirtune evaluate default --on mdb --tracks"),
    ("a folder, with other thresholds", "mirtune evaluate best --on mdb --thresholds kick=0.4,hi-hat=0.25"),
    ("two corpora, as the reference study scored", "mirtune evaluate best --on mdb groove --plain --protocol segments"),
)
KEPT_SPLITS = ("test", "all")  # whose scores are kept with a model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_scoring(parser)
    parser.add_argument("--tracks", action="store_true", help="a row a track as well, within 50 ms")
    text = "do not keep a registered model's score, on a corpus that it never saw, with the model"
    parser.add_argument("--no-record", dest="record", action="store_false", help=text)
    common.add_json(parser)


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """What is scored on what and how: for every command that compares a checkpoint with annotations."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a folder, default, or a registered CORPUS/ARCHITECTURE"
    )
    parser.add_argument("--on", nargs="+", required=True, metavar="CORPUS", help="prepared corpora")
    text = "split of the corpora, or all; a wrong name lists them (%(default)s)"
    parser.add_argument("--split", default="test", metavar="NAME", help=text)
    text = "how to score; a wrong name lists the ways (whole tracks, where the corpus has them)"
    parser.add_argument("--protocol", metavar="NAME", help=text)
    common.add_thresholds(parser)
    parser.add_argument("--plain", action="store_true", help="the study's peak rule, not the checkpoint's own")
    common.add_gains(parser)
    common.add_shards(parser)
    common.add_tracking(parser)


def scoring_rule(checkpoint: "Checkpoint", arguments: argparse.Namespace) -> "PeakRule":
    """What picks peaks: the checkpoint's rule or, with --plain, the study's, and in either --thresholds."""
    from trainables.peaks import STUDY_RULE

    rule = STUDY_RULE if arguments.plain else checkpoint.peak_rule
    return common.with_thresholds(rule, arguments.thresholds, checkpoint.classes)


def scoring(arguments: argparse.Namespace) -> tuple["Checkpoint", Path, dict[str, Any]]:
    """The checkpoint, the folder of the corpora and how to score, as ``add_scoring`` asked; or Refused."""
    checkpoint, _, shards, named = _scoring(arguments)
    return checkpoint, shards, named


def _scoring(arguments: argparse.Namespace) -> tuple["Checkpoint", "ModelVersion | None", Path, dict[str, Any]]:
    """The same with the registered version that the checkpoint is, if it is one."""
    from trainables.evaluation import check_classes, check_scoring
    from tuner.registry import resolve_version

    gains_db = common.gains_of(arguments)
    corpora, shards = open_prepared(arguments.on, arguments.shards)
    for corpus in corpora:
        check_scoring(corpus, arguments.split, arguments.protocol)
    checkpoint, version = resolve_version(arguments.checkpoint, arguments.tracking_uri)
    for corpus in corpora:  # before the first is scored
        check_classes(checkpoint, corpus)
    rule = scoring_rule(checkpoint, arguments)
    named = {"split": arguments.split, "protocol": arguments.protocol, "gains_db": gains_db, "rule": rule}
    return checkpoint, version, shards, named


def run(arguments: argparse.Namespace) -> None:
    """Print scores: in JSON one object for one corpus, a list of them for several."""
    from trainables.evaluation import evaluate

    checkpoint, version, shards, named = _scoring(arguments)
    scores = [
        evaluate(checkpoint, corpus, shards, **named).to_dict(by_track=arguments.tracks) for corpus in arguments.on
    ]
    as_it_is = not arguments.plain and arguments.thresholds is None and arguments.average_gains == 1
    if version is not None and arguments.record and as_it_is and arguments.split in KEPT_SPLITS:
        _keep(version, scores, arguments)
    if arguments.json:
        print_json(scores[0] if len(scores) == 1 else scores)
        return
    for score in scores:
        print_table(table(score))
        if arguments.tracks:
            print_table(by_track(score))


def _keep(version: "ModelVersion", scores: Sequence[Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    """Keep scores on what the model never saw with it; where that fails it is told, and the scores stand."""
    from tuner.telling import first_line, say
    from tuner.zero_shot import is_zero_shot, record

    which = f"{arguments.checkpoint}, version {version.version}"
    for score in scores:
        if not is_zero_shot(version.tags["corpora"].split("+"), score["corpus"], arguments.shards):
            continue
        try:
            record(arguments.checkpoint, score, arguments.tracking_uri, version, arguments.shards)
        except Exception as error:
            say(f"the score on {score['corpus']} was not kept with {which} ({first_line(error)})")
        else:
            say(f"kept with {which}: its zero-shot score on {score['corpus']}")


def table(score: Mapping[str, Any]) -> "Table":
    """One corpus's score for people: a row a class and the two means; F1 within narrower tolerances at the right."""
    within = score["tolerance_ms"]
    shown = plain_table(f"{score['corpus']}, split {score['split']}, protocol {score['protocol']}, within {within} ms")
    shown.caption = remark(score)
    others = [of for of in score["tolerances"] if of["tolerance_ms"] != within]
    narrower = [f"{of['tolerance_ms']} ms" for of in others]
    for column in ("F1", *(["95 %"] if score["interval"] else []), "precision", "recall", "onsets", *narrower):
        shown.add_column(column, justify="right", no_wrap=True)

    def add(name: str, of: Mapping[str, Any], onsets: str, f1s: Sequence[float], style: str = "") -> None:
        interval = [_interval(of["interval"])] if score["interval"] else []
        rates = _rounded([of["precision"], of["recall"]])
        shown.add_row(name, *_rounded([of["f1"]]), *interval, *rates, onsets, *_rounded(f1s), style=style)

    for name, of in score["classes"].items():
        add(name, of, f"{of['onsets']:,}", [other["classes"][name]["f1"] for other in others])
    shown.add_section()
    onsets = sum(of["onsets"] for of in score["classes"].values())
    add("micro", {**score, "f1": score["micro_f1"]}, f"{onsets:,}", [of["micro_f1"] for of in others], "bold")
    macro = {"f1": score["macro_f1"], "interval": None, "precision": None, "recall": None}
    add("macro", macro, "", [of["macro_f1"] for of in others])
    return shown


def remark(score: Mapping[str, Any]) -> str:
    """What the columns mean, and what picked the peaks."""
    tracks = f"{score['tracks']:,} track{'s' * (score['tracks'] != 1)}"
    over = f"95 %: of F1, bootstrap over {tracks}" if score["interval"] else f"{tracks}: too few for an interval"
    rule = score["peak_rule"]
    numbers = {f"{of:g}" for of in rule["thresholds"]} or {f"{rule['threshold']:g}"}
    by = "tuned, the checkpoint's own" if score["calibrated"] else f"not tuned, thresholds {', '.join(sorted(numbers))}"
    return f"{over}; on the right: F1 by exact times\npeaks: {by}"


def by_track(score: Mapping[str, Any]) -> "Table":
    """A row a track: F1 of all and of each class, empty where the class is neither annotated nor heard."""
    from rich.markup import escape

    from data_prep.refused import printable

    shown = plain_table(f"{score['corpus']}, track by track, F1 within {score['tolerance_ms']} ms", "track")
    for column in ("onsets", "micro", *score["classes"]):
        shown.add_column(column, justify="right", no_wrap=True)
    for of in score["by_track"]:
        f1s = _rounded([of["micro_f1"], *of["classes"].values()])
        shown.add_row(escape(printable(of["id"])), f"{of['onsets']:,}", *f1s)
    return shown


def plain_table(title: str, first: str = "class") -> "Table":
    """A table of numbers with a title, narrow enough for most terminals."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    layout: dict[str, Any] = {"box": SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    shown = Table(title=escape(title), title_justify="left", caption_justify="left", **layout)
    shown.add_column(first, overflow="fold", min_width=7)
    return shown


def _rounded(numbers: Sequence[float | None]) -> list[str]:
    """Three decimals; empty where there is no number, as for a class that does not occur."""
    return ["" if number is None else f"{number:.3f}" for number in numbers]


def _interval(of: Sequence[float] | None) -> str:
    return "" if of is None else "–".join(_rounded(of))
