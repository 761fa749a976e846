"""A sweep that has been checked: whatever cannot work is refused before anything starts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, check_known
from data_prep.storage import Storage
from tuner import store
from tuner.options import SweepOptions, folder_of, made_name
from tuner.prepared import open_corpus
from tuner.sweep_folder import SweepFile
from tuner.telling import say

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

    from trainables.config import Settings

HAVE_OPTIONS = {"batch_size", "max_epochs", "seed", "precision", "recipe", "corpus_power"}  # of their own


@dataclass(frozen=True)
class Plan:
    """A checked sweep: name, folder, space, first points, each corpus's checksum, and those with a test split.

    ``frame_bytes``: of the training and validation frames and their targets, as they lie on a GPU.
    """

    name: str
    folder: Storage
    space: "dict[str, Domain]"
    points: list[dict[str, Any]]
    checksums: dict[str, str]
    tested: tuple[str, ...]
    bands: int
    classes: int
    frame_bytes: int


def check(options: SweepOptions, began: SweepFile | None = None, *, verify: bool = True) -> Plan:
    """Refuse, without starting Ray, whatever cannot work, and tell where nothing is there to be mixed.

    ``began``: how a sweep began that goes on. ``verify``: compare the corpora with their checksums.
    """
    _check_numbers(options)
    store.check_uri(options.tracking_uri)
    from search_spaces import RECIPE_SPACES, SPACES, space_of
    from tuner.scheduler import SCHEDULERS

    check_known("architecture", options.architecture, sorted(SPACES))
    check_known("recipe", options.recipe, RECIPE_SPACES)
    check_known("scheduler", options.scheduler, sorted(SCHEDULERS))
    if not options.corpora or len(set(options.corpora)) < len(options.corpora):
        raise Refused(f"corpora {', '.join(options.corpora) or '(none)'}: name at least one, and each once")
    from data_prep.manifest import MUSIC, STEMS
    from data_prep.shards import bytes_a_frame
    from trainables.data import MIXED, check_fit
    from trainables.mixing import check_recipe
    from trainables.tasks import find_task
    from tuner.points import checked, own_points, read_points

    task = find_task(options.task)
    opened = {name: open_corpus(name, options.shards, verify=verify) for name in sorted(options.corpora)}
    mixed = [name for name, corpus in opened.items() if corpus.manifest.condition in MIXED]
    for name, corpus in opened.items():
        for split in ("train",) if name in mixed else ("train", "validation"):
            corpus.require(split)
    check_fit([corpus.manifest for corpus in opened.values()], task.targets)
    first = _first_settings(options)
    check_recipe(mixed, first)
    conditions = {corpus.manifest.condition for corpus in opened.values()}
    if first.augmentation.music_share and STEMS in conditions and MUSIC not in conditions:
        say("no music is mixed under the stems: none of the corpora is music (`mirtune prep music` makes one)")
    checksums = {name: corpus.checksum for name, corpus in opened.items()}
    tested = tuple(
        name for name, corpus in opened.items() if name not in mixed and corpus.manifest.splits["test"].tracks
    )
    name = options.name or made_name(options)
    folder = folder_of(options.storage, name)
    space = _space(space_of(options.architecture, options.recipe), options.narrow)
    _refuse_values(options)
    found = began.points if began else read_points(options.points, options.architecture, options.tracking_uri)
    if not began and not found:
        found = own_points(options.recipe, space)
    points = checked(found, space, options.points)
    manifests = [corpus.manifest for corpus in opened.values()]
    bands, classes = min(of.bands for of in manifests), len(manifests[0].classes)
    frame_bytes = sum(
        of.splits[split].frames * bytes_a_frame(of.bands, classes)
        for of in manifests
        for split in ("train", "validation")
    )
    return Plan(name, folder, space, points, checksums, tested, bands, classes, frame_bytes)


def _check_numbers(options: SweepOptions) -> None:
    for what, number in (
        ("trials", options.trials),
        ("epochs", options.max_epochs),
        ("CPUs per trial", options.cpus_per_trial),
        ("epochs of grace", options.grace_epochs),
        ("windows a batch", 1 if options.batch_size is None else options.batch_size),
        ("trials at once", 1 if options.at_once is None else options.at_once),
    ):
        if number < 1:
            raise Refused(f"a sweep of {number} {what} does nothing; ask for 1 or more")
    gpus = options.gpus_per_trial or 0.0
    if not 0 <= gpus < math.inf or (gpus > 1 and gpus != int(gpus)):
        raise Refused(f"--gpus-per-trial {gpus:g}: expected 0, a fraction or a whole number of GPUs")
    if options.max_failures < 0:
        raise Refused(f"--max-failures {options.max_failures}: expected 0 or more")
    if options.time_budget_s is not None and not 0 < options.time_budget_s < math.inf:
        raise Refused(f"a time budget of {options.time_budget_s:g} s: expected more than none")


def _first_settings(options: SweepOptions) -> "Settings":
    """The recipe with the first of each value that its settings were narrowed to; Refused where they do not fit."""
    from trainables.config import RECIPES, SETTING_NAMES

    firsts = {key: values[0] for key, values in options.narrow.items() if key in SETTING_NAMES}
    return RECIPES[options.recipe].with_values(firsts)


def _refuse_values(options: SweepOptions) -> None:
    """Refuse a value that a hyperparameter was narrowed to and that builds no configuration."""
    from trainables.config import SETTING_NAMES
    from trainables.models import MODELS

    settings = _first_settings(options)
    for key, values in options.narrow.items():
        for value in values:
            if key in SETTING_NAMES:
                settings.with_values({key: value})
            else:
                MODELS[options.architecture].config.from_dict({key: value})


def _space(space: "dict[str, Domain]", narrow: Mapping[str, Sequence[Any]]) -> "dict[str, Domain]":
    """``space`` with some hyperparameters narrowed to the values given; any other of training may be given values."""
    from ray import tune

    from trainables.config import SETTING_NAMES

    for key, values in narrow.items():
        if key not in SETTING_NAMES - HAVE_OPTIONS:
            check_known("hyperparameter", key, sorted(space))
        if not values:
            raise Refused(f"hyperparameter {key!r} is narrowed to no value at all; give one or more")
        space[key] = tune.choice(list(values))
    return space
