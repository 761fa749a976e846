"""`mirtune calibrate`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.commands.common import (
    CHECKPOINT,
    add_gains,
    add_json,
    add_shards,
    add_tracking,
    gains_of,
    open_prepared,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

SUMMARY = "tune when a checkpoint takes an activation for an onset, and write it with the rule found"
EXAMPLES = (
    (
        "thresholds by class for the best model of mdb, on its validation tracks",
        "mirtune calibrate mdb/crnn --on mdb --out calibrated",
    ),
    (
        "half the way from 0.5 to the best thresholds, for use on other music",
        "mirtune calibrate best --on mdb groove --trust 0.5 --out careful",
    ),
)
COLUMNS = {"plain": "study's rule", "before": "before", "after": "after", "held_out": "held out"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT)
    parser.add_argument("--on", nargs="+", required=True, metavar="CORPUS", help="prepared corpora")
    text = "split of the corpora to tune on, or all; a wrong name lists them (%(default)s)"
    parser.add_argument("--split", default="validation", metavar="NAME", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make of the new checkpoint")
    text = "how far thresholds go from 0.5 to the best ones; less than 1 where use will be unlike it (%(default)g)"
    parser.add_argument("--trust", type=float, default=1.0, metavar="SHARE", help=text)
    add_gains(parser)
    add_shards(parser)
    add_tracking(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Tune, write the checkpoint, print F1 with and without; Refused where ``--out`` holds something else."""
    from dataclasses import replace

    from data_prep.refused import Refused, printable
    from trainables.checkpoint import CONFIG, WEIGHTS
    from trainables.config import check_between
    from trainables.evaluation import check_classes, check_scoring
    from trainables.recalibration import recalibrate
    from tuner.registry import resolve

    out: Path = arguments.out
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= {CONFIG, WEIGHTS}):
        raise Refused(f"{out} exists and is no checkpoint, or has a README.md; choose another folder for --out")
    gains_db = gains_of(arguments)
    check_between("--trust", arguments.trust, 0, 1)
    corpora, _ = open_prepared(arguments.on, arguments.shards)
    checkpoint = resolve(arguments.checkpoint, arguments.tracking_uri)
    for corpus in corpora:
        check_scoring(corpus, arguments.split, None)
        check_classes(checkpoint, corpus)
    found = recalibrate(checkpoint, corpora, arguments.split, gains_db, trust=arguments.trust)
    replace(checkpoint, peak_rule=found.rule).save(out)
    of_columns = {name: getattr(found, name) for name in COLUMNS}
    content = {
        "checkpoint": arguments.checkpoint,
        "out": str(out),
        "corpora": arguments.on,
        "split": arguments.split,
        "trust": arguments.trust,
        "tracks": found.tracks,
        "peak_rule": found.rule.to_dict(),
        **{name: None if of is None else _f1s(of, checkpoint.classes) for name, of in of_columns.items()},
    }
    if arguments.json:
        print_json(content)
        return
    print_table(table(content, found.rule.thresholds_of(len(checkpoint.classes))))
    shared = ", ".join(f"{name} {getattr(found.rule, name):g}" for name in ("around_frames", "delta", "apart_frames"))
    print(printable(f"{shared}; the checkpoint with this rule is in {out}"))


def _f1s(counts: "np.ndarray", classes: tuple[str, ...]) -> dict[str, Any]:
    """F1 of counts (K, 3): micro, macro, and by class."""
    from trainables.metrics import Rates, macro_f1, micro

    f1s = {name: Rates.of(row).f1 for name, row in zip(classes, counts, strict=True)}
    return {"micro_f1": micro(counts).f1, "macro_f1": macro_f1(counts), "classes": f1s}


def table(content: dict[str, Any], thresholds: tuple[float, ...]) -> "Table":
    """F1 for people: a row per class and the two means, a column per rule."""
    from rich.table import Table

    shown = Table(title=f"F1 on {' and '.join(content['corpora'])}, split {content['split']}, within 50 ms")
    shown.add_column("class")
    shown.add_column("threshold", justify="right")
    columns = {name: title for name, title in COLUMNS.items() if content[name] is not None}
    for title in columns.values():
        shown.add_column(title, justify="right")
    for name, threshold in zip(content["after"]["classes"], thresholds, strict=True):
        shown.add_row(name, f"{threshold:.3f}", *(f"{content[of]['classes'][name]:.3f}" for of in columns))
    shown.add_section()
    for mean in ("micro", "macro"):
        shown.add_row(mean, "", *(f"{content[of][f'{mean}_f1']:.3f}" for of in columns))
    return shown
