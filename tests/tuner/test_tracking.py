"""The tracker against real stores: one that is there, one that comes late, one that never comes."""

import sqlite3
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from data_prep.refused import Refused
from tuner import store, tracking
from tuner.tracking import Tracker, safe


def finished(uri):
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])
    return {run.data.tags["trial"]: run for run in runs}


def write_a_sweep(tracker):
    tracker.start_sweep({"trials": 1})
    tracker.start_trial("t", "trial 1", {"hidden": 72})
    tracker.epoch("t", 1, {"validation_micro_f1": 0.5, "train_loss": float("inf")})
    tracker.end("t", "FINISHED", summary={"best_epoch": 1})
    tracker.end("sweep", "FINISHED")


def test_what_is_not_finite_is_left_out(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker(uri, "s", {})
    write_a_sweep(tracker)
    assert tracker.close() == ""
    assert finished(uri)["t"].data.metrics == {"validation_micro_f1": 0.5, "best_epoch": 1.0}


def test_a_run_that_is_there_is_found_again(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for _ in range(2):
        tracker = Tracker(uri, "s", {})
        write_a_sweep(tracker)
        assert tracker.close() == ""
    client = MlflowClient(uri)
    assert len(client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])) == 2


def test_a_store_that_comes_late_gets_everything(tmp_path):
    folder, uri = tmp_path / "store", f"sqlite:///{tmp_path}/store/mlflow.db"
    folder.write_text("in the way")
    tracker = Tracker(uri, "s", {})
    write_a_sweep(tracker)
    while tracker.error is None:
        tracker._thread.join(0.05)
    folder.unlink()
    assert tracker.close() == ""
    assert {run.info.status for run in finished(uri).values()} == {"FINISHED"}


def test_a_store_that_never_comes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
    (tmp_path / "store").write_text("in the way")
    tracker = Tracker(f"sqlite:///{tmp_path}/store/mlflow.db", "s", {})
    write_a_sweep(tracker)
    assert tracker.ask("the best checkpoint", lambda client, runs: 1) is None
    sentence = tracker.close()
    assert "did not take" in sentence
    assert "first the sweep's run" in sentence


def test_an_answer_that_is_final_is_not_asked_again(tmp_path):
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "s", {})
    tracker.start_sweep({})
    tracker.end("stranger", "FINISHED")
    assert "1 reports, first the end of a run (KeyError" in tracker.close()


def test_another_kind_of_database_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table experiments (x integer)")
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "s", {})
    tracker.start_sweep({})
    assert "did not take 1 reports" in tracker.close()


def test_processes_that_make_a_store_at_once_do_not_crash(tmp_path):
    code = "import sys; from tuner import store; print(store.experiment_id(store.connect(sys.argv[1]), sys.argv[1]))"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate() for process in running]
    assert len({out for out, _ in answers}) == 1, answers
    assert [process.returncode for process in running] == [0, 0, 0]


def test_passwords_are_not_shown():
    assert safe("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert safe("sqlite:///results/mlflow.db") == "sqlite:///results/mlflow.db"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/x", "sqlite://x", "ftp://x"])
def test_stores_without_a_registry_are_refused(uri):
    with pytest.raises(Refused, match="expected sqlite:///PATH"):
        store.check_uri(uri)
