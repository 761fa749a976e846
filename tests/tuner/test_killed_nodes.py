"""Nodes and trials' processes that are killed: real clusters on loopback, real sweeps, SIGKILL.

Whatever is killed, each trial ends with every epoch once, in its record and in MLflow, and with the losses of a sweep
that nobody disturbed.
"""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from processes import Ended, processes, session, until  # noqa: F401
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from data_prep.storage import Storage
from trainables.state import TrainingState
from tuner.records import TrialRecord, load_records

pytestmark = pytest.mark.faults

EPOCHS, TRIALS = 40, 4
SPACE = ("patch_bands=21", "heads=2", "layers=1", "width=24", "learning_rate=0.0005")
TRIAL_PROCESS = "ray::ResourceTr"  # ResourceTrainable, as Tune calls what it has wrapped; the system cuts names


class Sweep:
    """A sweep as a command, where it leaves things, and what of its trials has been seen."""

    def __init__(self, processes, shards, folder: Path, uri: str):  # noqa: F811
        self.processes, self.shards, self.storage, self.uri = processes, shards, folder / "sweeps", uri
        self.command = None

    def start(self, *words, trials=TRIALS, epochs=EPOCHS, space=SPACE, address=None):
        """Begin it."""
        what = ("--corpus", "mdb", "--architecture", "vit", "--trials", trials, "--max-epochs", epochs)
        where = ("--shards", self.shards, "--tracking-uri", self.uri)
        self._run("--batch-size", 4, *what, *where, "--narrow", *space, *words, address=address)

    def resume(self):
        """Go on with it."""
        self._run("--resume", "--tracking-uri", self.uri)

    def _run(self, *words, address=None):
        environment = {"RAY_ADDRESS": address} if address else {}
        named = ("--name", "x", "--storage", self.storage)
        self.command = self.processes.mirtune("sweep", *named, *words, environment=environment)

    def end(self, status=0) -> Ended:
        """Wait for the end, which has to have that status."""
        ended = self.command.end(240)
        assert ended.status == status, ended
        return ended

    def epoch(self, trial: int) -> int:
        """The last epoch of a trial that was told."""
        told = re.findall(rf"trial {trial}/\d+ epoch (\d+)/", self.command.err)
        return int(told[-1]) if told else 0

    def wait_for_epoch(self, trial: int, epoch: int) -> None:
        """Return when a trial has come so far."""
        until(lambda: self.epoch(trial) >= epoch, 120, lambda: f"no epoch {epoch} of {trial}: {self.command.err}")

    @property
    def folder(self) -> Storage:
        """Where it leaves its trials."""
        return Storage.at(self.storage / "x")

    @property
    def records(self) -> dict[int, TrialRecord]:
        """What it has written down, by number."""
        return {record.number: record for record in load_records(self.folder)}

    def check(self, undisturbed=None, trials=TRIALS, epochs=EPOCHS) -> None:
        """Every trial finished with every epoch once, here and in MLflow, and only what is needed is kept."""
        records, runs = self.records, self.runs()
        assert sorted(records) == list(range(1, trials + 1))
        assert set(runs) == {"sweep", *(record.id for record in records.values())}
        client, each = MlflowClient(self.uri), list(range(1, epochs + 1))
        for number, record in records.items():
            assert record.state == "finished"
            assert [entry["epoch"] for entry in record.history] == each
            run = runs[record.id]
            assert run.info.status == "FINISHED"
            for metric in ("validation_loss", "train_loss", "validation_micro_f1"):
                points = client.get_metric_history(run.info.run_id, metric)
                assert [point.step for point in points] == each
                assert [point.value for point in points] == [entry["metrics"][metric] for entry in record.history]
            if undisturbed is not None:
                like = undisturbed[number]
                assert losses(record) == pytest.approx(losses(like), abs=1e-5, rel=0)
                assert (record.best_epoch, record.hyperparameters) == (like.best_epoch, like.hyperparameters)
            self._check_files(record)

    def _check_files(self, record: TrialRecord) -> None:
        folder = self.folder / record.id
        names = set(os.listdir(folder.path))
        (state,) = names - {record.checkpoint, "trial.json"}
        assert record.checkpoint in names
        _, also = TrainingState.from_bytes(folder.read(state), state)
        assert (len(also["history"]), also["checkpoint"]) == (record.epochs, record.checkpoint)

    def runs(self):
        """MLflow's runs of the sweep by the name of the trial; a second one of the same name is an error."""
        client = MlflowClient(self.uri)
        found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])
        by_trial = {run.data.tags["trial"]: run for run in found}
        assert len(by_trial) == len(found)
        return by_trial


def losses(record: TrialRecord) -> list[float]:
    """Of training and validation, epoch by epoch."""
    return [entry["metrics"][name] for entry in record.history for name in ("train_loss", "validation_loss")]


def trial_processes(session_leader: int) -> list[int]:
    """Processes of a session in which a trial is trained."""
    return [pid for pid, name in session(session_leader).items() if name == TRIAL_PROCESS]


@pytest.fixture
def sweep(processes, shards, tmp_path, sqlite_uri):  # noqa: F811
    return Sweep(processes, shards, tmp_path, sqlite_uri)


@pytest.fixture(scope="module")
def undisturbed(shards, tmp_path_factory, empty_store):  # noqa: F811
    """The records of the sweep that all tests run, without a fault."""
    from processes import Processes

    folder = tmp_path_factory.mktemp("undisturbed")
    of = Processes(folder)
    try:
        sweep = Sweep(of, shards, folder, f"sqlite:///{folder}/mlflow.db")
        sweep.start()
        sweep.end()
        sweep.check()
        return sweep.records
    finally:
        of.end_all()


def test_a_node_is_killed_and_another_comes(processes, sweep, undisturbed):  # noqa: F811
    _, address = processes.ray_head(cpus=0)
    nodes = [processes.ray_node(address) for _ in range(2)]
    sweep.start(address=address)
    for trial in (1, 2):
        sweep.wait_for_epoch(trial, 5)
    killed, before = time.monotonic(), {trial: sweep.epoch(trial) for trial in (1, 2)}
    nodes[0].kill_all()
    told = sweep.command.wait_for(r"trial (\d)/4 lost its process or machine \((.*)\) and goes on after epoch (\d+)")
    noticed_s, lost = time.monotonic() - killed, int(told[1])
    joins = time.monotonic()
    processes.ray_node(address)
    sweep.command.wait_for(rf"(?s)trial {lost}/4 lost .*trial {lost}/4 epoch ")
    goes_on_s, after_join_s = time.monotonic() - killed, time.monotonic() - joins
    print(
        f"\nkilled at epochs {before}; {told[0]}\nnoticed after {noticed_s:.1f} s, the next epoch {goes_on_s:.1f} s "
        f"after the kill, {after_join_s:.1f} s after another node was started"
    )
    sweep.end()
    sweep.check(undisturbed)
    assert [record.attempts for record in sweep.records.values()].count(2) == 1


def test_a_trials_process_is_killed_twice(sweep, undisturbed):
    sweep.start("--at-once", 1, trials=1)
    for attempt, epoch in ((2, 5), (3, 15)):
        sweep.wait_for_epoch(1, epoch)
        (process,) = until(lambda: trial_processes(sweep.command.process.pid), 30, "no process of a trial")
        killed = time.monotonic()
        os.kill(process, signal.SIGKILL)
        sweep.command.wait_for(rf"trial 1/1 lost its process or machine .*, attempt {attempt} of 4")
        noticed_s = time.monotonic() - killed
        sweep.command.wait_for(rf"(?s)attempt {attempt} of 4\n.*trial 1/1 epoch ")
        print(f"noticed after {noticed_s:.1f} s, next epoch {time.monotonic() - killed:.1f} s after the kill")
    sweep.end()
    sweep.check({1: undisturbed[1]}, trials=1)
    assert sweep.records[1].attempts == 3


def test_a_trial_that_is_lost_too_often_goes_on_when_the_sweep_does(sweep, undisturbed):
    sweep.start("--at-once", 1, "--max-failures", 1, trials=1)
    for epoch in (5, 10):
        sweep.wait_for_epoch(1, epoch)
        (process,) = until(lambda: trial_processes(sweep.command.process.pid), 30, "no process of a trial")
        os.kill(process, signal.SIGKILL)
        sweep.command.wait_for(f"(?s)(trial 1/1 (lost|was lost) .*){{{epoch // 5}}}")
    err = sweep.end().err
    assert re.search(r"trial 1/1 was lost 2 times, the last time: .*; `--resume` lets it go on\n", err)
    assert "Traceback" not in err
    record = sweep.records[1]
    assert record.state == "lost"
    assert 10 <= record.epochs < EPOCHS
    assert sweep.runs()[record.id].info.status == "FAILED"
    sweep.resume()
    assert f"trial 1/1 goes on after epoch {record.epochs}" in sweep.end().err
    sweep.check({1: undisturbed[1]}, trials=1)
    assert "reason" not in sweep.runs()[record.id].data.tags


def test_a_trials_own_error_is_told_once_and_not_tried_again(sweep):
    space = ("patch_bands=21", "heads=2,7", "layers=1", "width=24", "learning_rate=0.01,1e38")
    sweep.start(trials=4, epochs=2, space=space)
    err = sweep.end().err
    failed = [record for record in sweep.records.values() if record.state == "failed"]
    assert {record.attempts for record in sweep.records.values()} == {1}
    assert len(failed) == 2
    errors = " ".join(record.error for record in failed)
    assert "no multiple of heads = 7" in errors
    assert "the training loss became nan" in errors
    assert err.count(" failed after ") == 2
    assert "goes on" not in err
    for record in failed:
        run = sweep.runs()[record.id]
        assert (run.info.status, run.data.tags["reason"]) == ("FAILED", record.error)
