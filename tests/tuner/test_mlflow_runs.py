"""What people find in MLflow's pages: names, descriptions, corpora, pictures, how busy the machine was."""

import json
import threading
import time

import pytest
from mlflow import MlflowClient
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from data_prep.storage import Storage
from tuner import publish as publishing
from tuner import system_metrics, tracking
from tuner.class_picture import FILE as CLASSES
from tuner.class_picture import draw_classes
from tuner.learning_curves import FILE as CURVES
from tuner.plan import check
from tuner.publish import _beside, publish
from tuner.records import TrialRecord
from tuner.registry import pull
from tuner.run_notes import (
    LONGEST_NOTE,
    NOTE,
    Published,
    code,
    f1_of,
    run_name,
    scores,
    shown,
    sweep_ended,
    trial_ended,
)
from tuner.store import EXPERIMENT
from tuner.sweep_folder import ResultFile, SweepFile
from tuner.system_metrics import Sampler, monitors, pause_s, sample
from tuner.tracking import Tracker
from tuner.trial_runs import TrialRuns


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
    assert by_score
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
    assert r"> &lt;script&gt;a\|b&lt;/script&gt; \*\*\*" in note
    assert r"**s\*x\***" in note
    record.error = "![t](https://evil/t.png) me@evil"
    assert r"> !\[t\](https&#58;//evil/t.png) me&#64;evil" in trial_ended(record, "m", "s", "c")
    assert r"    mirtune sweep\n# ***" in note
    assert "\x1b" not in code("\x1b[31m") + run_name(record)
    assert len(trial_ended(record, "m", "s" * 99_999, "")) <= LONGEST_NOTE


def scored(number, best, **changes):
    return TrialRecord(
        f"trial-{number:04d}", number, {"layers": number}, **{"state": "finished", "best": best} | changes
    )


FACTS = {"mode": "max", "metric": "micro_f1", "architecture": "rnn", "corpora": "mdb", "command": "mirtune sweep"}
FACTS |= {"validation": "0.5", "parameters": "10", "epoch": "3"}


def test_a_failed_trial_is_not_named_the_best_of_its_sweep():
    records = [scored(1, 0.9, state="failed"), scored(2, 0.5, best_epoch=3), scored(3, 0.4), scored(4, None)]
    note = sweep_ended(FACTS, {}, records, Published(records[1], "7", "run-of-2", "mdb.rnn", 1))
    assert "Best: [trial 2](#/experiments/7/runs/run-of-2), validation micro F1 **0.500** in epoch 3" in note
    ranks = [line.split(" | ")[0] for line in note.splitlines() if line.startswith("| trial ")][1:]
    assert ranks == ["| trial 2", "| trial 3", "| trial 1"]
    assert "and 1 more, of which 0 failed" in note


def test_a_best_of_nought_is_a_score():
    assert "micro F1 **0.000** in epoch 0" in trial_ended(scored(1, 0.0), "micro_f1", "s", "c")
    assert "in epoch" not in trial_ended(scored(1, None), "micro_f1", "s", "c")


def test_a_class_that_does_not_occur_has_no_f1():
    nothing, bad = {"f1": 0.0, "onsets": 0, "interval": [0.0, 0.0]}, {"f1": 0.0, "onsets": 3}
    assert (f1_of(nothing), f1_of(bad), f1_of({"f1": 0.5}), f1_of(None)) == (None, 0.0, 0.5, None)
    test = {"micro_f1": 0.5, "protocol": "tracks", "classes": {"toms": nothing, "kick": bad}}
    assert scores({"mdb": test}, "micro_f1").splitlines()[-1] == "| mdb | **0.500** |  | tracks |  | 0.000 |"
    assert draw_classes({"mdb": test}, "none") != draw_classes({"mdb": {**test, "classes": {
        "toms": {**nothing, "onsets": 1}, "kick": bad}}}, "none")  # fmt: skip


def test_classes_of_a_task_that_scores_otherwise_are_drawn():
    odd = {"accuracy": 0.5, "protocol": "tracks", "classes": {"minor": {"f1": 0.25}, "major": {}}}
    assert draw_classes({"songs": odd}, "keys").startswith(b"\x89PNG")
    assert _beside({"songs": odd}, "accuracy") == {"test_f1_minor.songs": 0.25}


@pytest.fixture
def published(swept, sqlite_uri):  # noqa: F811
    """Publishes the finished sweep's best checkpoint in a new store, as another sweep."""
    best, folder = swept.result.best, Storage.at(swept.folder / "sweeps" / "first")
    facts = {**FACTS, "architecture": "vit", "task": "drum_onsets", "validation": str(best.best), "trials": "4"}
    facts |= {"sweep": "s", "sweep.id": SweepFile.load(folder).id, "epochs": str(best.epochs)}
    facts |= {"epoch": str(best.best_epoch), "hyperparameters": "{}"}

    def of():
        tracker = Tracker(sqlite_uri, "s", {}, facts["sweep.id"])
        tracker.start_sweep({"command": "mirtune sweep"})
        told = TrialRuns(tracker, "validation_micro_f1", Storage.at(swept.folder / "nowhere"))
        told.tell_past(swept.result.trials)
        between = MlflowClient(sqlite_uri)
        tracker.ask("wait", lambda client, runs: None)
        before = {run.data.tags["trial"]: run.data.tags.get(NOTE, "") for run in all_runs(between)}
        made = publish(tracker, best.id, Storage.at(swept.result.checkpoint), swept.result.tests, facts, folder,
                       swept.result.trials)  # fmt: skip
        assert tracker.close() == ""
        return made, before, {run.data.tags["trial"]: run for run in all_runs(MlflowClient(sqlite_uri))}

    of.uri = sqlite_uri
    return of


def all_runs(client):
    return [run for of in client.search_experiments() for run in client.search_runs([of.experiment_id])]


def test_a_sweep_that_goes_on_leaves_the_test_scores_in_the_description(swept, published):
    best = swept.result.best.id
    _, before, first = published()
    assert "| test corpus |" not in before[best]
    assert "| test corpus |" in first[best].data.tags[NOTE]
    _, before, again = published()
    assert before[best] == first[best].data.tags[NOTE] == again[best].data.tags[NOTE]


def test_what_comes_on_top_does_not_keep_a_checkpoint_from_the_registry(published, monkeypatch, tmp_path, capsys):
    def away(*arguments, **named):
        raise ConnectionResetError("the storage hiccups")

    for place in ("write_served_model", "sweep_ended", "scores"):
        monkeypatch.setattr(publishing, place, away)
    monkeypatch.setattr(ResultFile, "load", away)
    made, _, runs = published()
    assert (made.name, made.version, made.is_best) == ("mdb.vit", 1, True)
    told = capsys.readouterr().err
    assert "MLflow's own tools cannot load what is registered (ConnectionResetError: the storage hiccups)" in told
    assert "the description of the sweep's run in the tracking store is that of its beginning (Conn" in told
    assert "Searching" in runs["sweep"].data.tags[NOTE]
    pulled = pull("mdb/vit", tmp_path / "out", published.uri)
    assert (pulled / "model.safetensors").is_file()


def test_a_samples_numbers_are_those_that_mlflow_shows():
    of = monitors()
    sample(of)
    numbers = sample(of)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"} <= set(numbers)
    assert 0 < numbers["system/system_memory_usage_percentage"] <= 100


def test_a_monitor_that_fails_takes_no_other_with_it():
    class Broken:
        def clear_metrics(self):
            raise RuntimeError("the GPU is lost")

    assert "system/cpu_utilization_percentage" in sample([Broken(), *monitors()])


def test_a_sample_that_fails_is_not_the_last(monkeypatch):
    monkeypatch.setattr(system_metrics, "SHORTEST_PAUSE_S", 0.01)
    taken, enough = [], threading.Event()

    def take(numbers):
        taken.append(numbers)
        if len(taken) >= 3:
            enough.set()
        raise OSError("the store is away")

    sampler = Sampler(take)
    try:
        assert enough.wait(30)
    finally:
        sampler.stop()


def test_samples_come_seldomer_the_longer_it_runs():
    pauses = [pause_s(elapsed_s) for elapsed_s in (0, 60, 3600, 86_400, 7 * 86_400)]
    assert pauses == [5, 5, 36, 864, 6048]
    elapsed_s, samples = 0.0, 0
    while elapsed_s < 30 * 86_400:
        elapsed_s, samples = elapsed_s + pause_s(elapsed_s), samples + 1
    assert samples < 1000


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
