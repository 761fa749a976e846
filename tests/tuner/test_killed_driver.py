"""The process that runs a sweep is killed again and again; started again with --resume, nothing is lost or doubled."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import ViewType
from processes import KILLED, Command, Processes, processes, until
from sweep_commands import Asked

from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.data import SplitData
from trainables.inference import BATCH_WINDOWS
from trainables.memory import MemoryGuard
from trainables.placement import MappedWindows
from trainables.tasks import find_task
from trainables.validation import validate

__all__ = ["processes"]
pytestmark = pytest.mark.faults

EPOCH = r"trial \d/\d epoch \d+/"
TRIALS, EPOCHS = 4, 40
# When each of ten drivers is killed. In the search they train at most 25 epochs each: so all six find it going on.
MOMENTS = ("start", "search", "search", "search", "start", "search", "search", "search", "end", "end")
SEED = 5


@pytest.fixture
def asked(shards, tmp_path) -> Asked:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return Asked(shards, tmp_path / "sweeps", uri, trials=TRIALS, epochs=EPOCHS)


def wait_for_moment(driver: Command, moment: str, chance: random.Random) -> None:
    """Return at a moment of that kind in a driver's life."""
    if moment == "start":
        time.sleep(chance.uniform(0.5, 5.0))
        return
    if moment == "search":
        driver.wait_for(EPOCH, times=chance.randint(5, 25))
        time.sleep(chance.uniform(0.0, 0.1))
        return
    driver.wait_for("testing trial")
    time.sleep(chance.uniform(0.0, 1.0))


def where_it_landed(asked: Asked, driver: Command) -> str:
    """What the driver was about when it was killed."""
    if "testing trial" in driver.err:
        return "test and registration"
    if "sweep x: " not in driver.err:
        return "before the search"
    reached = asked.epochs_on_disk()
    if not reached:
        return "before the first epoch"
    name = max(reached)
    return f"between trials, after {name}" if reached[name] == EPOCHS else f"in {name} after epoch {reached[name]}"


def stays_dead(driver: Command) -> None:
    """All that a killed driver had started ends by itself."""
    until(lambda: not driver.left(), 30, lambda: f"of a killed driver there still are {driver.left()}", pause_s=0.2)


def as_json(processes: Processes, *words: object) -> object:
    ended = processes.mirtune(*words, "--json").end()
    assert ended.status == 0, ended
    return json.loads(ended.out)


def test_ten_killed_drivers_lose_nothing(asked, processes, tmp_path, capsys):
    chance = random.Random(SEED)
    landed, began = [], time.monotonic()
    for number, moment in enumerate(MOMENTS):
        driver = processes.mirtune(*(asked.resuming if asked.folder.exists() else asked.beginning))
        wait_for_moment(driver, moment, chance)
        assert driver.runs, f"driver {number} ended before it was killed: {driver.end()}"
        driver.kill()
        assert driver.end().status == KILLED
        landed.append(where_it_landed(asked, driver))
    for driver in processes.commands:
        stays_dead(driver)
    with capsys.disabled():
        print("\nkilled", "; ".join(landed), f"({time.monotonic() - began:.0f} s)")
    assert sum(where.startswith("in trial") for where in landed) >= 5
    last = processes.mirtune(*asked.resuming).end()
    assert last.status == 0, last
    after = Outcome.of(asked)
    again = processes.mirtune(*asked.resuming).end()
    assert again.status == 0, again
    assert Outcome.of(asked) == after

    calm = replace(asked, storage=tmp_path / "calm", tracking_uri=f"sqlite:///{tmp_path}/calm.db")
    ended = processes.mirtune(*calm.beginning).end()
    assert ended.status == 0, ended
    check_same_results(asked, calm)
    check_outcome(asked, processes, tmp_path)


class Outcome(dict):
    """Everything that a sweep left that has not to do with when."""

    @classmethod
    def of(cls, asked: Asked) -> "Outcome":
        client = MlflowClient(asked.tracking_uri)
        files = {path: path.read_bytes() for path in asked.folder.rglob("*") if path.is_file()}
        runs = {run.info.run_id: (run.info.status, run.data.metrics, run.data.tags) for run in asked.runs()}
        versions = {of.version: (of.tags, of.run_id) for of in client.search_model_versions()}
        return cls(files=files, runs=runs, versions=versions)


def check_same_results(asked: Asked, calm: Asked) -> None:
    """Both sweeps tried the same, in the same order, and every epoch of every trial came out the same."""
    there = calm.records()
    assert [record.number for record in asked.records()] == list(range(1, TRIALS + 1))
    for record, other in zip(asked.records(), there, strict=True):
        assert (record.hyperparameters, record.state) == (other.hyperparameters, "finished")
        assert [entry["epoch"] for entry in record.history] == list(range(1, EPOCHS + 1))
        assert (record.best, record.best_epoch) == (pytest.approx(other.best, abs=1e-5), other.best_epoch)
        for entry, calmly in zip(record.history, other.history, strict=True):
            for name in ("train_loss", "validation_loss", "validation_micro_f1"):
                assert entry["metrics"][name] == pytest.approx(calmly["metrics"][name], abs=1e-5)
    assert 0 < max(record.best for record in there) < 1  # else all could come out the same for another reason


def check_outcome(asked: Asked, processes: Processes, tmp_path: Path) -> None:
    """Folder, runs, leaderboard and registered checkpoint are those of a sweep that was never killed."""
    asked.check_folder()
    asked.check_runs(range(1, EPOCHS + 1))
    kept = {run.info.run_id for run in asked.runs()}
    assert not [run for run in asked.runs(ViewType.ALL) if run.info.run_id not in kept and run.data.metrics]
    best = max(asked.records(), key=lambda record: (record.best, -record.number))
    (row,) = as_json(processes, "leaderboard", "--tracking-uri", asked.tracking_uri)
    assert (row["trials"], row["version"], row["sweep"]) == (TRIALS, 1, asked.name)
    assert row["validation_micro_f1"] == best.best
    (version,) = MlflowClient(asked.tracking_uri).search_model_versions("name = 'mdb.vit'")
    (run,) = (run for run in asked.runs() if run.info.run_id == version.run_id)
    assert run.data.tags["trial"] == best.id
    checkpoint = asked.folder / best.id / best.checkpoint
    pulled = tmp_path / "pulled"
    ended = processes.mirtune("pull", "mdb/vit", "--out", pulled, "--tracking-uri", asked.tracking_uri).end()
    assert ended.status == 0, ended
    for folder in (checkpoint, pulled):
        score = as_json(processes, "evaluate", folder, "--on", "mdb", "--shards", asked.shards)
        assert score["micro_f1"] == row["test_micro_f1"]
        assert validation_score(folder, asked.shards) == best.best
    assert (pulled / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def validation_score(folder: Path, shards: Path) -> float:
    """A checkpoint's score as the training took it: of windows joined, and not of whole tracks as `evaluate` does."""
    checkpoint = Checkpoint.load(folder)
    windows = MappedWindows(SplitData([Corpus.open(shards / "mdb")], "validation"), torch.device("cpu"))
    network, settings = checkpoint.network(), checkpoint.config.settings
    guard = MemoryGuard(BATCH_WINDOWS["cpu"])
    of, _ = validate(network, find_task(checkpoint.config.task), windows, checkpoint.classes, settings, guard)
    return of["validation_micro_f1"]


KNOWN = ("starting Ray", "sweep x: ", "trial 1/2 ", "stopping: ")  # what a driver says before


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_driver_that_is_asked_to_stop_closes_its_runs_and_says_how_to_go_on(asked, processes, how, status):
    asked = replace(asked, trials=2, epochs=30)
    driver = processes.mirtune(*asked.beginning)
    driver.wait_for(r"trial 1/2 epoch 5/")
    os.killpg(driver.process.pid, how) if how == signal.SIGINT else driver.kill(how)  # a terminal asks the whole group
    ended = driver.end(60)
    assert ended.status == status, ended
    again = f"`mirtune sweep --name x --storage {asked.storage} --resume` goes on"
    said = [line for line in ended.err.splitlines() if not line.startswith(KNOWN)]
    assert said[0] == f"stopped: 0 of 2 trials are done; {again}", ended
    assert said[1:] == ["mirtune: stopped"]
    assert not ended.out
    assert [run.info.status for run in asked.runs()] == ["KILLED", "KILLED"]
    assert [record.state for record in asked.records()] == ["interrupted"]
    stays_dead(driver)
    resumed = processes.mirtune(*asked.resuming).end()
    assert resumed.status == 0, resumed
    assert "trial 1/2 goes on after epoch " in resumed.err
    asked.check_folder()
    asked.check_runs(range(1, 31))
