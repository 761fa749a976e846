"""What a sweep is asked to do, and what is refused before anything starts."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, check_known
from tuner import store

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

    from data_prep.shards import Corpus

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class SweepOptions:
    """What to search and with what; None means: decided by what the cluster has."""

    corpora: tuple[str, ...]
    architecture: str
    trials: int = 15
    max_epochs: int = 100
    batch_size: int | None = None
    shards: Path = Path("shards")
    seed: int = 0
    scheduler: str = "none"
    gpus_per_trial: float | None = None
    cpus_per_trial: int = 1
    tracking_uri: str = store.DEFAULT_TRACKING_URI
    storage: str = "results/sweeps"  # a folder, or a URI that every node can reach
    name: str | None = None
    task: str = "drum_onsets"
    precision: str = "auto"
    profile: bool = False  # write where the trials' time went
    narrow: Mapping[str, Sequence[Any]] = field(
        default_factory=dict
    )  # hyperparameter -> the only values to choose from

    @property
    def command(self) -> str:
        """The command line that does the same."""
        words: list[Any] = ["mirtune sweep --corpus", *sorted(self.corpora), "--architecture", self.architecture]
        words += ["--trials", self.trials, "--max-epochs", self.max_epochs, "--seed", self.seed]
        words += ["--batch-size", self.batch_size] if self.batch_size else []
        for name in ("scheduler", "precision", "cpus_per_trial", "gpus_per_trial"):
            value = getattr(self, name)
            words += [f"--{name.replace('_', '-')}", value] if value != getattr(type(self), name) else []
        words += ["--profile"] if self.profile else []
        if self.narrow:
            words += ["--narrow", *(f"{key}={','.join(map(str, values))}" for key, values in self.narrow.items())]
        return " ".join(map(str, words))


@dataclass(frozen=True)
class Plan:
    """A checked sweep: its name, its storage (absolute), its space, each corpus's checksum, those with a test split.

    ``frame_bytes``: of the training and validation frames and their targets, as they lie on a GPU.
    """

    name: str
    storage: str
    space: "dict[str, Domain]"
    checksums: dict[str, str]
    tested: tuple[str, ...]
    bands: int
    classes: int
    frame_bytes: int


def check(options: SweepOptions) -> Plan:
    """Refuse, without starting Ray, whatever cannot work."""
    for what, number in (
        ("trials", options.trials),
        ("epochs", options.max_epochs),
        ("CPUs per trial", options.cpus_per_trial),
        ("windows a batch", 1 if options.batch_size is None else options.batch_size),
    ):
        if number < 1:
            raise Refused(f"a sweep of {number} {what} does nothing; ask for 1 or more")
    gpus = options.gpus_per_trial or 0.0
    if not 0 <= gpus < math.inf or (gpus > 1 and gpus != int(gpus)):
        raise Refused(f"--gpus-per-trial {gpus:g}: expected 0, a fraction or a whole number of GPUs")
    store.check_uri(options.tracking_uri)
    from search_spaces import SPACES
    from tuner.scheduler import SCHEDULERS

    check_known("architecture", options.architecture, sorted(SPACES))
    check_known("scheduler", options.scheduler, sorted(SCHEDULERS))
    if not options.corpora or len(set(options.corpora)) < len(options.corpora):
        raise Refused(f"corpora {', '.join(options.corpora) or '(none)'}: name at least one, and each once")
    from data_prep.shards import bytes_a_frame
    from trainables.data import check_fit
    from trainables.tasks import find_task

    task = find_task(options.task)
    opened = {name: open_corpus(name, options.shards) for name in sorted(options.corpora)}
    for corpus in opened.values():
        for split in ("train", "validation"):
            corpus.require(split)
    check_fit([corpus.manifest for corpus in opened.values()], task.targets)
    checksums = {name: corpus.checksum for name, corpus in opened.items()}
    tested = tuple(name for name, corpus in opened.items() if corpus.manifest.splits["test"].tracks)
    name, storage = _name(options)
    space = _space(dict(SPACES[options.architecture]), options.narrow)
    _refuse_values(options)
    manifests = [corpus.manifest for corpus in opened.values()]
    bands, classes = manifests[0].bands, len(manifests[0].classes)
    frames = sum(of.splits[split].frames for of in manifests for split in ("train", "validation"))
    return Plan(name, storage, space, checksums, tested, bands, classes, frames * bytes_a_frame(bands, classes))


def refuse_unknown(corpus: str, shards: Path) -> None:
    """Refuse a corpus that lies prepared in ``shards`` under no such name; one the project knows may be prepared."""
    from data_prep.corpora import CORPORA
    from data_prep.manifest import MANIFEST

    prepared = sorted(path.parent.name for path in shards.glob(f"*/{MANIFEST}"))
    if corpus not in (*prepared, *CORPORA):
        listed = f"choose from {', '.join(prepared)}, or run" if prepared else "nothing is prepared there: run"
        raise Refused(f"unknown corpus {corpus!r} in {shards}; {listed} `mirtune prep` first")


def open_corpus(name: str, shards: Path) -> "Corpus":
    """A prepared corpus, by whatever name, its files compared with their checksums; Refused where there is none."""
    from data_prep.shards import Corpus

    refuse_unknown(name, shards)
    return Corpus.open(shards / name, verify=True)


def _name(options: SweepOptions) -> tuple[str, str]:
    """The sweep's name and its absolute storage; a name that is used there is refused."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = options.name or f"{'+'.join(sorted(options.corpora))}.{options.architecture}-{stamp}"
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot be a sweep's name; use letters, digits and . _ + -, a letter or digit first")
    if "://" in options.storage:
        from pyarrow import fs

        filesystem, folder = fs.FileSystem.from_uri(options.storage)
        used = filesystem.get_file_info(f"{folder}/{name}").type != fs.FileType.NotFound
        storage = options.storage
    else:
        storage = str(Path(options.storage).resolve())
        used = (Path(storage) / name).exists()
    if used:
        raise Refused(f"there is a sweep named {name!r} in {options.storage}; choose another --name")
    return name, storage


def _refuse_values(options: SweepOptions) -> None:
    """Refuse a value that a hyperparameter was narrowed to and that builds no configuration."""
    from trainables.config import Settings
    from trainables.models import MODELS

    settings = set(Settings.__dataclass_fields__)
    for key, values in options.narrow.items():
        for value in values:
            (Settings if key in settings else MODELS[options.architecture].config).from_dict({key: value})


def _space(space: "dict[str, Domain]", narrow: Mapping[str, Sequence[Any]]) -> "dict[str, Domain]":
    """``space`` with some hyperparameters narrowed to the values given."""
    from ray import tune

    for key, values in narrow.items():
        check_known("hyperparameter", key, sorted(space))
        if not values:
            raise Refused(f"hyperparameter {key!r} is narrowed to no value at all; give one or more")
        space[key] = tune.choice(list(values))
    return space
