"""Several sweeps on one cluster and one store do not mix; names that collide are refused."""

from dataclasses import replace

import pytest
from mlflow import MlflowClient
from processes import Processes, processes, until
from sweep_commands import Asked

__all__ = ["processes"]
pytestmark = pytest.mark.faults


@pytest.fixture
def asked(shards, tmp_path) -> Asked:
    return Asked(shards, tmp_path / "sweeps", f"sqlite:///{tmp_path}/mlflow.db", trials=2, epochs=4)


def refusal(processes: Processes, *words: object) -> str:
    """What a command says that is refused, after it has perhaps started Ray."""
    ended = processes.mirtune(*words).end()
    assert ended.status == 2, ended
    assert not ended.out
    return "".join(line for line in ended.err.splitlines(True) if not line.startswith("starting Ray"))


def test_two_sweeps_on_one_cluster_and_one_store_do_not_mix(asked, processes):
    _, address = processes.ray_head(cpus=2)
    sweeps = [replace(asked, name="even", trials=3), replace(asked, name="odd", epochs=6)]
    words = {"even": ("--seed", 2), "odd": ("--seed", 1)}
    commands = [
        processes.mirtune(*of.beginning, *words[of.name], environment={"RAY_ADDRESS": address}) for of in sweeps
    ]
    for command in commands:
        ended = command.end()
        assert ended.status == 0, ended
    best = {}
    for of in sweeps:
        assert [record.state for record in of.records()] == ["finished"] * of.trials
        of.check_folder()
        of.check_runs(range(1, of.epochs + 1))
        best[of.name] = max(of.records(), key=lambda record: (record.best, -record.number))
    drawn = [record.hyperparameters["weight_decay"] for of in sweeps for record in of.records()]
    assert len(set(drawn)) == 5

    client = MlflowClient(asked.tracking_uri)
    versions = {version.tags["sweep"]: version for version in client.search_model_versions("name = 'mdb.vit'")}
    assert {version.version for version in versions.values()} == {1, 2}
    for of in sweeps:
        run = client.get_run(versions[of.name].run_id)
        assert (run.data.tags["sweep"], run.data.tags["trial"]) == (of.name, best[of.name].id)
        assert float(versions[of.name].tags["validation"]) == best[of.name].best
    leads = max(versions.values(), key=lambda version: (float(version.tags["validation"]), -int(version.version)))
    assert client.get_model_version_by_alias("mdb.vit", "best").version == leads.version


def test_of_two_processes_with_one_name_one_runs(asked, processes):
    asked = replace(asked, epochs=40)
    both = [processes.mirtune(*asked.beginning) for _ in range(2)]
    until(lambda: not all(of.runs for of in both), 120, "both run the same sweep")
    (refused,) = (of for of in both if not of.runs)
    (runs,) = (of for of in both if of.runs)
    taken = f"mirtune: sweep 'x' in {asked.storage} is run by another process; wait for it to end or stop it\n"
    assert (refused.end().status, refused.err, refused.out) == (2, taken, "")
    runs.wait_for("trial 1/2 epoch")
    assert refusal(processes, *asked.resuming) == taken
    ended = runs.end()
    assert ended.status == 0, ended
    asked.check_folder()
    asked.check_runs(range(1, asked.epochs + 1))


def test_a_name_is_one_sweeps_in_its_storage_and_in_its_store(asked, processes, tmp_path):
    asked = replace(asked, trials=1, epochs=1)
    ended = processes.mirtune(*asked.beginning).end()
    assert ended.status == 0, ended
    before = {path: path.read_bytes() for path in asked.folder.rglob("*") if path.is_file()}
    assert refusal(processes, *asked.beginning) == (
        f"mirtune: there is a sweep named 'x' in {asked.storage}; go on with it by --resume, or choose another --name\n"
    )
    elsewhere = replace(asked, storage=tmp_path / "elsewhere")
    assert refusal(processes, *elsewhere.beginning) == (
        f"mirtune: there is another sweep named 'x' in the tracking store {asked.tracking_uri}; choose another --name, "
        "or go on with that one where its --storage is\n"
    )
    assert not (elsewhere.folder / "sweep.json").exists()
    asked.check_runs([1])
    assert {path: path.read_bytes() for path in asked.folder.rglob("*") if path.is_file()} == before
