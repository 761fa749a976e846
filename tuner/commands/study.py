"""`mirtune study`."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from trainables.config import PRECISIONS, RECIPE_NAMES
from tuner.commands.common import add_json, print_json, print_table
from tuner.commands.sweep import choices, duration_s
from tuner.options import SweepOptions
from tuner.telling import holds_secret

if TYPE_CHECKING:
    from tuner.studies import Studied, Study, StudyOptions

SUMMARY = "compare architectures, or corpora to train on, by a sweep for each"
EXAMPLES = (
    (
        "Every architecture on two corpora, 15 trials each; the same command goes on where it was stopped:",
        "mirtune study architecture --corpora enst_mdb groove --trials 15",
    ),
    (
        "What that would take, without running it:",
        "mirtune study architecture --corpora enst_mdb groove --trials 15 --dry-run",
    ),
    (
        "Two architectures, one hyperparameter given for both and one for one of them:",
        "mirtune study architecture --corpora demo --architectures crnn vit --trials 3 --max-epochs 3 "
        "--narrow layers=2 crnn.hidden=72",
    ),
    (
        "What unions of corpora are worth on each corpus, the small ones drawn more often than they are large:",
        "mirtune study corpora --architecture crnn --combinations demo groove demo+groove --on demo groove mdb "
        "--trials 5 --corpus-power 0.5",
    ),
)
OF_ARCHITECTURE = ("corpora", "architectures")
OF_CORPORA = ("architecture", "combinations", "on")
OF_BOTH = ("name", "out", "protocol", "reference", "json")
NOTES_WIDE = 120  # columns of the notes below a table where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; what is not given is absent, so that the command can be told again."""
    of = SweepOptions
    parser.argument_default = argparse.SUPPRESS
    parser.usage = (
        "%(prog)s architecture --corpora NAME [NAME ...]\n"
        "                     [--architectures NAME ...] [options]\n"
        "       %(prog)s corpora --architecture NAME --combinations NAME[+NAME] ...\n"
        "                     [--on NAME ...] [options]"
    )
    parser.add_argument("kind", choices=("architecture", "corpora"), help="what to compare")
    group = parser.add_argument_group("mirtune study architecture")
    text = "prepared corpora, a cell for each and each architecture; unions joined by +"
    group.add_argument("--corpora", nargs="+", metavar="NAME", help=text)
    group.add_argument("--architectures", nargs="+", metavar="NAME", help="those to compare (default all)")
    group = parser.add_argument_group("mirtune study corpora")
    group.add_argument("--architecture", metavar="NAME", help="the one that is trained")
    text = "what to train on: prepared corpora, and unions joined by +"
    group.add_argument("--combinations", nargs="+", metavar="NAME[+NAME]", help=text)
    text = "what to score each on: the test split, or all of a corpus without one (default: those trained on)"
    group.add_argument("--on", nargs="+", metavar="NAME", help=text)
    text = "corpora of a union come in proportion to their windows to this power, from 0, in equal shares, to 1"
    group.add_argument("--corpus-power", type=float, metavar="P", help=f"{text}, every window once an epoch (default)")
    group = parser.add_argument_group("the study")
    add = group.add_argument
    add("--name", metavar="NAME", help="what its sweeps' names begin with (default: what it compares)")
    add("--out", type=Path, metavar="DIR", help="where NAME_study.md, .csv, .json and figures go (default results)")
    add("--protocol", metavar="NAME", help="how to score: tracks or segments (default: whole tracks, where there are)")
    add("--reference", choices=("study",), help="show what the published study found beside it")
    add("--dry-run", action="store_true", help="show the cells, and the time they need, and run nothing")
    add_json(group)  # type: ignore[arg-type]
    add = parser.add_argument_group("each cell's sweep").add_argument
    add("--trials", type=int, metavar="N", help=f"configurations to try in each cell (default {of.trials})")
    add("--max-epochs", type=int, metavar="N", help=f"per trial (default {of.max_epochs})")
    add("--recipe", choices=RECIPE_NAMES, help=f"what training begins with (default {of.recipe})")
    text = "take a hyperparameter from these values only, in every architecture that has it, or in one: crnn.hidden=72"
    add("--narrow", nargs="+", type=choices, metavar="NAME=V[,V]", help=text)
    add("--batch-size", type=int, metavar="N", help="windows in a batch (default 128 on a GPU, 16 on a CPU)")
    add("--scheduler", metavar="NAME", help=f"none, or asha, which stops trials early (default {of.scheduler})")
    add("--grace-epochs", type=int, metavar="N", help=f"before which asha stops no trial (default {of.grace_epochs})")
    add("--seed", type=int, metavar="N", help=f"of search and training (default {of.seed})")
    add("--precision", choices=PRECISIONS, help=f"of the arithmetic (default {of.precision})")
    add("--gpus-per-trial", type=float, metavar="F", help="may be a fraction (default: as memory allows)")
    add("--cpus-per-trial", type=int, metavar="N", help=f"threads for each trial (default {of.cpus_per_trial})")
    add("--at-once", type=int, metavar="N", help="trials at a time (default: as many as the cluster holds)")
    text = "for each cell's search, 90m or 2h30m, counted anew when the study goes on"
    add("--time-budget", type=duration_s, dest="time_budget_s", metavar="TIME", help=text)
    add("--shards", metavar="DIR|URI", help=f"prepared corpora (default {of.shards})")
    add("--storage", metavar="DIR|URI", help=f"where sweeps have their folders (default {of.storage})")
    text = "MLflow store (default $MLFLOW_TRACKING_URI, else sqlite:///results/mlflow.db)"
    add("--tracking-uri", metavar="URI", help=text)


def study_options(arguments: argparse.Namespace) -> "StudyOptions":
    """What was asked for; Refused where something is missing or belongs to the other kind of study."""
    from search_spaces import SPACES
    from tuner.studies import ARCHITECTURE, StudyOptions

    given = vars(arguments)
    mine, others = (
        (OF_ARCHITECTURE, (*OF_CORPORA, "corpus_power")) if given["kind"] == ARCHITECTURE
        else (OF_CORPORA, OF_ARCHITECTURE)
    )  # fmt: skip
    for name in others:
        if name in given:
            other = "corpora" if given["kind"] == ARCHITECTURE else ARCHITECTURE
            raise Refused(f"--{name.replace('_', '-')} is of `mirtune study {other}`; leave it out")
    for name in mine[:1] if given["kind"] == ARCHITECTURE else mine[:2]:
        if name not in given:
            raise Refused(f"mirtune study {given['kind']} lacks --{name}; give it, as in mirtune study --help")
    unions = given["corpora"] if given["kind"] == ARCHITECTURE else given["combinations"]
    sweeps = {name: value for name, value in given.items() if name in SweepOptions.__dataclass_fields__}
    for name in ("corpora", "architecture", "name"):
        sweeps.pop(name, None)
    sweeps["narrow"] = dict(given.get("narrow", {}))
    architectures = (
        given.get("architectures", list(SPACES)) if given["kind"] == ARCHITECTURE else [given["architecture"]]
    )
    return StudyOptions(
        kind=given["kind"],
        unions=tuple(tuple(union.split("+")) for union in unions),
        architectures=tuple(architectures),
        sweeps=SweepOptions(corpora=(), architecture="", **sweeps),
        on=tuple(given.get("on", ())),
        protocol=given.get("protocol"),
        name=given.get("name", ""),
        out=given.get("out", Path("results")),
        reference="reference" in given,
        command=command_of(given),
    )


def command_of(given: Mapping[str, Any]) -> str:
    """The command line that goes on with a study, of what was given; without a store that has a password in it."""
    words = ["mirtune", "study", given["kind"]]
    known = {*OF_ARCHITECTURE, *OF_CORPORA, *OF_BOTH, *SweepOptions.__dataclass_fields__}
    for name, value in given.items():
        option = {"time_budget_s": "time-budget"}.get(name, name.replace("_", "-"))
        if name not in known or value is False or (name == "tracking_uri" and holds_secret(value)):
            continue
        words.append(f"--{option}")
        if name == "narrow":
            words += [f"{key}={','.join(map(str, values))}" for key, values in value]
        elif value is not True:
            words += (
                list(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else [str(value)]
            )
    return shlex.join(words)


def run(arguments: argparse.Namespace) -> None:
    """Run what is not done of the study, and show what it found."""
    from tuner.studies import check_study, how_to_go_on, run_study
    from tuner.study_cells import DONE
    from tuner.study_files import write_study
    from tuner.study_page import document
    from tuner.telling import say, warn

    dry, as_json = getattr(arguments, "dry_run", False), getattr(arguments, "json", False)
    study = check_study(study_options(arguments), verify=not dry)
    if dry:
        _show_plan(study, as_json)
        return
    written: list[Path] = []

    def tell(studied: "Studied") -> None:
        written[:] = write_study(studied)

    try:
        studied = run_study(study, tell)
    except BaseException as stopped:
        if not isinstance(stopped, Refused):
            with suppress(OSError, Refused):  # it must not hide why the study ended
                warn(how_to_go_on(study))
        raise
    if as_json:
        print_json(document(studied))
    else:
        _show(studied)
    say(f"written: {', '.join(map(str, written))}")
    if any(entry.state != DONE for entry in studied.entries):
        warn(how_to_go_on(study))
    if studied.failed:
        from tuner.sweep import SweepFailed

        named = ", ".join(entry.sweep for entry in studied.failed)
        ended = sum(entry.ended for entry in studied.entries)
        left = len(study.cells) - len(studied.failed) - ended
        others = f"; of the others {ended} ended, {left} did not" if left else "; the others ended" if ended else ""
        raise SweepFailed(f"{len(studied.failed)} of {len(study.cells)} cells failed: {named}{others}")


def _show(studied: "Studied") -> None:
    from rich.console import Console
    from rich.table import Table

    from tuner.study_tables import tables

    for shown in tables(studied):
        if isinstance(shown, Table):
            print_table(shown)
        else:
            Console(width=None if sys.stdout.isatty() else NOTES_WIDE).print(shown)


def _show_plan(study: "Study", as_json: bool) -> None:
    from tuner.study_plan import plan_table, planned, summary

    rows = planned(study)
    if as_json:
        print_json({"study": study.options.kind, "name": study.options.title, "cells": rows})
        return
    print_table(plan_table(study, rows))
    print(summary(rows))
