"""The corpora of a sweep as MLflow's dataset inputs: an entry a corpus and split, with what is in it and whence."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data_prep.refused import printable
from tuner.telling import safe

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from data_prep.manifest import Manifest
    from tuner.sweep_folder import SweepFile

CONTEXT = "mlflow.data.context"  # the tag by which MLflow shows what an input is used for
TRAINING = ("train", "validation")
# MLflow takes a dataset of one name and digest in a run once: the split has to be in the digest, of 36 characters.
DIGEST_CHARACTERS = 12


@dataclass(frozen=True)
class Input:
    """One split of a corpus, as a run uses it."""

    corpus: str
    split: str
    digest: str
    source: str  # where the prepared corpus lies
    schema: str
    profile: str

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other inputs of a run."""
        return self.corpus, self.digest


def inputs_of(file: "SweepFile") -> list[Input]:
    """Every split of the sweep's corpora that is trained on, validated on or can be tested on.

    Raises Refused or OSError where a corpus is not where it was.
    """
    from data_prep.manifest import CLEAN, SPLITS, Manifest
    from data_prep.remote_corpora import at_hand

    shards, corpora = str(file.options["shards"]), list(file.options["corpora"])
    folder, found = at_hand(shards, corpora), []
    for name in corpora:
        manifest = Manifest.load(folder / name)
        used = SPLITS if manifest.condition == CLEAN else ("train",)
        where = f"{shards.rstrip('/')}/{name}"
        found += [_input(name, split, manifest, where) for split in used if manifest.splits[split].tracks]
    return found


def log_inputs(client: "MlflowClient", run_id: str, inputs: Sequence[Input]) -> None:
    """Add inputs to a run, in one request; those that it has already stay as they are."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entries = []
    for of in inputs:
        kind = urlsplit(of.source).scheme or "local"
        source = json.dumps({"uri": of.source})
        dataset = Dataset(of.corpus, of.digest, kind, source, of.schema, of.profile)
        entries.append(DatasetInput(dataset, [InputTag(CONTEXT, of.split)]))
    if entries:
        client.log_inputs(run_id, datasets=entries)


def _input(name: str, split: str, manifest: "Manifest", where: str) -> Input:
    of = manifest.splits[split]
    profile: dict[str, Any] = {"split": split, "windows": of.windows, "tracks": of.tracks}
    profile |= {"hours": round(of.seconds / 3600, 3), "onsets": of.onsets, "condition": manifest.condition}
    profile |= {"features": manifest.features, "manifest": manifest.checksum}
    frames = {"dtype": "float16", "shape": [-1, manifest.bands]}, {"dtype": "uint8", "shape": [-1, len(of.onsets)]}
    features, targets = ([{"type": "tensor", "tensor-spec": spec}] for spec in frames)
    schema = json.dumps({"mlflow_tensorspec": {"features": json.dumps(features), "targets": json.dumps(targets)}})
    digest = f"{manifest.checksum[:DIGEST_CHARACTERS]}-{split}"
    source = printable(safe(where))
    return Input(name, split, digest, source, schema, json.dumps(profile))
