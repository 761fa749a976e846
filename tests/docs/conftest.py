"""The folder in which the pages' code runs: what a reader has by then."""

import os
import sys
from pathlib import Path

import pytest

from data_prep.corpora import CORPORA
from search_spaces import SPACES
from trainables.models import MODELS
from trainables.tasks import TASKS
from tuner import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> Path:
    """song.wav, songs/, and recordings/ with annotations."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from songs import make_songs, write_annotation
    finally:
        sys.path.remove(str(ROOT / "examples"))
    folder = tmp_path_factory.mktemp("music")
    for song, onsets in make_songs(folder / "recordings", 6, seconds=9).items():
        write_annotation(song.with_suffix(".txt"), onsets)
    (folder / "songs").mkdir()
    for number, song in enumerate(sorted((folder / "recordings").glob("*.wav"))[:3]):
        (folder / "songs" / f"song-{number}.wav").write_bytes(song.read_bytes())
    (folder / "song.wav").write_bytes(song.read_bytes())
    (folder / "pitches").mkdir()
    for name in ("one", "two", "three", "four", "five"):
        (folder / "pitches" / f"{name}.txt").write_text("0.5 36\n")
    return folder


@pytest.fixture(scope="session")
def workspace(music, tmp_path_factory) -> Path:
    """That, the corpus `demo` prepared small, and the sweep `demo-vit`, finished: all pages use it together."""
    import shutil

    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(music, folder, dirs_exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for line in (
            "prep demo --hours 0.02 --workers 1",
            "sweep --corpus demo --architecture vit --trials 2 --max-epochs 2 --batch-size 8 --name demo-vit "
            "--narrow layers=2 width=72 heads=2 patch_bands=21 learning_rate=0.002",
        ):
            assert cli.main(line.split()) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def tables():
    """The tables that pages add to are as they were afterwards."""
    kept = [(table, dict(table)) for table in (CORPORA, MODELS, SPACES, TASKS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)
