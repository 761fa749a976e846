"""Registered models: the best checkpoint of each set of corpora and architecture, and how to get at one."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.files import write_atomically
from data_prep.refused import Refused
from tuner import store
from tuner.card import card
from tuner.download import CHECKPOINT_FILES, CHECKPOINT_FOLDER, downloaded
from tuner.model_versions import (
    BEST,
    answering,
    best_first,
    best_version,
    is_readable,
    model_name,
    slashed,
    versions,
)
from tuner.run_notes import model_note
from tuner.telling import in_words, markdown, safe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from trainables.checkpoint import Checkpoint

FILES = {*CHECKPOINT_FILES, "README.md"}
MOST_POINTS = 5
LONGEST_DESCRIPTION = 5000  # of a version; MLflow's databases take no more
DEFAULT = "default"
# What tells the checkpoint of one publication from another's.
SAME = (store.SWEEP_ID, "epoch", "validation")
_NAME = re.compile(r"(?P<corpora>[\w+-]+)(/(?P<architecture>\w+))?")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and whether it is now the best one."""

    name: str
    version: int
    is_best: bool


def register(
    client: "MlflowClient", name: str, run_id: str, tags: Mapping[str, str], folder: str = CHECKPOINT_FOLDER
) -> Registered:
    """Register the checkpoint in a ``folder`` of a run's artifacts, unless it is; the alias goes to the best version.

    The best one has the best validation score, of equal ones the first. ``tags`` has at least `validation` (the score)
    and `mode` ("max" or "min").
    """
    _create(client, name, tags)
    made = registered(client, name, run_id, tags)
    if made is None:
        source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
        made = client.create_model_version(name, source, run_id=run_id, tags=dict(tags))
    if not made.description:
        client.update_model_version(name, str(made.version), description=described(made))
    # Another sweep may move the alias between our looking and our moving it: look again after.
    while True:
        best = best_first(versions(client, name))[0]
        holder = best_version(client, name)
        if holder is not None and int(holder.version) == int(best.version):
            return Registered(name, int(made.version), int(best.version) == int(made.version))
        client.set_registered_model_alias(name, BEST, best.version)


def _create(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> None:
    """Make the registered model, or describe one that an earlier mirtune made."""
    from mlflow.exceptions import MlflowException

    about = {key: tags[key] for key in ("corpora", "architecture", "task")}
    note = model_note(name, about["task"], about["corpora"], about["architecture"])
    try:
        client.create_registered_model(name, tags=about, description=note)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if not client.get_registered_model(name).description:
            client.update_registered_model(name, description=note)


def described(version: "ModelVersion") -> str:
    """The description of a version in the registry: its scores in a line, which lists show, and its card."""
    tags = version.tags
    test = f", test {float(tags['test']):.3f}" if "test" in tags else ""
    text = card(version, "best").partition("\n\n")[2]
    scored = f"{markdown(in_words(tags['metric']))}: validation {float(tags['validation']):.3f}{test}"
    return f"{scored}\n\n{text}"[:LONGEST_DESCRIPTION]


def registered(client: "MlflowClient", name: str, run_id: str, tags: Mapping[str, str]) -> "ModelVersion | None":
    """The version of that run's checkpoint with the same score, epoch and sweep; None where there is none."""
    same = [of for of in versions(client, name) if of.run_id == run_id]
    return next((of for of in same if all(of.tags.get(key) == tags.get(key) for key in SAME)), None)


def all_best(tracking_uri: str) -> "list[ModelVersion]":
    """The best version of every registered model, by name; none where the store is new."""
    store.check_uri(tracking_uri)
    if not store.exists(tracking_uri):
        return []
    with answering(tracking_uri) as client:
        names, token = [], None
        while True:
            page = client.search_registered_models(max_results=1000, page_token=token)
            names += [model.name for model in page]
            token = page.token
            if not token:
                break
        found = [best_version(client, name) for name in sorted(names)]
    return [version for version in found if version is not None and is_readable(version)]


def find(name: str, tracking_uri: str) -> "ModelVersion":
    """The best version of CORPUS/ARCHITECTURE (corpora joined by "+" in any order); Refused where there is none."""
    match = _NAME.fullmatch(name)
    if match is None or match["architecture"] is None:
        raise Refused(
            f"{name!r} is not the name of a registered model; expected CORPUS/ARCHITECTURE, for example demo/crnn"
        )
    wanted = model_name(match["corpora"].split("+"), match["architecture"])
    there = {version.name: version for version in all_best(tracking_uri)}
    if wanted not in there:
        raise Refused(
            f"no model {name!r} is registered in {safe(tracking_uri)}; "
            + (f"choose from {_listed(there.values())}" if there else "run `mirtune sweep` first")
        )
    return there[wanted]


def points(name: str, architecture: str, tracking_uri: str) -> list[dict[str, Any]]:
    """Hyperparameters of the registered versions of CORPUS[/ARCHITECTURE]: the best first, each once, 5 at most.

    Refused where none of that architecture is registered, or ``name`` is of another one.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise Refused(f"{name!r} names no registered models; expected CORPUS or CORPUS/ARCHITECTURE, for example demo")
    if match["architecture"] not in (None, architecture):
        raise Refused(f"{name!r} has hyperparameters of another architecture; expected {architecture}: name its corpus")
    wanted = model_name(match["corpora"].split("+"), architecture)
    store.check_uri(tracking_uri)
    found: list[dict[str, Any]] = []
    if store.exists(tracking_uri):
        with answering(tracking_uri) as client:
            for version in best_first(versions(client, wanted)):
                point = _point(version)
                if point and point not in found:
                    found.append(point)
    if not found:
        there = all_best(tracking_uri)
        raise Refused(
            f"no model of {match['corpora']!r} and {architecture!r} with hyperparameters is registered in "
            f"{safe(tracking_uri)}; " + (f"there are {_listed(there)}" if there else "run `mirtune sweep` first")
        )
    return found[:MOST_POINTS]


def _point(version: "ModelVersion") -> dict[str, Any] | None:
    """The hyperparameters of a version: numbers and words by name; None where it has something else."""
    try:
        point = json.loads(version.tags.get("hyperparameters", ""))
    except (ValueError, RecursionError):
        return None
    scalars = isinstance(point, dict) and all(isinstance(value, int | float | str) for value in point.values())
    return point if scalars else None


def _listed(of: "Iterable[ModelVersion]") -> str:
    return ", ".join(sorted(slashed(version) for version in of))


def pull(name: str, out: Path, tracking_uri: str | None = None) -> Path:
    """Put the best checkpoint of CORPUS/ARCHITECTURE into the folder ``out``, with a README.md; returns the folder.

    An earlier pull there is replaced; Refused where ``out`` holds anything else, the model is not registered, or what
    the store has is not whole. Without ``tracking_uri`` the store is `store.default_uri`.
    """
    uri = tracking_uri or store.default_uri()
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= FILES):
        raise Refused(f"{out} exists and is not an earlier pull; choose another folder for --out")
    version = find(name, uri)
    with write_atomically(out) as temporary, downloaded(version, uri) as folder:
        shutil.copytree(folder, temporary)
        (temporary / "README.md").write_text(card(version, out.name), encoding="utf-8")
    return out


def resolve(checkpoint: str, tracking_uri: str | None = None) -> "Checkpoint":
    """The checkpoint in a folder, the best one registered as CORPUS/ARCHITECTURE, or ``DEFAULT``: the package's own.

    Raises Refused where it is none of these, or the folder is incomplete. A folder of that name is `./default`.
    """
    return resolve_version(checkpoint, tracking_uri)[0]


def resolve_version(checkpoint: str, tracking_uri: str | None = None) -> "tuple[Checkpoint, ModelVersion | None]":
    """What ``resolve`` gives, and the registered version that it is; None for a folder and the package's own."""
    from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint

    if checkpoint == DEFAULT:
        if not DEFAULT_FOLDER.exists():
            raise Refused(
                "this mirtune comes without a checkpoint of its own; name one: a folder that `mirtune pull` made, or a "
                "registered CORPUS/ARCHITECTURE"
            )
        return Checkpoint.load(DEFAULT_FOLDER), None
    match = _NAME.fullmatch(checkpoint)
    if Path(checkpoint).exists() or match is None or match["architecture"] is None:
        return Checkpoint.load(Path(checkpoint)), None
    uri = tracking_uri or store.default_uri()
    version = find(checkpoint, uri)
    with downloaded(version, uri) as folder:
        return Checkpoint.load(folder), version
