"""`mirtune sweep`."""

import argparse
import re
from typing import TYPE_CHECKING, Any

from trainables.config import PRECISIONS, RECIPE_NAMES
from tuner.commands.common import print_json
from tuner.options import SweepOptions, options_of

if TYPE_CHECKING:
    from tuner.sweep import SweepResult

SUMMARY = "search one architecture's hyperparameters on one or more corpora"
EXAMPLES = (
    (
        "15 configurations of the CRNN on the prepared corpus mdb, each trained for 30 epochs at most",
        "mirtune sweep --corpus mdb --architecture crnn --trials 15 --max-epochs 30",
    ),
    (
        "what that would take: trials, epochs, time; nothing is started",
        "mirtune sweep --corpus mdb --architecture crnn --trials 15 --max-epochs 30 --dry-run",
    ),
    (
        "two corpora at once, poor trials stopped early, under a name to go on with",
        "mirtune sweep --corpus mdb groove --architecture crnn --trials 50 --scheduler asha --name both",
    ),
    ("go on with it, after Ctrl-C or a crash, with the options it began with", "mirtune sweep --name both --resume"),
    (
        "some hyperparameters held, for at most two hours and a half",
        "mirtune sweep --corpus mdb --architecture rnn --trials 99 --narrow hidden=72,144 unit=gru --time-budget 2h30m",
    ),
)
STOPPED = ""  # the sweep says itself how it goes on
_UNITS_S = {"h": 3600, "m": 60, "s": 1, "": 1}


def choices(text: str) -> tuple[str, tuple[Any, ...]]:
    """NAME=VALUE[,VALUE...] with whole numbers, numbers or words."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE[,VALUE...]")
    return name, tuple(scalar(value) for value in values.split(","))


def scalar(text: str) -> Any:
    """A whole number, a number, true or false, or the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def duration_s(text: str) -> float:
    """Seconds of "90m", "2h30m", "45s" or "3600"."""
    if not re.fullmatch(r"(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s?)?", text) or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; expected for example 90m, 2h30m or 3600 (seconds)")
    return sum(float(number) * _UNITS_S[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([hms]?)", text))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; what is not given is absent, so that --resume can tell."""
    of = SweepOptions
    parser.argument_default = argparse.SUPPRESS
    begins = "required where a sweep begins"
    add = parser.add_argument_group("what is searched").add_argument
    add("--corpus", nargs="+", dest="corpora", metavar="NAME", help=f"prepared corpora to train on; {begins}")
    add("--architecture", metavar="NAME", help=f"a wrong one lists the names; {begins}")
    add("--trials", type=int, metavar="N", help=f"configurations to try; {begins}, and may be more where it goes on")
    text = "what training begins with and a search may choose of it: the study's, or ours for real music"
    add("--recipe", choices=RECIPE_NAMES, help=f"{text} (default {of.recipe})")
    text = "begin with known hyperparameters: a JSON file, or a corpus whose registered models have them"
    add("--points", metavar="FILE|CORPUS", help=text)
    text = "take a hyperparameter, or a number of the recipe's, from these values only: hidden=72,144 music_share=0"
    add("--narrow", nargs="+", type=choices, metavar="NAME=V[,V]", help=text)
    add("--seed", type=int, metavar="N", help=f"of search and training (default {of.seed})")

    add = parser.add_argument_group("how trials train").add_argument
    add("--max-epochs", type=int, metavar="N", help=f"per trial (default {of.max_epochs})")
    text = "windows in a batch (default 128 on a GPU, 16 on a CPU; 32 by the recipe mirtune)"
    add("--batch-size", type=int, metavar="N", help=text)
    text = "none, or asha: from --grace-epochs on, at each doubling, stop the half with the higher validation loss"
    add("--scheduler", metavar="NAME", help=f"{text} (default {of.scheduler})")
    add("--grace-epochs", type=int, metavar="N", help=f"before which asha stops no trial (default {of.grace_epochs})")
    text = "of a union: corpora come in proportion to their windows to this power, from 0, in equal shares, to 1"
    add("--corpus-power", type=float, metavar="P", help=f"{text}, every window once an epoch (default)")
    text = f"auto: bf16 where the device has units for it (default {of.precision})"
    add("--precision", choices=PRECISIONS, help=text)

    add = parser.add_argument_group("machines and time").add_argument
    text = "GPUs for each trial, may be a fraction (default: as memory allows, four trials a GPU at most)"
    add("--gpus-per-trial", type=float, metavar="F", help=text)
    add("--cpus-per-trial", type=int, metavar="N", help=f"threads for each trial (default {of.cpus_per_trial})")
    text = "trials at a time (default: as many as the cluster holds); more lets a cluster grow that can"
    add("--at-once", type=int, metavar="N", help=text)
    text = "times that a trial goes on after its process or machine was lost"
    add("--max-failures", type=int, metavar="N", help=f"{text} (default {of.max_failures})")
    text = "end the search after 90m, 2h30m, ..., counted anew with each --resume; the best so far is registered"
    add("--time-budget", type=duration_s, dest="time_budget_s", metavar="TIME", help=text)
    add("--profile", action="store_true", help="measure where the trials' time goes: profile.json, profile.md, a table")

    add = parser.add_argument_group("where things are").add_argument
    add("--shards", metavar="DIR|URI", help=f"prepared corpora (default {of.shards})")
    add("--storage", metavar="DIR|URI", help=f"where sweeps have their folders (default {of.storage})")
    text = "MLflow store (default $MLFLOW_TRACKING_URI, else sqlite:///results/mlflow.db)"
    add("--tracking-uri", metavar="URI", help=text)

    add = parser.add_argument_group("to begin, to go on, to look before").add_argument
    add("--name", metavar="NAME", help="name of the sweep (default: corpora, architecture and the time)")
    text = "go on with the sweep of that --name, with the options it began with; begin it where there is none"
    add("--resume", action="store_true", help=text)
    text = "say what would be done and how long that takes at most; a few training steps are measured, no more"
    add("--dry-run", action="store_true", default=False, help=text)
    add("--json", action="store_true", default=False, help="print one JSON document and nothing else")


def run(arguments: argparse.Namespace) -> None:
    """Search, and say what came out."""
    from tuner.sweep import sweep
    from tuner.telling import in_words

    given = {name: value for name, value in vars(arguments).items() if name in SweepOptions.__dataclass_fields__}
    if "narrow" in given:
        given["narrow"] = dict(given["narrow"])
    options = options_of(given)
    if arguments.dry_run:
        dry_run(options, as_json=arguments.json)
        return
    result = sweep(options)
    if arguments.json:
        print_json(document(result))
        return
    best, metric = result.best, in_words(result.metric)
    states = [record.state for record in result.trials]
    lost = states.count("lost")
    counts = {"failed": states.count("failed"), "stopped early": states.count("stopped"), "lost": lost}
    counts["undone"] = result.undone - lost
    print(
        f"sweep {result.name}: {len(result.trials)} trials in {result.seconds:.0f} s"
        + "".join(f", {count} {what}" for what, count in counts.items() if count)
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


def dry_run(options: SweepOptions, *, as_json: bool) -> None:
    """Say what the sweep would do, and how long that takes at most; Refused where it could not begin."""
    from tuner.forecast import forecast, lines, to_begin

    plan = to_begin(options)
    found = forecast(options, plan)
    if as_json:
        print_json({"dry_run": True, "sweep": plan.name, "command": options.command, **found.to_dict()})
        return
    print("\n".join(lines(options, plan, found)))


def document(result: "SweepResult") -> dict[str, Any]:
    """What came out, for JSON."""
    best = result.best
    return {
        "sweep": result.name,
        "metric": result.metric,
        "seconds": result.seconds,
        "trials": [
            {
                name: getattr(of, name)
                for name in ("id", "number", "state", "epochs", "best", "best_epoch", "hyperparameters", "error")
            }
            for of in result.trials
        ],
        "undone": result.undone,
        "best": best.id,
        "validation": best.best,
        "checkpoint": result.checkpoint,
        "tests": result.tests,
        "registered": None if result.registered is None else vars(result.registered),
        "warning": result.warning,
    }
