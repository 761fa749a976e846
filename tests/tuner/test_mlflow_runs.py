"""What people find in MLflow's pages: names, descriptions, corpora, pictures, how busy the machine was."""

import json
import time

import pytest
from mlflow import MlflowClient
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from tuner import system_metrics, tracking
from tuner.class_picture import FILE as CLASSES
from tuner.class_picture import draw_classes
from tuner.learning_curves import FILE as CURVES
from tuner.plan import check
from tuner.records import TrialRecord
from tuner.run_notes import LONGEST_NOTE, NOTE, code, run_name, shown, trial_ended
from tuner.store import EXPERIMENT
from tuner.system_metrics import monitors, sample
from tuner.tracking import Tracker


@pytest.fixture(scope="module")
def client(swept):
    return MlflowClient(swept.tracking_uri)


@pytest.fixture(scope="module")
def runs(swept, client):
    found = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], "tags.sweep = 'first'")
    return {run.data.tags["trial"]: run for run in found}


def test_runs_are_named_by_what_was_tried(swept, runs):
    assert runs["sweep"].info.run_name == "first"
    for record in swept.result.trials:
        chosen = record.hyperparameters
        rate = f"{chosen['learning_rate']:.3g}"
        assert runs[record.id].info.run_name == f"{record.name}: heads {chosen['heads']}, lr {rate}"


def test_runs_say_how_they_ended_where_and_by_whom(swept, runs):
    for record in swept.result.trials:
        tags = runs[record.id].data.tags
        assert (tags["state"], tags["recipe"], tags["architecture"]) == (record.state, "study", "vit")
        assert tags["mlflow.source.name"] == "mirtune sweep"
        if record.epochs:
            assert tags["device"] == "1 CPU"
            assert tags["host"]
    assert runs["sweep"].data.tags["state"] == "finished"


def test_the_sweeps_parameters_are_what_it_was_begun_with(swept, runs):
    found, options = runs["sweep"].data.params, swept.options
    for name in ("trials", "max_epochs", "batch_size", "seed", "corpus_power", "recipe", "scheduler"):
        assert found[name] == str(getattr(options, name))


def test_the_sweeps_description_has_the_command_and_the_result(swept, runs):
    note, best = runs["sweep"].data.tags[NOTE], swept.result.best
    assert f"\n\n    {swept.options.command}\n" in note
    assert f"[{best.name}](#/experiments/{runs['sweep'].info.experiment_id}/runs/{runs[best.id].info.run_id})" in note
    assert "(#/models/mdb.vit/versions/1)" in note
    assert f"validation micro F1 **{best.best:.3f}** in epoch {best.best_epoch}" in note
    ranks = [line.split(" | ")[0] for line in note.splitlines() if line.startswith("| trial ")][1:]
    by_score = sorted((of for of in swept.result.trials if of.best is not None), key=lambda of: -of.best)
    assert ranks == [f"| {of.name}" for of in by_score]
    assert "and 2 more, of which 2 failed" in note


def test_a_trials_description_says_how_good_it_was_or_what_went_wrong(swept, runs):
    for record in swept.result.trials:
        note = runs[record.id].data.tags[NOTE]
        assert f"{record.name.capitalize()} of sweep **first**, {record.state} after {record.epochs} epochs" in note
        assert swept.options.command in note
        if record.error:
            assert shown(record.error) in note
    test = swept.result.tests["mdb"]
    assert f"| mdb | **{test['micro_f1']:.3f}** |" in runs[swept.result.best.id].data.tags[NOTE]


def test_the_corpora_are_inputs_by_split(swept, runs):
    checksum = check(swept.options).checksums["mdb"]
    for trial, run in runs.items():
        inputs = {of.tags[0].value: of.dataset for of in run.inputs.dataset_inputs}
        assert set(inputs) == ({"train", "validation", "test"} if trial == "sweep" else {"train", "validation"})
        for split, dataset in inputs.items():
            assert (dataset.name, dataset.digest) == ("mdb", f"{checksum[:12]}-{split}")
            profile = json.loads(dataset.profile)
            assert profile["manifest"] == checksum
            assert profile["tracks"] == {"train": 4, "validation": 2, "test": 2}[split]
            assert json.loads(dataset.source)["uri"].endswith("/mdb")


def test_pictures_and_scores_by_class(swept, client, runs):
    assert {item.path for item in client.list_artifacts(runs["sweep"].info.run_id)} == {CURVES, CLASSES}
    metrics, test = runs[swept.result.best.id].data.metrics, swept.result.tests["mdb"]
    for name, of in test["classes"].items():
        assert metrics.get(f"test_f1_{name}.mdb") == (of["f1"] if of["onsets"] else None)
        assert f"validation_f1_{name}" in metrics
    assert metrics["test_macro_f1.mdb"] == test["macro_f1"]
    two = draw_classes({"mdb": test, "a$b_^{": {**test, "interval": None, "classes": {}}}, "two \x1b corpora")
    assert two.startswith(b"\x89PNG")


def test_the_experiment_is_shown_as_one_of_training(client):
    assert client.get_experiment_by_name(EXPERIMENT).tags["mlflow.experimentKind"] == "custom_model_development"


def test_texts_of_a_sweep_are_neither_markdown_nor_secrets(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "of-the-base")
    record = TrialRecord("trial-0001", 1, {"unit": "<b>|`x`"}, state="failed", error="<script>a|b</script> of-the-base")
    note = trial_ended(record, "validation_micro_f1", "s*x*", "mirtune sweep\n# of-the-base")
    assert r"\<script\>a\|b\</script\> \*\*\*" in note
    assert r"**s\*x\***" in note
    assert r"    mirtune sweep\n# ***" in note
    assert "\x1b" not in code("\x1b[31m") + run_name(record)
    assert len(trial_ended(record, "m", "s" * 99_999, "")) <= LONGEST_NOTE


def test_a_samples_numbers_are_those_that_mlflow_shows():
    of = monitors()
    sample(of)
    numbers = sample(of)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"} <= set(numbers)
    assert 0 < numbers["system/system_memory_usage_percentage"] <= 100


def test_how_busy_the_machine_is_stands_in_the_sweeps_run(sqlite_uri, monkeypatch):  # noqa: F811
    monkeypatch.setattr(system_metrics, "SHORTEST_PAUSE_S", 0.05)
    tracker = Tracker(sqlite_uri, "s", {}, "id")
    tracker.start_sweep({})
    tracker.watch_machine()
    client = MlflowClient(sqlite_uri)
    found, end = [], time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < end:
        time.sleep(0.1)
        runs = [run for of in client.search_experiments() for run in client.search_runs([of.experiment_id])]
        found = [point for run in runs for point in client.get_metric_history(
            run.info.run_id, "system/cpu_utilization_percentage")]  # fmt: skip
    assert tracker.close() == ""
    assert len(found) >= 2


def test_samples_that_an_absent_store_does_not_take_are_not_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
    monkeypatch.setattr(system_metrics, "SHORTEST_PAUSE_S", 0.02)
    (tmp_path / "store").write_text("in the way")
    tracker = Tracker(f"sqlite:///{tmp_path}/store/mlflow.db", "s", {})
    tracker.start_sweep({})
    tracker.watch_machine()
    time.sleep(1.0)
    assert "did not take 1 reports, first the sweep's run" in tracker.close()
