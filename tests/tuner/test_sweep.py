"""A sweep on a real Ray and a real SQLite store: failures are marked, the best is tested and registered."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ray.tune.execution import class_cache

from data_prep.refused import Refused
from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from trainables.evaluation import evaluate
from tuner import publish, tracking
from tuner import search as search_module
from tuner.class_picture import FILE as CLASSES
from tuner.cluster import is_this_machine
from tuner.learning_curves import FILE
from tuner.plan import check
from tuner.profile import TrialProfile
from tuner.reports import FAILURE
from tuner.sweep import SweepFailed, sweep
from tuner.sweep_folder import RESULT, ResultFile, SweepFile
from tuner.tracking import SWEEP_RUN
from tuner.watch import Watcher


@pytest.fixture(scope="module")
def runs(swept):
    client = MlflowClient(swept.tracking_uri)
    experiment = client.get_experiment_by_name("mirtune")
    found = client.search_runs([experiment.experiment_id], "tags.sweep = 'first'")
    return {
        run.info.run_name.partition(":")[0] if run.data.tags["trial"] != SWEEP_RUN else SWEEP_RUN: run for run in found
    }


def test_trials_that_raise_or_go_nan_are_failed_and_the_sweep_goes_on(swept):
    states = {record.number: record.state for record in swept.result.trials}
    assert sorted(states.values()) == ["failed", "failed", "finished", "finished"]
    errors = " ".join(record.error for record in swept.result.trials)
    assert "FloatingPointError: the training loss became nan" in errors
    assert "no multiple of heads = 7" in errors


def test_the_best_trial_is_the_one_with_the_best_epoch(swept):
    finished = [record for record in swept.result.trials if record.state == "finished"]
    assert swept.result.best.best == max(record.best for record in finished)
    assert (Path(swept.result.checkpoint) / "model.safetensors").is_file()


def test_its_learning_curves_are_drawn_beside_the_trials(swept):
    assert (swept.folder / "sweeps" / "first" / FILE).read_bytes().startswith(b"\x89PNG")


def test_its_result_stands_beside_the_trials(swept):
    folder = Storage.at(swept.folder / "sweeps" / "first")
    begun = SweepFile.load(folder)
    assert begun is not None
    result = ResultFile.load(folder, begun.id)
    assert result is not None
    assert (result.trial, result.validation) == (swept.result.best.id, swept.result.best.best)
    assert result.tests == swept.result.tests
    assert result.registered
    assert result.trial_hours == pytest.approx(sum(record.seconds for record in swept.result.trials) / 3600)
    assert ResultFile.load(folder, "another sweep") is None
    replace(result, when="later", registered=False).save(folder)
    assert ResultFile.load(folder, begun.id) == result


@pytest.mark.parametrize(
    "odd",
    [{"trials": "1"}, {"tests": [1]}, {"gpus_per_trial": None}, {"trial_seconds": 10**400}, {"validation": None},
     {"trials": 10**400}, {"registered": 1}],
)  # fmt: skip
def test_a_result_that_cannot_be_is_none(tmp_path, odd):
    folder, whole = Storage.at(tmp_path), ResultFile(
        sweep_id="a", metric="micro_f1", mode="max", trial="trial-0001", checkpoint="best", epoch=1, validation=0.5,
        tests={}, parameters=1, trials=1, undone=0, trial_seconds=1.0, cpus_per_trial=1, gpus_per_trial=0.0,
        version="1", when="now",
    )  # fmt: skip
    whole.save(folder)
    assert ResultFile.load(folder, "a") == whole
    folder.write(RESULT, json.dumps({**json.loads(folder.read(RESULT)), **odd}).encode())
    assert ResultFile.load(folder, "a") is None


def test_runs_stand_in_the_sweeps_run_and_end_as_their_trials_did(swept, runs):
    parent = runs[SWEEP_RUN]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["trials"] == "4"
    assert parent.data.metrics["best_validation_micro_f1"] == swept.result.best.best
    for record in swept.result.trials:
        run = runs[record.name]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == {"finished": "FINISHED", "failed": "FAILED"}[record.state]
        assert run.data.params["width"] == "24"
        assert record.state == "finished" or run.data.tags["reason"] == record.error


def test_every_run_says_which_data_and_code(swept, shards, runs):
    checksum = check(replace(swept.options, name="other")).checksums["mdb"]
    for run in runs.values():
        assert run.data.tags["manifest.mdb"] == checksum
        assert {"version.mirtune", "version.torch", "version.python"} <= set(run.data.tags)


def test_metrics_stand_at_their_epoch(swept, runs):
    client = MlflowClient(swept.tracking_uri)
    history = client.get_metric_history(runs[swept.result.best.name].info.run_id, "validation_micro_f1")
    assert [point.step for point in history] == [1, 2]
    assert max(point.value for point in history) == swept.result.best.best


def test_the_best_run_has_the_checkpoint_and_the_test_score(swept, runs):
    run = runs[swept.result.best.name]
    client = MlflowClient(swept.tracking_uri)
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"checkpoint", "test.json", CLASSES}
    assert run.data.metrics["test_micro_f1"] == swept.result.tests["mdb"]["micro_f1"]
    assert run.info.artifact_uri.startswith((swept.folder / "results" / "artifacts").as_uri())


def test_where_every_trial_fails_the_first_error_is_told(swept, ray):
    options = replace(swept.options, name="failing", trials=1, narrow={**swept.options.narrow, "heads": (7,)})
    with pytest.raises(SweepFailed, match=r"all 1 trials of sweep failing failed; the first said: .*heads = 7"):
        sweep(options)
    client = MlflowClient(swept.tracking_uri)
    found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id], "tags.sweep = 'failing'")
    assert [run.info.status for run in found] == ["FAILED", "FAILED"]


def test_an_absent_store_does_not_break_a_sweep_and_is_told(swept, ray, monkeypatch, capsys):
    monkeypatch.setattr(publish, "is_this_machine", lambda: False)  # a process of the cluster does the test
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 1.0)
    options = replace(
        swept.options, name="alone", trials=1, max_epochs=1, tracking_uri="http://127.0.0.1:9", profile=False
    )
    result = sweep(replace(options, narrow={**options.narrow, "heads": (2,), "learning_rate": (0.01,)}))
    assert result.registered is None
    assert result.tests["mdb"]["protocol"] == "tracks"
    assert (Path(result.checkpoint) / "config.json").is_file()
    assert "did not take" in result.warning
    assert result.warning in capsys.readouterr().err
    here = evaluate(Checkpoint.load(Path(result.checkpoint)), "mdb", swept.options.shards, device="cpu")
    assert result.tests["mdb"] == here.to_dict()
    assert not list(Path(result.checkpoint).parents[2].glob("profile.*"))


def test_trials_after_a_failed_one_use_its_process(swept, ray, monkeypatch):
    processes = {}

    def result(self, iteration, trials, trial, result, **info):
        processes[trial.trial_id] = (result["pid"], FAILURE in result)
        on_trial_result(self, iteration, trials, trial, result, **info)

    on_trial_result = Watcher.on_trial_result
    monkeypatch.setattr(Watcher, "on_trial_result", result)
    one_at_a_time = replace(swept.options, name="reused", cpus_per_trial=2, max_epochs=1, profile=False)
    done = sweep(one_at_a_time)
    assert sorted(record.state for record in done.trials) == ["failed", "failed", "finished", "finished"]
    assert [failed for _, failed in processes.values()] == [record.state == "failed" for record in done.trials]
    assert len({process for process, _ in processes.values()}) == 1
    assert done.profile is None


def test_an_interrupted_sweep_leaves_its_profile(swept, ray, monkeypatch, capsys):
    def interrupted(options, plan, task, packing, batch, watcher, limits):
        watcher.profile.trials["t"] = TrialProfile(1, launched=0.0)
        limits.interrupted = True

    monkeypatch.setattr(search_module, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(replace(swept.options, name="stopped"))
    folder = swept.folder / "sweeps" / "stopped"
    assert {path.name for path in folder.iterdir()} >= {"profile.json", "profile.md", "sweep.json"}
    again = f"`mirtune sweep --name stopped --storage {swept.options.storage} --resume` goes on"
    assert f"stopped: 0 of 4 trials are done; {again}" in capsys.readouterr().err


def test_a_sweep_that_no_cluster_can_hold_leaves_no_run(swept, ray, capsys):
    with pytest.raises(Refused, match="a trial wants 1 CPUs and 3 GPUs"):
        sweep(replace(swept.options, name="large", gpus_per_trial=3.0))
    assert capsys.readouterr().err in ("", "starting Ray, or joining the one there is\n")


def test_trials_ask_for_no_processes_of_their_own(swept):
    assert "PL_DISABLE_FORK" not in class_cache.DEFAULT_ENV_VARS  # raises where another Ray keeps it elsewhere


def test_this_machine_is_the_whole_cluster(ray):
    assert is_this_machine()
