"""A team's store: PostgreSQL, MLflow's server over it, artifacts in an object store; all of them real, and stopped."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from servers_mlflow import PASSWORD, mlflow_server, postgres, postgres_uri, s3, s3_server  # noqa: F401

from data_prep.refused import Refused
from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.network import Network
from trainables.tasks import find_task
from tuner import registry, store
from tuner.cli import main
from tuner.download import CHECKPOINT_FILES
from tuner.leaderboard import leaderboard
from tuner.publish import publish
from tuner.served_model import EXTRA_FILES
from tuner.tracking import Tracker

pytestmark = pytest.mark.faults

HYPERPARAMETERS = {"hidden": 8, "layers": 1}
TESTS = {"mdb": {"micro_f1": 0.4, "protocol": "tracks"}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Storage:
    """A tiny network, as a trial saves it."""
    config = TrainingConfig(("mdb",), "rnn", {**HYPERPARAMETERS, "unit": "gru"}, Settings(), "drum_onsets")
    network = Network(find_task("drum_onsets"), "rnn", config.hyperparameters, bands=84, classes=5)
    of = Checkpoint(config, ("KD", "SD", "TT", "HH", "CY"), "log-filter/1", 84, network.state_dict(), epoch=2)
    folder = tmp_path_factory.mktemp("trial") / "best"
    of.save(folder)
    return Storage.at(folder)


def facts(validation=0.5, epoch=2, **more):
    return {
        "corpora": "mdb", "architecture": "rnn", "task": "drum_onsets", "metric": "micro_f1", "mode": "max",
        "validation": str(validation), "parameters": "10", "trials": "2", "sweep": "s", "sweep.id": "one",
        "command": "mirtune sweep", "epoch": str(epoch), "hyperparameters": json.dumps(HYPERPARAMETERS), **more,
    }  # fmt: skip


def tell(uri, epochs, *, trials=3, pause_s=0.0, sweep="s", status="FINISHED"):
    """A sweep of some trials side by side, as a driver tells it; the tracker is still open."""
    tracker = Tracker(uri, sweep, {"corpora": "mdb"}, sweep_id="one")
    tracker.start_sweep({"trials": trials})
    names = [f"trial-{number:04d}" for number in range(1, trials + 1)]
    for name in names:
        tracker.start_trial(name, name, HYPERPARAMETERS)
    for epoch in range(1, epochs + 1):
        for name in names:
            metrics = {"validation_loss": 1 / epoch, **{f"class_f1.{number}": 0.5 for number in range(14)}}
            tracker.epoch(name, epoch, metrics)
        time.sleep(pause_s)
    for name in names if status else ():
        tracker.end(name, status, summary={"best_validation_micro_f1": 0.5})
    return tracker


def runs(uri):
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])
    return {run.data.tags["trial"]: run for run in found}


def keys(s3):  # noqa: F811
    """The keys of all objects in the bucket."""
    return [of["Key"] for of in s3.client().list_objects_v2(Bucket=s3.bucket).get("Contents", [])]


def check_once(uri, epochs, trials=3):
    """Every epoch of every trial stands exactly once."""
    client, there = MlflowClient(uri), runs(uri)
    assert set(there) == {"sweep", *(f"trial-{number:04d}" for number in range(1, trials + 1))}
    for trial, run in there.items():
        if trial != "sweep":
            for metric in ("validation_loss", "class_f1.13"):
                points = client.get_metric_history(run.info.run_id, metric)
                assert [point.step for point in points] == list(range(1, epochs + 1)), (trial, metric)


def test_a_sweep_through_a_server_from_its_runs_to_a_pulled_checkpoint(
    mlflow_server, s3, checkpoint, tmp_path, capsys, monkeypatch  # noqa: F811
):  # fmt: skip
    uri = mlflow_server.uri
    for number in range(2):  # the second time as after a driver that was killed: nothing is made twice
        tracker = tell(uri, 2)
        outcome = publish(tracker, "trial-0002", checkpoint, TESTS, facts())
        tracker.end("sweep", "FINISHED")
        assert tracker.close() == ""
        assert outcome == registry.Registered("mdb.rnn", 1, True), number
    check_once(uri, 2)
    assert runs(uri)["trial-0002"].data.metrics["test_micro_f1"] == 0.4
    there = keys(s3)
    assert {key.rsplit("/", 1)[1] for key in there} == {"test.json", *CHECKPOINT_FILES, *EXTRA_FILES}
    assert all("checkpoint/epoch-0002" in key for key in there if not key.endswith("test.json"))
    assert registry.points("mdb", "rnn", uri) == [HYPERPARAMETERS]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # the third line of docs/tracking.md
    assert [row.validation for row in leaderboard()] == [0.5]
    assert main(["leaderboard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test_micro_f1"] == 0.4
    assert main(["pull", "mdb/rnn", "--out", str(tmp_path / "best")]) == 0
    files = {path.name for path in (tmp_path / "best").iterdir()}
    assert files == {"model.safetensors", "config.json", "README.md"}
    assert Checkpoint.load(tmp_path / "best").epoch == 2

    tracker = tell(uri, 4)
    better = publish(tracker, "trial-0002", checkpoint, TESTS, facts(validation=0.6, epoch=4))
    assert tracker.close() == ""
    assert better == registry.Registered("mdb.rnn", 2, True)
    check_once(uri, 4)


def test_a_server_that_is_killed_for_half_a_minute_loses_nothing(
    mlflow_server, s3, checkpoint, tmp_path, capsys  # noqa: F811
):  # fmt: skip
    uri, epochs = mlflow_server.uri, 60

    def fault():
        time.sleep(4)
        mlflow_server.stop()
        time.sleep(30)
        mlflow_server.start()

    away = threading.Thread(target=fault)
    away.start()
    tracker = tell(uri, epochs, pause_s=0.5)  # 30 s of training: it ends while the server is away
    assert publish(tracker, "trial-0001", checkpoint, TESTS, facts()) is not None
    tracker.end("sweep", "FINISHED")
    assert tracker.close() == ""
    away.join()
    shown = capsys.readouterr().err
    assert "does not answer" in shown
    assert "waiting for the tracking store" in shown
    assert "answers again" in shown
    check_once(uri, epochs)
    assert {run.info.status for run in runs(uri).values()} == {"FINISHED"}
    assert Checkpoint.load(registry.pull("mdb/rnn", tmp_path / "best", uri)).epoch == 2
    assert "model.safetensors" in {key.rsplit("/", 1)[1] for key in keys(s3)}


def test_a_server_that_is_killed_again_and_again_gets_no_epoch_twice(mlflow_server):  # noqa: F811
    over = threading.Event()

    def faults():
        while not over.wait(3):
            mlflow_server.stop()
            time.sleep(1)
            mlflow_server.start()

    killing = threading.Thread(target=faults)
    killing.start()
    tracker = tell(mlflow_server.uri, 150, pause_s=0.2)
    over.set()
    killing.join()
    tracker.end("sweep", "FINISHED")
    assert tracker.close() == ""
    check_once(mlflow_server.uri, 150)


@pytest.mark.parametrize("through", ["the server", "the database itself"])
def test_a_database_that_is_stopped_loses_nothing(through, postgres, postgres_uri, request):  # noqa: F811
    uri = request.getfixturevalue("mlflow_server").uri if through == "the server" else postgres_uri

    def fault():
        time.sleep(5)
        postgres.stop()
        time.sleep(8)
        postgres.start()

    away = threading.Thread(target=fault)
    away.start()
    tracker = tell(uri, 40, pause_s=0.25)
    tracker.end("sweep", "FINISHED")
    assert tracker.close() == ""
    away.join()
    check_once(uri, 40)


def test_a_driver_that_is_killed_while_it_reports_goes_on_without_a_gap(mlflow_server):  # noqa: F811
    uri, reached = mlflow_server.uri, []
    for epochs in (3, 9, 20):
        driver = multiprocessing.get_context("spawn").Process(target=_drive, args=(uri,))
        driver.start()
        end = time.monotonic() + 120
        while len(told_of(uri, "trial-0002")) < epochs and time.monotonic() < end:
            time.sleep(0.02)
        driver.kill()
        driver.join()
        reached.append(len(told_of(uri, "trial-0002")))
    assert 3 <= reached[0] < reached[1] < reached[2] < 60, reached
    tracker = tell(uri, 60)
    assert tracker.close() == ""
    check_once(uri, 60)


def _drive(uri):
    tell(uri, 60, pause_s=0.1)
    time.sleep(60)


def told_of(uri, trial):
    """The epochs of a trial that the store has; none before there is a run."""
    if MlflowClient(uri).get_experiment_by_name("mirtune") is None:
        return []
    run = runs(uri).get(trial)
    return [] if run is None else MlflowClient(uri).get_metric_history(run.info.run_id, "validation_loss")


ONE_SWEEP = """
import sys
from tuner.tracking import Tracker
uri, name = sys.argv[1:]
tracker = Tracker(uri, name, {}, sweep_id=name)
tracker.start_sweep({"trials": 1})
tracker.start_trial("trial-0001", "trial 1", {})
for epoch in range(1, 6):
    tracker.epoch("trial-0001", epoch, {"validation_loss": 1.0})
tracker.end("trial-0001", "FINISHED")
sys.exit(tracker.close() or 0)
"""


def test_sweeps_that_begin_at_once_in_a_new_database(postgres_uri):  # noqa: F811
    command = [sys.executable, "-c", ONE_SWEEP, postgres_uri]
    begun = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("one", "two", "three")]
    told = [process.communicate(timeout=300)[1] for process in begun]
    assert [process.returncode for process in begun] == [0, 0, 0], told
    client = MlflowClient(postgres_uri)
    found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id], "tags.trial = 'trial-0001'")
    assert {run.data.tags["sweep"] for run in found} == {"one", "two", "three"}
    for run in found:
        assert len(client.get_metric_history(run.info.run_id, "validation_loss")) == 5


def test_models_that_are_registered_at_once_leave_the_alias_at_the_best(postgres_uri):  # noqa: F811
    uri = postgres_uri
    client = store.connect(uri)
    experiment = store.experiment_id(client, uri)
    ids = [client.create_run(experiment).info.run_id for _ in range(6)]
    for turn in range(3):
        scores = [0.1 * turn + 0.01 * number for number in (6, 5, 4, 3, 2, 1)]
        some = [
            threading.Thread(target=registry.register, args=(store.connect(uri), "mdb.rnn", run, facts(score, turn)))
            for run, score in zip(ids, scores, strict=True)
        ]
        for thread in some:
            thread.start()
        for thread in some:
            thread.join()
        assert float(registry.find("mdb/rnn", uri).tags["validation"]) == max(scores)
    assert len(registry.versions(client, "mdb.rnn")) == 18


WRONG = "wrong-password-93ab"


def test_a_wrong_password_is_told_nowhere(postgres, postgres_uri, tmp_path, monkeypatch):  # noqa: F811
    name = postgres_uri.rpartition("/")[2]
    uri = f"postgresql+psycopg2://mirtune:{WRONG}@127.0.0.1:{postgres.port}/{name}"
    with pytest.raises(Refused, match="came with a password or token in it"):
        store.check_uri(uri)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    mirtune = [sys.executable, "-m", "tuner.cli"]
    asked = subprocess.run(
        [*mirtune, "-v", "leaderboard"], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert asked.returncode == 2
    assert asked.stderr.count("\n") == 1
    assert "password authentication failed for user" in asked.stderr
    given = subprocess.run(
        [*mirtune, "leaderboard", "--tracking-uri", uri], env=dict(os.environ), capture_output=True, text=True,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert given.returncode == 2
    helped = subprocess.run(
        [*mirtune, "leaderboard", "--help"], env=environment, capture_output=True, text=True, check=True
    )
    quick = "import tuner.tracking as t; t.SECONDS_TO_WAIT_AT_END = 2.0;" + ONE_SWEEP.replace("uri, name =", "name, =")
    quick = quick.replace("Tracker(uri", "Tracker(__import__('os').environ['MLFLOW_TRACKING_URI']")
    waited = subprocess.run(
        [sys.executable, "-c", quick, "one"], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "does not answer" in waited.stderr
    assert "did not take" in waited.stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(Refused, match=r"cannot be used .*password authentication failed") as refused:
        store.refuse_taken(uri, "one", "id")
    everything = [of for done in (asked, given, helped, waited) for of in (done.stdout, done.stderr)]
    for text in (*everything, str(refused.value)):
        assert WRONG not in text
        assert PASSWORD not in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and WRONG.encode() in path.read_bytes()]


def test_the_store_keeps_no_password(postgres, postgres_uri, tmp_path, monkeypatch):  # noqa: F811
    right = postgres_uri.replace("127.0.0.1", f"mirtune:{PASSWORD}@127.0.0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", right)
    tracker = Tracker(right, "s", {"corpora": right}, sweep_id="one")
    tracker.start_sweep({"command": f"mirtune sweep --tracking-uri {right}"})
    tracker.start_trial("trial-0001", right, {"of": PASSWORD})
    tracker.end("trial-0001", "FAILED", reason=f"OSError: {right} is away")
    assert tracker.close() == ""
    dump = subprocess.run(["pg_dump", postgres_uri.rpartition("/")[2]], capture_output=True, text=True, check=True)
    assert "is away" in dump.stdout
    assert PASSWORD not in dump.stdout
    assert PASSWORD not in Path(postgres.folder / "log").read_text()
