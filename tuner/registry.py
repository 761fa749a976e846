"""Registered models: the best checkpoint of each set of corpora and architecture, and how to get at one."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_prep.files import write_atomically
from data_prep.refused import Refused
from tuner import store
from tuner.tracking import first_line, in_words, safe
from tuner.trial import CHECKPOINT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from trainables.checkpoint import Checkpoint

BEST = "best"  # the alias
FILES = {"model.safetensors", "config.json", "README.md"}
_NAME = re.compile(r"(?P<corpora>[\w+-]+)/(?P<architecture>\w+)")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and whether it is now the best one."""

    name: str
    version: int
    is_best: bool


def model_name(corpora: Iterable[str], architecture: str) -> str:
    """The registered name: corpora sorted and joined by "+", a dot, the architecture."""
    return f"{'+'.join(sorted(corpora))}.{architecture}"


def register(client: "MlflowClient", name: str, run_id: str, tags: Mapping[str, str]) -> Registered:
    """Register the checkpoint in a run's artifacts; the alias moves only to a better validation score.

    ``tags`` has at least `validation` (the score) and `mode` ("max" or "min").
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={key: tags[key] for key in ("corpora", "architecture", "task")})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{CHECKPOINT_FOLDER}"
    made = client.create_model_version(name, source, run_id=run_id, tags=dict(tags))
    holder = best_version(client, name)
    sign = 1 if tags["mode"] == "max" else -1
    is_best = holder is None or sign * float(tags["validation"]) > sign * float(holder.tags["validation"])
    if is_best:
        client.set_registered_model_alias(name, BEST, made.version)
    return Registered(name, int(made.version), is_best)


def best_version(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that holds the alias, or None where the model or the alias is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, BEST)
    except MlflowException as error:
        # The SQLite store answers a missing alias with INVALID_PARAMETER_VALUE.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def all_best(tracking_uri: str) -> "list[ModelVersion]":
    """The best version of every registered model, by name; none where the store is new."""
    store.check_uri(tracking_uri)
    if not store.exists(tracking_uri):
        return []
    with _answering(tracking_uri) as client:
        names = sorted(model.name for model in client.search_registered_models(max_results=1000))
        versions = [best_version(client, name) for name in names]
    return [version for version in versions if version is not None and "architecture" in version.tags]


def find(name: str, tracking_uri: str) -> "ModelVersion":
    """The best version of CORPUS/ARCHITECTURE (corpora joined by "+" in any order); Refused where there is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Refused(
            f"{name!r} is not the name of a registered model; expected CORPUS/ARCHITECTURE, for example demo/crnn"
        )
    wanted = model_name(match["corpora"].split("+"), match["architecture"])
    versions = {version.name: version for version in all_best(tracking_uri)}
    if wanted not in versions:
        there = ", ".join(sorted(slashed(version) for version in versions.values()))
        raise Refused(
            f"no model {name!r} is registered in {safe(tracking_uri)}; "
            + (f"choose from {there}" if there else "run `mirtune sweep` first")
        )
    return versions[wanted]


def slashed(version: "ModelVersion") -> str:
    """CORPUS/ARCHITECTURE, as people type it."""
    return f"{version.tags['corpora']}/{version.tags['architecture']}"


def pull(name: str, out: Path, tracking_uri: str = store.DEFAULT_TRACKING_URI) -> Path:
    """Put the best checkpoint of CORPUS/ARCHITECTURE into the folder ``out``, with a README.md; returns the folder.

    An earlier pull there is replaced; Refused where ``out`` holds anything else or the model is not registered.
    """
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= FILES):
        raise Refused(f"{out} exists and is not an earlier pull; choose another folder for --out")
    version = find(name, tracking_uri)
    with write_atomically(out) as temporary, _downloaded(version, tracking_uri) as folder:
        shutil.copytree(folder, temporary)
        (temporary / "README.md").write_text(card(version, out.name), encoding="utf-8")
    return out


def resolve(checkpoint: str, tracking_uri: str = store.DEFAULT_TRACKING_URI) -> "Checkpoint":
    """The checkpoint in a folder, or the best one that is registered as CORPUS/ARCHITECTURE.

    Raises Refused where it is neither, or the folder is incomplete.
    """
    from trainables.checkpoint import Checkpoint

    if Path(checkpoint).exists() or _NAME.fullmatch(checkpoint) is None:
        return Checkpoint.load(Path(checkpoint))
    with _downloaded(find(checkpoint, tracking_uri), tracking_uri) as folder:
        return Checkpoint.load(folder)


def card(version: "ModelVersion", folder: str) -> str:
    """What the checkpoint is, how good, where from, and how to use it, in Markdown."""
    tags = version.tags
    corpora = " and ".join(tags["corpora"].split("+"))
    metric = in_words(tags["metric"])
    tests: Mapping[str, Mapping[str, Any]] = json.loads(tags.get("tests", "{}"))
    rows = [f"| {corpora} | validation | {float(tags['validation']):.3f} |"]
    rows += [
        f"| {corpus} | test, protocol {score['protocol']} | {score[tags['metric']]:.3f} |"
        for corpus, score in tests.items()
    ]
    made = "\n".join(f"- {key}: {tags[key]}" for key in ("sweep", "parameters", "trials", "epochs") if key in tags)
    return f"""# {slashed(version)}, version {version.version}

A mirtune checkpoint: `{tags["architecture"]}`, task `{tags["task"]}`, trained on {corpora}.

| corpus | split | {metric} |
| --- | --- | --- |
{chr(10).join(rows)}

{made}

Made by

    {tags["command"]}

Use it

    mirtune evaluate {folder} --on {tags["corpora"].split("+")[0]}
    mirtune transcribe AUDIO --checkpoint {folder} --out midi

`config.json` says how it was trained; `model.safetensors` holds the weights.
"""


@contextmanager
def _answering(tracking_uri: str) -> "Iterator[MlflowClient]":
    """A client; Refused in one sentence where the store does not answer."""
    client = None
    try:
        client = store.connect(tracking_uri)
        yield client
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"the tracking store {safe(tracking_uri)} does not answer ({first_line(error)}); check --tracking-uri"
        ) from error


@contextmanager
def _downloaded(version: "ModelVersion", tracking_uri: str) -> "Iterator[Path]":
    from mlflow import artifacts

    with TemporaryDirectory() as folder:
        with _answering(tracking_uri):
            path = artifacts.download_artifacts(artifact_uri=version.source, dst_path=folder, tracking_uri=tracking_uri)
        yield Path(path)
