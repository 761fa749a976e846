"""Fetching a registered checkpoint: its own files only, from the artifacts of its own run, as they were registered."""

import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data_prep.files import checksum
from data_prep.refused import Refused
from tuner.model_versions import answering, slashed
from tuner.telling import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion

CHECKPOINT_FOLDER = "checkpoint"  # among a run's artifacts
CHECKPOINT_FILES = ("model.safetensors", "config.json")
CHECKSUMS = "checksums"  # a tag: of the files, by name
# Where artifacts may lie; over others a store could make us fetch from anywhere.
ARTIFACT_SCHEMES = ("", "file", "mlflow-artifacts", "s3", "gs", "wasbs", "abfss", "hdfs")
_BELOW_RUN = re.compile(rf"/{CHECKPOINT_FOLDER}(/epoch-\d+)?")


@contextmanager
def downloaded(version: "ModelVersion", tracking_uri: str) -> "Iterator[Path]":
    """A folder with the files of a checkpoint and nothing else; Refused where they lie elsewhere or are damaged."""
    from mlflow import artifacts

    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        folder.mkdir()
        with answering(tracking_uri) as client:
            _check_source(version, client.get_run(str(version.run_id)).info.artifact_uri)
            for name in CHECKPOINT_FILES:
                of = f"{version.source}/{name}"
                artifacts.download_artifacts(artifact_uri=of, dst_path=str(folder), tracking_uri=tracking_uri)
        _check_files(version, folder)
        yield folder


def _check_source(version: "ModelVersion", artifacts_of_run: str) -> None:
    source = str(version.source)
    inside = source.startswith(artifacts_of_run) and _BELOW_RUN.fullmatch(source.removeprefix(artifacts_of_run))
    if not inside or urlsplit(source).scheme not in ARTIFACT_SCHEMES:
        raise Refused(
            f"version {version.version} of {slashed(version)} says that its files are in {safe(source)!r}; expected "
            f"{CHECKPOINT_FOLDER} among the artifacts of its run: whoever owns the store should delete that version"
        )


def _check_files(version: "ModelVersion", folder: Path) -> None:
    """Refused where the folder lacks a file, or one is another than was registered."""
    try:
        expected: Mapping[str, str] = dict(json.loads(version.tags.get(CHECKSUMS, "{}")))
    except (ValueError, TypeError, RecursionError):
        expected = {}
    for name in CHECKPOINT_FILES:
        path = folder / name
        if not path.is_file() or path.is_symlink() or expected.get(name) not in (None, checksum(path)):
            raise Refused(
                f"{name} of version {version.version} of {slashed(version)} is not the file that was registered; the "
                "store's artifacts are damaged: restore them, or publish again by `mirtune sweep --name NAME --resume`"
            )
