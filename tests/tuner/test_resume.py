"""Sweeps that are interrupted and go on, on a real Ray and a real SQLite store."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from data_prep.storage import Storage
from tuner import registry
from tuner.options import SweepOptions
from tuner.points import read_points
from tuner.records import load_records
from tuner.reports import EPOCH, REPLAYED, TRIAL
from tuner.sweep import sweep
from tuner.sweep_folder import SweepFile
from tuner.tracking import SWEEP_RUN
from tuner.watch import Watcher

LEARNT = ("train_loss", "validation_loss", "validation_micro_f1", "learning_rate")


@pytest.fixture
def options(shards, tmp_path) -> SweepOptions:
    """Three trials of three epochs, one at a time."""
    return SweepOptions(
        corpora=("mdb",), architecture="vit", trials=3, max_epochs=3, batch_size=4, shards=shards, cpus_per_trial=2,
        precision="fp32", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", storage=str(tmp_path / "sweeps"), name="mine",
        narrow={"patch_bands": (21,), "heads": (2,), "layers": (1,), "width": (24, 36)},
    )  # fmt: skip


def folder_of(options):
    return Storage.at(options.storage) / options.name


def learnt(records):
    """What decides: values and scores of every trial, without names of files and times."""
    kept = []
    for record in records:
        epochs = [[entry["metrics"][name] for name in LEARNT] for entry in record.history]
        kept.append((record.id, record.hyperparameters, record.best, record.best_epoch, epochs))
    return kept


def told(options):
    """By trial: status, steps of the losses, and the validation losses in the tracking store."""
    client = MlflowClient(options.tracking_uri)
    experiment = client.get_experiment_by_name("mirtune").experiment_id
    runs = client.search_runs([experiment], f"tags.sweep = '{options.name}'")
    assert max(Counter(run.data.tags["trial"] for run in runs).values()) == 1
    histories = {}
    for run in runs:
        points = client.get_metric_history(run.info.run_id, "validation_loss")
        by_step = sorted((point.step, point.value) for point in points)
        histories[run.data.tags["trial"]] = (run.info.status, [step for step, _ in by_step], [of for _, of in by_step])
    return histories


def check_told(options, records):
    """Every epoch of every trial stands in the store once, and every run is closed."""
    found = told(options)
    assert found.pop(SWEEP_RUN)[0] == "FINISHED"
    assert set(found) == {record.id for record in records}
    for record in records:
        losses = [entry["metrics"]["validation_loss"] for entry in record.history]
        assert found[record.id] == ("FINISHED", list(range(1, record.epochs + 1)), losses)


@pytest.fixture(scope="module")
def undisturbed(shards, ray, tmp_path_factory):
    """What the sweep of ``options`` finds when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    whole = SweepOptions(
        corpora=("mdb",), architecture="vit", trials=3, max_epochs=3, batch_size=4, shards=shards, cpus_per_trial=2,
        precision="fp32", tracking_uri=f"sqlite:///{folder}/mlflow.db", storage=str(folder / "sweeps"), name="mine",
        narrow={"patch_bands": (21,), "heads": (2,), "layers": (1,), "width": (24, 36)},
    )  # fmt: skip
    sweep(whole)
    return learnt(load_records(folder_of(whole)))


def after_epochs(monkeypatch, count, happens):
    """Have something happen after so many epochs of the sweep were trained; it gets the last result."""
    seen = []
    inner = Watcher.on_trial_result

    def on_trial_result(self, iteration, trials, trial, result, **info):
        inner(self, iteration, trials, trial, result, **info)
        if EPOCH in result and REPLAYED not in result:
            seen.append((trial.config[TRIAL], result[EPOCH]))
            if len(seen) == count:
                happens(result)

    monkeypatch.setattr(Watcher, "on_trial_result", on_trial_result)
    return seen


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(6, marks=pytest.mark.slow)])
def test_a_sweep_that_the_user_stopped_goes_on_as_if_it_had_not_been(options, undisturbed, ray, monkeypatch, count):
    with monkeypatch.context() as patch:
        after_epochs(patch, count, lambda result: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            sweep(options)
    statuses = {trial: status for trial, (status, *_) in told(options).items()}
    assert statuses[SWEEP_RUN] == "KILLED"
    assert len(statuses) - 1 == len(load_records(folder_of(options))) == -(-count // 3)
    seen = after_epochs(monkeypatch, 99, None)
    done = sweep(replace(options, resume=True))
    records = load_records(folder_of(options))
    assert learnt(records) == undisturbed
    assert learnt(done.trials) == undisturbed
    assert len(seen) <= 9 - count  # no epoch was trained again
    check_told(options, records)
    assert done.registered.version == 1


def test_a_trial_whose_process_is_killed_goes_on_in_another(options, undisturbed, ray, monkeypatch, capsys):
    seen = after_epochs(monkeypatch, 5, lambda result: os.kill(result["pid"], signal.SIGKILL))
    done = sweep(options)
    assert learnt(done.trials) == undisturbed
    assert [record.attempts for record in done.trials] == [1, 2, 1]
    assert len(seen) in (9, 10)
    check_told(options, load_records(folder_of(options)))
    said = capsys.readouterr().err
    assert "trial 2/3 lost its process or machine (" in said
    assert ") and goes on after epoch 2, attempt 2 of 4" in said


@pytest.mark.slow
def test_a_trial_that_is_lost_too_often_goes_on_another_day(options, undisturbed, ray, monkeypatch):
    def happens(self, iteration, trials, trial, result, **info):
        inner(self, iteration, trials, trial, result, **info)
        if trial.config[TRIAL] == "trial-0001" and REPLAYED not in result and result[EPOCH] > 1:
            os.kill(result["pid"], signal.SIGKILL)

    inner = Watcher.on_trial_result
    with monkeypatch.context() as patch:
        patch.setattr(Watcher, "on_trial_result", happens)
        first = sweep(replace(options, max_failures=0))
    assert [record.state for record in first.trials] == ["lost", "finished", "finished"]
    assert first.undone == 1
    done = sweep(replace(options, resume=True))
    assert learnt(done.trials) == undisturbed
    check_told(options, done.trials)
    assert done.undone == 0


@pytest.mark.slow
def test_a_time_budget_ends_the_search_and_resume_goes_on(options, undisturbed, ray, monkeypatch, capsys):
    def late(result):
        limits[0].deadline = 0.0

    limits = []
    from tuner import search

    inner = search._Limits.__init__
    with monkeypatch.context() as patch:
        patch.setattr(search._Limits, "__init__", lambda self, *given: inner(self, *given) or limits.append(self))
        after_epochs(patch, 4, late)
        first = sweep(replace(options, time_budget_s=3600.0))
    assert first.undone == 2
    assert first.registered.version == 1
    assert "the time budget is used up: 1 of 3 trials are done; `mirtune sweep --name mine" in capsys.readouterr().err
    done = sweep(replace(options, resume=True))
    assert learnt(done.trials) == undisturbed
    check_told(options, done.trials)


@pytest.mark.slow
def test_a_finished_sweep_that_goes_on_does_nothing_twice_and_can_grow(options, undisturbed, ray, monkeypatch):
    first = sweep(options)
    seen = after_epochs(monkeypatch, 99, None)
    again = sweep(replace(options, resume=True))
    assert not seen
    assert (again.registered, again.tests, again.checkpoint) == (first.registered, first.tests, first.checkpoint)
    grown = sweep(replace(options, resume=True, trials=4))
    assert learnt(grown.trials)[:3] == undisturbed
    assert [trial for trial, _ in seen] == ["trial-0004"] * 3
    check_told(options, grown.trials)


@pytest.mark.slow
def test_what_the_store_missed_comes_with_resume(options, undisturbed, ray, tmp_path):
    away = tmp_path / "away"
    away.write_text("in the way")
    absent = replace(options, tracking_uri=f"sqlite:///{away}/mlflow.db")
    from tuner import tracking

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
        first = sweep(absent)
    assert "--resume" in first.warning
    away.unlink()
    done = sweep(replace(absent, resume=True))
    assert (done.warning, done.registered.version) == ("", 1)
    check_told(absent, done.trials)


@pytest.mark.slow
def test_asha_stops_trials_survives_interruption_and_failures(options, ray, monkeypatch, capsys):
    rates = (1e-6, 3e-2, 1e38, 1e-7, 2e-2, 1e-5)
    points = [{"learning_rate": rate, "width": 24} for rate in rates]
    file = Path(options.storage).parent / "points.json"
    file.write_text(json.dumps(points))
    asha = replace(options, trials=6, max_epochs=4, scheduler="asha", grace_epochs=1, points=str(file))
    asha = replace(asha, narrow={**options.narrow, "learning_rate": rates})
    whole = sweep(replace(asha, name="whole"))
    states = {record.number: (record.state, record.epochs) for record in whole.trials}
    assert states[3] == ("failed", 0)
    stopped = [number for number, (state, _) in states.items() if state == "stopped"]
    assert stopped
    assert all(states[number][1] < 4 for number in stopped)
    assert "its validation loss is behind" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        after_epochs(patch, 6, lambda result: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            sweep(asha)
    file.unlink()  # what the sweep began with is in its folder
    file.write_text(json.dumps(points[:1]))
    done = sweep(replace(asha, resume=True))
    assert {record.number: (record.state, record.epochs) for record in done.trials} == states
    assert learnt(done.trials) == learnt(whole.trials)
    assert [record.hyperparameters["learning_rate"] for record in done.trials] == list(rates)


@pytest.mark.slow
def test_a_corpus_gives_its_best_models_as_points(swept, shards, ray, tmp_path):
    (point,) = read_points("mdb", "vit", swept.tracking_uri)
    assert point == swept.result.best.hyperparameters
    assert registry.points("mdb/vit", "vit", swept.tracking_uri) == [point]
    options = replace(
        swept.options, name="pointed", storage=str(tmp_path), trials=1, max_epochs=1, points="mdb", profile=False
    )
    assert sweep(options).best.hyperparameters == point
    assert SweepFile.load(Storage.at(tmp_path) / "pointed").points == [point]
