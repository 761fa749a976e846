"""One small sweep over the miniature corpus, on a real Ray and a real SQLite store."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.compute as compute
import pytest
from pyarrow import parquet

from data_prep.files import checksum
from data_prep.manifest import Moments
from data_prep.shards import TRACKS, Corpus
from tuner.cluster import ray_running
from tuner.options import SweepOptions
from tuner.sweep import SweepResult, sweep

# 7 heads do not divide a width of 24: a combination that only a trial finds out
TINY = {"patch_bands": (21,), "heads": (2,), "layers": (1,), "width": (24,)}


@pytest.fixture(scope="session")
def ray():
    with ray_running():
        yield


@dataclass(frozen=True)
class Swept:
    """A finished sweep and where it left things."""

    folder: Path
    tracking_uri: str
    options: SweepOptions
    result: SweepResult


@pytest.fixture(scope="session")
def swept(shards, ray, tmp_path_factory) -> Swept:
    """Four trials, of which this seed makes one go NaN and one raise."""
    folder = tmp_path_factory.mktemp("swept")
    uri = f"sqlite:///{folder}/results/mlflow.db"
    options = SweepOptions(
        corpora=("mdb",),
        architecture="vit",
        trials=4,
        max_epochs=2,
        batch_size=4,
        shards=shards,
        seed=0,
        tracking_uri=uri,
        storage=str(folder / "sweeps"),
        name="first",
        narrow={**TINY, "heads": (2, 7), "learning_rate": (0.01, 1e38)},
        profile=True,
    )
    return Swept(folder, uri, options, sweep(options))


@pytest.fixture
def without(shards, tmp_path):
    """Make a copy of the miniature corpus's shards in which one split has no tracks."""

    def copy(split: str) -> Path:
        folder = shutil.copytree(shards, tmp_path / "shards")
        corpus = Corpus.open(folder / "mdb")
        kept = corpus.table.filter(compute.not_equal(corpus.table["split"], split))
        parquet.write_table(kept, folder / "mdb" / TRACKS)
        of = corpus.manifest
        none = replace(of.splits[split], tracks=0, frames=0, windows=0, seconds=0.0, moments=Moments())
        none = replace(none, onsets=dict.fromkeys(none.onsets, 0))
        files = {**of.files, TRACKS: checksum(folder / "mdb" / TRACKS)}
        replace(of, splits={**of.splits, split: none}, files=files).save(folder / "mdb")
        return folder

    return copy


@pytest.fixture(scope="session")
def recording(mdb_folder) -> Path:
    return next(mdb_folder.glob("audio/*/*.wav"))


@pytest.fixture
def document(capsys):
    """The one JSON document on standard output."""
    return lambda: json.loads(capsys.readouterr().out)
