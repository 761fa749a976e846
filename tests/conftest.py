"""Fixtures for every test: golden numbers, real data where it is present, synthetic drums, a small corpus."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from miniature import drum_hits, write_mdb_track

from data_prep.corpora import PrepOptions
from data_prep.job import prepare

settings.register_profile("mirtune", deadline=None)  # other work on the machine is no failure
settings.load_profile("mirtune")
torch.set_num_threads(1)  # small tensors: threads only wait for each other

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings beside the project."""
    if not SHARED.is_dir():
        pytest.skip("no shared/ beside the project")
    return SHARED


@pytest.fixture
def golden():
    """Load a file of golden numbers by its name."""
    return lambda name: np.load(DATA / f"{name}.npz")


@pytest.fixture(scope="session")
def mdb_folder(tmp_path_factory) -> Path:
    """A miniature of MDB Drums: four training, two validation, two test tracks of nine seconds."""
    folder = tmp_path_factory.mktemp("mdb") / "MDB Drums"
    for seed, name in enumerate(("Punk", "Disco", "Gospel", "Reggae", "Beatles", "Grunge", "Rock", "Hendrix")):
        write_mdb_track(folder, name, *drum_hits(seed))
    return folder


@pytest.fixture
def source(mdb_folder, tmp_path) -> Path:
    """A copy of the miniature to change."""
    return shutil.copytree(mdb_folder, tmp_path / "source")


@pytest.fixture(scope="session")
def shards(mdb_folder, tmp_path_factory) -> Path:
    """The miniature, prepared; tests that damage it copy it first."""
    folder = tmp_path_factory.mktemp("prepared") / "shards"
    prepare("mdb", source=mdb_folder, shards=folder, options=PrepOptions(workers=1))
    return folder
