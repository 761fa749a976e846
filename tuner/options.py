"""What a sweep is asked to do, and what of that it keeps for the day it goes on."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner import store
from tuner.sweep_folder import SweepFile
from tuner.telling import safe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


# A sweep that goes on must have these as it began, else its results would not go together.
FIXED = (
    *("corpora", "architecture", "task", "recipe", "max_epochs", "batch_size", "seed", "precision", "scheduler"),
    *("grace_epochs", "points", "narrow", "corpus_power"),
)
KEPT = ("trials", "shards", "cpus_per_trial", "gpus_per_trial", "at_once", "max_failures", "tracking_uri")


@dataclass(frozen=True)
class SweepOptions:
    """What to search and with what; None means: decided by what the cluster has."""

    corpora: tuple[str, ...]
    architecture: str
    trials: int = 15
    max_epochs: int = 100
    batch_size: int | None = None
    shards: str | Path = "shards"  # a folder, or a URI
    seed: int = 0
    scheduler: str = "none"
    grace_epochs: int = 10  # before which no scheduler stops a trial: early ranks hardly predict the final ones
    points: str = ""  # a file with, or a corpus whose best models have, the first trials' hyperparameters
    gpus_per_trial: float | None = None
    cpus_per_trial: int = 1
    at_once: int | None = None  # trials at a time; as many as the cluster holds
    max_failures: int = 3  # times that a trial goes on after its process or machine is lost
    time_budget_s: float | None = None
    tracking_uri: str = field(default_factory=store.default_uri, repr=False)
    storage: str = "results/sweeps"  # a folder, or a URI that every node can reach
    name: str | None = None
    resume: bool = False  # go on with the sweep of that name
    task: str = "drum_onsets"
    recipe: str = "study"  # what training begins with and a search may choose of it
    precision: str = "auto"
    corpus_power: float = 1.0  # corpora of a union come in proportion to their windows to this power
    profile: bool = False  # write where the trials' time went
    narrow: Mapping[str, Sequence[Any]] = field(
        default_factory=dict
    )  # hyperparameter -> the only values to choose from

    def __post_init__(self) -> None:
        if not 0 <= self.corpus_power <= 1:
            raise Refused(
                f"--corpus-power {self.corpus_power:g}: expected 0 (every corpus comes as often) to 1 (every window "
                "does)"
            )

    @property
    def command(self) -> str:
        """The command line of the same search; where shards, storage and tracking are is each user's own."""
        words: list[Any] = ["mirtune sweep --corpus", *sorted(self.corpora), "--architecture", self.architecture]
        words += ["--trials", self.trials, "--max-epochs", self.max_epochs, "--seed", self.seed]
        words += ["--batch-size", self.batch_size] if self.batch_size else []
        words += ["--points", shlex.quote(self.points)] if self.points else []
        shown = ("recipe", "scheduler", "grace_epochs", "precision", "cpus_per_trial", "gpus_per_trial", "corpus_power")
        for name in shown:
            value = getattr(self, name)
            words += [f"--{name.replace('_', '-')}", value] if value != getattr(type(self), name) else []
        words += ["--profile"] if self.profile else []
        if self.narrow:
            words += ["--narrow", *(f"{key}={','.join(map(str, values))}" for key, values in self.narrow.items())]
        return " ".join(map(str, words))

    @property
    def beginning(self) -> dict[str, Any]:
        """What a sweep keeps of them in its folder, for JSON; an address that may hold a secret is left out."""
        kept = {name: getattr(self, name) for name in (*FIXED, *KEPT)}
        kept |= {"corpora": sorted(self.corpora), "shards": location_of(self.shards)}
        kept |= {"narrow": {key: list(values) for key, values in self.narrow.items()}}
        kept |= {"tracking_uri": safe(_absolute(self.tracking_uri))}
        return kept


def options_of(given: Mapping[str, Any]) -> SweepOptions:
    """The options of what was given; with ``resume`` what was not given is as the sweep began.

    Refused where corpora or architecture are given neither way, or there is no name to go on with.
    """
    if given.get("resume"):
        folder = folder_of(given.get("storage", SweepOptions.storage), given.get("name"))
        began = SweepFile.load(folder)
        if began is not None:
            known = {of.name for of in fields(SweepOptions)}
            given = {**{key: of for key, of in began.options.items() if key in known}, **given}
            here = store.default_uri()
            if given["tracking_uri"] == safe(_absolute(here)):  # whose password is kept nowhere
                given["tracking_uri"] = here
    if missing := [word for word in ("corpora", "architecture", "trials") if word not in given]:
        words = ", ".join(f"--{word}".replace("corpora", "corpus") for word in missing)
        there = f"there is no sweep {given['name']!r} to go on with" if given.get("resume") else "a sweep needs more"
        raise Refused(f"{there}; to begin one, give {words} as well")
    narrow = {key: tuple(values) for key, values in dict(given.get("narrow", {})).items()}
    return SweepOptions(**{**given, "corpora": tuple(given["corpora"]), "narrow": narrow})


def _absolute(tracking_uri: str) -> str:
    """For whoever stands in another folder."""
    path = store.sqlite_path(tracking_uri)
    return tracking_uri if path is None else f"{store.SQLITE}{path.resolve()}"


def check_beginning(began: SweepFile, options: SweepOptions, checksums: Mapping[str, str]) -> None:
    """Refused where a sweep that is to go on began otherwise, or its corpora were prepared anew since."""
    now = options.beginning
    for name in FIXED:
        before = began.options.get(name, getattr(SweepOptions, name, None))  # earlier versions had no recipe
        if name == "batch_size" and now[name] is None:
            continue  # decided when it began
        if now[name] != before:
            what = f"--{name.replace('_', '-')}".replace("corpora", "corpus")
            raise Refused(
                f"sweep {options.name!r} was begun with {what} {_shown(before)} and cannot go on with "
                f"{_shown(now[name])}; leave {what} out, or give another --name"
            )
    for corpus, checksum in checksums.items():
        if began.manifests.get(corpus) != checksum:
            raise Refused(
                f"corpus {corpus!r} was prepared anew since sweep {options.name!r} was begun; give another --name, or "
                "the --shards that hold it as it was"
            )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "(none)"
    return "(none)" if value in (None, "", {}) else str(value)


def location_of(shards: str | Path) -> str:
    """Where shards are, for whoever stands in another folder."""
    return Storage.at(shards).location


def made_name(options: SweepOptions) -> str:
    """A name for a sweep that was given none: its corpora, its architecture and the time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return f"{'+'.join(sorted(options.corpora))}.{options.architecture}-{stamp}"


def folder_of(storage: str, name: str | None) -> Storage:
    """A sweep's folder; Refused where the name cannot be one."""
    if name is None:
        raise Refused("--resume needs the --name of the sweep that is to go on; each sweep prints it when it begins")
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot be a sweep's name; use letters, digits and . _ + -, a letter or digit first")
    return Storage.at(storage) / name
