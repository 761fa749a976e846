"""Sweeps whose folder and corpora lie in an object store, killed and continued; with MLflow's server, away for a while.

Everything is real: moto's server speaks S3, MLflow's server stands before PostgreSQL, drivers are killed with SIGKILL.
"""

import re
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from processes import KILLED, processes, session, until  # noqa: F401
from servers import SECRET
from servers_mlflow import (  # noqa: F401
    PASSWORD,
    empty_store,
    mlflow_server,
    postgres,
    postgres_uri,
    s3,
    s3_server,
    sqlite_uri,
)  # fmt: skip

from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from trainables.state import TrainingState
from tuner.claim import CLAIMS
from tuner.records import load_records

pytestmark = pytest.mark.faults

SPACE = ("patch_bands=21", "heads=2", "layers=1", "width=24", "learning_rate=0.0003")
AWAY_S = 30.0


@pytest.fixture
def store(s3, shards) -> Storage:  # noqa: F811
    """The bucket, with the prepared corpus in it."""
    of = Storage.at(s3.uri)
    (of / "shards").put("mdb", shards / "mdb", last="manifest.json")
    return of


@pytest.fixture
def start(processes, store, s3, tmp_path):  # noqa: F811
    """Start a mirtune command that knows the store and leaves its temporary files in the test's folder."""
    (tmp_path / "tmp").mkdir()
    own = {"TMPDIR": str(tmp_path / "tmp"), "MIRTUNE_CACHE": str(tmp_path / "cache")}

    def of(*words, **environment):
        return processes.mirtune(*words, environment={**s3.environment, **own, **environment})

    return of


def words(trials, epochs):
    """What to search."""
    what = ("--corpus", "mdb", "--architecture", "vit", "--batch-size", 4, "--narrow", *SPACE)
    return (*what, "--trials", trials, "--max-epochs", epochs)


def epoch(command, trial):
    """The last epoch of a trial that was told."""
    told = re.findall(rf"trial {trial}/\d+ epoch (\d+)/", command.err)
    return int(told[-1]) if told else 0


def check(folder: Storage, trials: int, epochs: int, uri: str):
    """Every trial is whole in the sweep's folder, and nothing but what it needs is there; MLflow has each epoch once.

    Its runs by the names of trials.
    """
    records, each = load_records(folder), list(range(1, epochs + 1))
    assert [(record.number, record.state) for record in records] == [(of, "finished") for of in range(1, trials + 1)]
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])
    runs = {run.data.tags["trial"]: run for run in found}
    assert len(runs) == len(found) == trials + 1
    for record in records:
        assert [entry["epoch"] for entry in record.history] == each
        of_trial = folder / record.id
        (state,) = set(of_trial.names()) - {record.checkpoint, "trial.json"}
        _, also = TrainingState.from_bytes(of_trial.read(state), state)
        assert (len(also["history"]), also["checkpoint"]) == (epochs, record.checkpoint)
        assert record.checkpoint in of_trial.names()
        run = runs[record.id]
        assert run.info.status == "FINISHED"
        for metric in ("train_loss", "validation_loss", "validation_micro_f1"):
            points = client.get_metric_history(run.info.run_id, metric)
            assert [(point.step, point.value) for point in points] == [
                (entry["epoch"], entry["metrics"][metric]) for entry in record.history
            ]
    assert (folder / CLAIMS).names() == []
    return runs


def secrets_in(folder: Path, secret: str) -> list[Path]:
    """Files below a folder in which the secret stands."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def check_secrets(s3, secret: str, folder: Path):  # noqa: F811
    """The secret stands in no object of the bucket, and in no file that the commands have left."""
    client, keys = s3.client(), s3.keys()
    assert keys
    assert not [key for key in keys if secret.encode() in client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()]
    assert not secrets_in(folder, secret)


def test_a_sweep_in_an_object_store_is_killed_and_goes_on(start, store, s3, sqlite_uri, tmp_path):  # noqa: F811
    trials, epochs = 3, 30
    named = ("--name", "x", "--storage", f"{s3.uri}/sweeps", "--tracking-uri", sqlite_uri)
    command = start("sweep", *words(trials, epochs), "--shards", f"{s3.uri}/shards", *named)
    until(lambda: min(epoch(command, 1), epoch(command, 2)) >= 5, 120, lambda: f"no epoch 5: {command.err}")
    command.kill()
    assert command.end(10).status == KILLED
    folder = store / "sweeps" / "x"
    assert [record.state for record in load_records(folder)] == ["running"] * 2

    again = start("sweep", *named, "--resume")
    ended = again.end()
    assert ended.status == 0, ended
    for trial in (1, 2):
        first = re.search(rf"trial {trial}/3 epoch (\d+)/", ended.err)
        assert int(first[1]) > 5
    runs = check(folder, trials, epochs, sqlite_uri)
    keys = s3.keys()
    kinds = {key.rsplit("/", 1)[1].partition("-")[0] for key in keys if "/trial-" in key}
    assert kinds == {"trial.json", "state", "model.safetensors", "config.json"}

    assert re.search(r"registered as mdb\.vit, version 1: now the best", ended.out)
    pulled = start("pull", "mdb/vit", "--out", tmp_path / "best", "--tracking-uri", sqlite_uri)
    assert pulled.end().status == 0
    best = max(load_records(folder), key=lambda record: (record.best, -record.number))
    of_sweep = folder / best.id / best.checkpoint
    assert (tmp_path / "best" / "model.safetensors").read_bytes() == of_sweep.read("model.safetensors")
    assert Checkpoint.load(tmp_path / "best").epoch == best.best_epoch
    assert runs[best.id].data.tags["best"] == "true"

    check_secrets(s3, SECRET, tmp_path)


def test_a_sweep_through_a_server_that_is_away_for_a_while(start, store, s3, mlflow_server, tmp_path):  # noqa: F811
    trials, epochs = 10, 60  # 45 s on two quiet cores
    named = ("--name", "y", "--storage", f"{s3.uri}/sweeps", "--shards", f"{s3.uri}/shards")
    command = start("sweep", *words(trials, epochs), *named, MLFLOW_TRACKING_URI=mlflow_server.uri)
    until(lambda: epoch(command, 1) >= 10, 180, lambda: f"no epoch 10: {command.err}")
    mlflow_server.stop()
    stopped, before = time.monotonic(), [epoch(command, trial) for trial in range(1, trials + 1)]
    time.sleep(AWAY_S)
    told = [epoch(command, trial) for trial in range(1, trials + 1)]
    assert "testing trial" not in command.err, "the sweep ended too early to prove anything"
    mlflow_server.start()
    print(f"\naway for {time.monotonic() - stopped:.0f} s, epochs of the trials then {before}, {told}")
    assert sum(told) > sum(before) + 20  # it goes on meanwhile
    ended = command.end(400)
    assert ended.status == 0, ended
    assert "does not answer" in ended.err
    assert "answers again" in ended.err
    assert "did not take" not in ended.err
    check(store / "sweeps" / "y", trials, epochs, mlflow_server.uri)

    assert re.search(r"registered as mdb\.vit, version 1: now the best", ended.out)
    pulled = start("pull", "mdb/vit", "--out", tmp_path / "best", MLFLOW_TRACKING_URI=mlflow_server.uri).end()
    assert pulled.status == 0, pulled
    assert Checkpoint.load(tmp_path / "best").parameters > 0
    keys = s3.keys()
    assert any("/checkpoint/epoch-" in key and key.endswith("model.safetensors") for key in keys)
    for secret in (SECRET, PASSWORD):
        check_secrets(s3, secret, tmp_path)


def test_secrets_of_the_environment_stand_in_no_file_of_ray(processes, shards, sqlite_uri, tmp_path):  # noqa: F811
    names = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD")
    where = ("--shards", shards, "--storage", tmp_path / "sweeps", "--tracking-uri", sqlite_uri, "--name", "z")
    environment = {**dict.fromkeys(names, SECRET), "TMPDIR": str(tmp_path)}
    ended = processes.mirtune("sweep", *words(1, 1), *where, environment=environment).end()
    assert ended.status == 0, ended
    assert list(processes.ray_folder.rglob("*.log"))
    assert secrets_in(processes.ray_folder, SECRET) == []
    assert secrets_in(tmp_path, SECRET) == []
