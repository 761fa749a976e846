"""A disk that fills up, under the sweep's folder or under the tracking store: what was there stays good."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from processes import processes
from servers import small_disk
from sweep_commands import Asked

from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from tuner.trial_folder import TrialFolder

__all__ = ["processes"]
pytestmark = pytest.mark.faults

EPOCHS = 12


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 8 MB."""
    if os.environ.get("CI") == "true" and os.geteuid() != 0:
        pytest.fail("a disk to fill can only be made by root: run the tests of faults as root")
    with small_disk(tmp_path / "disk", "8M") as folder:
        yield folder


@pytest.fixture
def asked(shards, tmp_path, disk) -> Asked:
    return Asked(shards, disk / "sweeps", f"sqlite:///{tmp_path}/mlflow.db", trials=6, epochs=EPOCHS)


def fill(disk: Path, left_bytes: int = 0) -> Path:
    """Take all space but some; the file that has to go to free it."""
    blocker = disk / "blocker"
    at = os.statvfs(disk)
    with blocker.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, at.f_bavail * at.f_frsize - left_bytes)
    return blocker


def says_full(asked: Asked, err: str) -> bool:
    """Whether the last line is what a sweep says whose folder's disk is full."""
    again = f"mirtune sweep --name x --storage {asked.storage} --resume"
    line = err.splitlines()[-1]
    begins = line.startswith(f"mirtune: no space left for {asked.folder} ([Errno 28] No space left on device")
    return begins and line.endswith(f"what is there is good: free some and go on with `{again}`")


def test_a_sweep_whose_disk_is_full_stops_and_goes_on_when_there_is_space(asked, processes, disk):
    blocker = fill(disk, left_bytes=900_000)  # two to four trials
    ended = processes.mirtune(*asked.beginning).end()
    assert ended.status == 2, ended
    assert says_full(asked, ended.err), ended
    assert not ended.out
    reached = asked.epochs_on_disk()
    assert 2 <= len(reached) < asked.trials
    for name, epoch in reached.items():
        folder = TrialFolder(Storage.at(asked.folder / name))
        progress, why = folder.latest()
        assert progress is not None
        assert not why
        assert len(progress.history) == epoch
        Checkpoint.load(asked.folder / name / progress.checkpoint)
    assert "RUNNING" not in {run.info.status for run in asked.runs()}

    still = processes.mirtune(*asked.resuming).end()  # as full as before
    assert still.status == 2, still
    assert says_full(asked, still.err), still
    assert asked.epochs_on_disk().keys() >= reached.keys()

    blocker.unlink()
    resumed = processes.mirtune(*asked.resuming).end()
    assert resumed.status == 0, resumed
    assert [record.epochs for record in asked.records()] == [EPOCHS] * asked.trials
    asked.check_folder()
    asked.check_runs(range(1, EPOCHS + 1))


def test_a_sweep_that_finds_no_space_at_all_leaves_nothing_in_the_way(asked, processes, disk):
    blocker = fill(disk)
    ended = processes.mirtune(*asked.beginning).end()
    assert ended.status == 2, ended
    (sentence,) = (line for line in ended.err.splitlines() if not line.startswith("starting Ray"))
    assert sentence.startswith("mirtune: no space left on the disk")
    assert str(asked.storage) in sentence
    blocker.unlink()
    begun = processes.mirtune(*replace(asked, trials=1, epochs=1).beginning).end()
    assert begun.status == 0, begun


def test_a_tracking_store_whose_disk_is_full_loses_what_a_resume_sends(asked, processes, disk, tmp_path):
    asked = replace(asked, storage=tmp_path / "sweeps", tracking_uri=f"sqlite:///{disk}/mlflow.db", trials=2)
    driver = processes.mirtune(*asked.beginning)
    driver.wait_for("trial 1/2 epoch 2/")
    blocker = fill(disk)
    ended = driver.end(300)
    assert ended.status == 0, ended
    (told,) = (line for line in ended.err.splitlines() if "did not take" in line)
    assert f"the tracking store {asked.tracking_uri} did not take " in told
    assert "registered as" not in ended.out
    assert [record.epochs for record in asked.records()] == [EPOCHS] * 2
    asked.check_folder()

    blocker.unlink()
    resumed = processes.mirtune(*asked.resuming).end()
    assert resumed.status == 0, resumed
    assert "registered as mdb.vit, version 1: now the best" in resumed.out
    asked.check_runs(range(1, EPOCHS + 1))
