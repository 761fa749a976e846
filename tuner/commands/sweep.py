"""`mirtune sweep`."""

import argparse
from typing import Any

from trainables.config import PRECISIONS
from tuner.commands.common import add_shards, add_tracking
from tuner.options import SweepOptions

SUMMARY = "search one architecture's hyperparameters on one or more corpora"
_DEFAULTS = SweepOptions(corpora=(), architecture="")


def choices(text: str) -> tuple[str, tuple[Any, ...]]:
    """NAME=VALUE[,VALUE...] with whole numbers, numbers or words."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE[,VALUE...]")
    return name, tuple(scalar(value) for value in values.split(","))


def scalar(text: str) -> Any:
    """A whole number, a number, or the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("--corpus", nargs="+", required=True, metavar="NAME", help="prepared corpora to train on")
    add("--architecture", required=True, metavar="NAME", help="a wrong one lists the names")
    add("--trials", type=int, required=True, metavar="N", help="configurations to try")
    add("--max-epochs", type=int, default=_DEFAULTS.max_epochs, metavar="N", help="per trial (%(default)s)")
    add("--batch-size", type=int, metavar="N", help="windows in a batch (128 on a GPU, 16 on a CPU)")
    add(
        "--scheduler", default=_DEFAULTS.scheduler, metavar="NAME", help="none, or asha: stop weak trials (%(default)s)"
    )
    text = "take a hyperparameter from these values only, for example hidden=72,144"
    add("--narrow", nargs="+", type=choices, default=[], metavar="NAME=V[,V]", help=text)
    add("--seed", type=int, default=_DEFAULTS.seed, metavar="N", help="of search and training (%(default)s)")
    text = "auto: bf16 where the device has units for it (%(default)s)"
    add("--precision", choices=PRECISIONS, default=_DEFAULTS.precision, help=text)
    add(
        "--gpus-per-trial",
        type=float,
        metavar="F",
        help="may be a fraction (as memory allows, four trials a GPU at most)",
    )
    add("--cpus-per-trial", type=int, default=_DEFAULTS.cpus_per_trial, metavar="N", help="threads (%(default)s)")
    add_shards(parser)
    add_tracking(parser)
    add("--storage", default=_DEFAULTS.storage, metavar="PATH|URI", help="folder of the sweeps (%(default)s)")
    add("--profile", action="store_true", help="measure where the trials' time goes: profile.json, profile.md, a table")
    add("--name", metavar="NAME", help="name of the sweep (corpora, architecture and the time)")


def run(arguments: argparse.Namespace) -> None:
    """Search, and say what came out."""
    from tuner.sweep import sweep
    from tuner.tracking import in_words

    given = {**vars(arguments), "corpora": tuple(arguments.corpus), "narrow": dict(arguments.narrow)}
    result = sweep(SweepOptions(**{name: given[name] for name in SweepOptions.__dataclass_fields__ if name in given}))
    best, metric = result.best, in_words(result.metric)
    failed = sum(record.state == "failed" for record in result.trials)
    print(
        f"sweep {result.name}: {len(result.trials)} trials in {result.seconds:.0f} s"
        + (f", {failed} failed" if failed else "")
    )
    chosen = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in best.hyperparameters.items()
    )
    print(f"best: {best.name}, validation {metric} {best.best:.3f} in epoch {best.best_epoch} ({chosen})")
    for corpus, score in result.tests.items():
        print(f"test {metric} on {corpus}, protocol {score['protocol']}: {score[result.metric]:.3f}")
    if result.registered is not None:
        place = "now the best" if result.registered.is_best else "an earlier version stays the best"
        print(f"registered as {result.registered.name}, version {result.registered.version}: {place}")
    print(f"checkpoint: {result.checkpoint}")
    if result.profile is not None:
        from rich.console import Console

        from tuner.profile import table

        Console(width=100).print(table(result.profile))
        print(result.profile.summary)
