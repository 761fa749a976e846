"""What a person is told while trials run."""

import errno
import time
from types import SimpleNamespace

import pytest
from ray import tune

from data_prep.storage import Storage
from tuner.hooks import what_was_lost
from tuner.profile import SweepProfile
from tuner.records import TrialRecord, load_records
from tuner.reports import BEGINS_AFTER, CHECKPOINT, DISK_FULL, FAILURE, IS_BEST, REPLAYED, SAVING_S, STATE
from tuner.scheduler import NoStops
from tuner.searcher import SweepSearch
from tuner.watch import Watcher


class Told:
    """A tracker that keeps what it is told."""

    sweep, command = "s", "mirtune sweep"

    def __init__(self):
        self.metrics = []

    def inputs(self, trial, inputs):
        pass

    def watch_machine(self):
        pass

    def start_trial(self, trial, name, parameters):
        pass

    def epoch(self, trial, number, metrics, tags):
        self.metrics.append({"epoch": number, **metrics})

    def end(self, trial, status, **told):
        self.status = status


@pytest.fixture
def folder(tmp_path):
    return Storage.at(tmp_path)


@pytest.fixture
def watcher(folder):
    searcher = SweepSearch(metric="validation_loss", mode="min", seed=0, trials=20)
    searcher.set_search_properties("validation_loss", "min", {"x": tune.uniform(0, 1)})
    made = Watcher(
        metric="validation_loss", mode="min", trials=20, max_epochs=9, batch_size=128, max_failures=2, folder=folder,
        tracker=Told(), profile=SweepProfile("s"), searcher=searcher, scheduler=NoStops(),
    )  # fmt: skip
    begin(made)
    return made


def begin(watcher):
    """A trial, or the same in another attempt, as Tune would have it; the trial's view of it."""
    identity = f"id{len(watcher.tracker.metrics)}{time.monotonic()}"
    trial = SimpleNamespace(trial_id=identity, config=watcher.searcher.suggest(identity), error_file=None)
    trial.placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1}])
    watcher.on_trial_start(0, [trial], trial)
    watcher.running = trial
    return trial


def epoch(watcher, number, micro_batch=128.0, loss=1.0, **more):
    trial = watcher.running
    result = {"epoch": number, "validation_loss": loss, "seconds": 0.0, "time_this_iter_s": 0.0, "data_s": 0.0}
    result |= {IS_BEST: True, STATE: f"state-{number:04d}-x.safetensors", CHECKPOINT: f"best-{number:04d}-x"}
    watcher.on_trial_result(0, [trial], trial, {**result, "micro_batch": micro_batch, SAVING_S: 0.0, **more})


def lose(watcher):
    """The trial's process is gone."""
    trial = watcher.running
    watcher.searcher.on_trial_complete(trial.trial_id, error=True)
    watcher.on_trial_error(0, [trial], trial)


def test_memory_that_ran_out_is_told_once_a_change(watcher, capsys):
    for number, micro_batch in enumerate((128.0, 64.0, 64.0, 16.0, 16.0), 1):
        epoch(watcher, number, micro_batch)
    told = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
    assert told == [
        "trial 1/20 memory ran out with 128 windows at once; 64 from now on, the batch stays 128",
        "trial 1/20 memory ran out with 64 windows at once; 16 from now on, the batch stays 128",
    ]
    assert [metrics["micro_batch"] for metrics in watcher.tracker.metrics] == [128.0, 64.0, 64.0, 16.0, 16.0]
    assert not any("data_s" in metrics for metrics in watcher.tracker.metrics)


def test_memory_that_ran_out_in_the_first_epoch_is_told(watcher, capsys):
    epoch(watcher, 1, 32.0)
    assert "trial 1/20 memory ran out with 128 windows at once; 32 from now on" in capsys.readouterr().err


def test_a_trial_that_says_why_it_failed_has_failed(watcher, folder, capsys):
    epoch(watcher, 1)
    trial = watcher.running
    watcher.on_trial_result(0, [trial], trial, {FAILURE: "FloatingPointError: no number", "done": True})
    watcher.on_trial_complete(0, [trial], trial)
    (record,) = load_records(folder)
    assert (record.state, record.error, watcher.tracker.status) == ("failed", "FloatingPointError: no number", "FAILED")
    assert watcher.best is None
    assert "trial 1/20 failed after 1 epochs: FloatingPointError: no number" in capsys.readouterr().err


def test_an_error_that_ended_its_process_is_the_trials_own(watcher, folder):
    trial = watcher.running
    watcher.on_trial_result(0, [trial], trial, {FAILURE: "RuntimeError: CUDA error"})
    lose(watcher)
    assert [(of.state, of.error) for of in load_records(folder)] == [("failed", "RuntimeError: CUDA error")]


def test_a_lost_trial_goes_on_and_no_epoch_is_told_twice(watcher, folder, capsys):
    first = watcher.running
    epoch(watcher, 1)
    epoch(watcher, 2)
    lose(watcher)
    again = begin(watcher)
    assert again.config == first.config
    for number in (1, 2, 3):  # its third epoch was saved and never told
        epoch(watcher, number, **{REPLAYED: True})
    epoch(watcher, 4)
    watcher.on_trial_complete(0, [again], again)
    assert [metrics["epoch"] for metrics in watcher.tracker.metrics] == [1, 2, 3, 4]
    (record,) = load_records(folder)
    assert (record.state, record.attempts, record.epochs) == ("finished", 2, 4)
    assert [entry["epoch"] for entry in record.history] == [1, 2, 3, 4]
    told = capsys.readouterr().err
    assert "lost its process or machine (Ray did not say why) and goes on after epoch 2, attempt 2 of 3" in told
    assert told.count("epoch 3/9") == 0


def test_a_trial_that_goes_on_from_earlier_than_the_record_forgets_what_came_after(watcher, folder):
    for number, loss in ((1, 3.0), (2, 2.0), (3, 1.0)):
        epoch(watcher, number, loss=loss)
    lose(watcher)
    again = begin(watcher)
    epoch(watcher, 1, loss=3.0, **{REPLAYED: True, BEGINS_AFTER: 1})
    epoch(watcher, 2, loss=2.5)
    watcher.on_trial_complete(0, [again], again)
    (record,) = load_records(folder)
    assert (record.best, record.best_epoch, record.checkpoint) == (2.5, 2, "best-0002-x")
    assert [entry["epoch"] for entry in record.history] == [1, 2]


def test_a_trial_that_is_lost_too_often_can_go_on_another_day(watcher, folder, capsys):
    epoch(watcher, 1)
    lose(watcher)
    for _ in range(2):
        begin(watcher)
        lose(watcher)
    (record,) = load_records(folder)
    assert (record.state, record.attempts, record.ended) == ("lost", 3, False)
    assert "trial 1/20 was lost 3 times" in capsys.readouterr().err


def test_a_process_that_is_lost_before_its_trial_began_is_begun_again(watcher, folder):
    identity = "early"
    trial = SimpleNamespace(trial_id=identity, config=watcher.searcher.suggest(identity), error_file=None)
    trial.placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1}])
    watcher.running = trial
    lose(watcher)
    assert begin(watcher).config == trial.config
    assert [(of.id, of.attempts) for of in load_records(folder)] == [("trial-0001", 1), ("trial-0002", 2)]


def test_what_could_not_be_written_is_written_with_the_next(watcher, folder, monkeypatch, capsys):
    def absent(self, folder):
        raise OSError(errno.ECONNREFUSED, "connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(TrialRecord, "save", absent)
        epoch(watcher, 1)
    assert "the sweep's folder does not answer (ConnectionRefusedError" in capsys.readouterr().err
    assert load_records(folder)[0].epochs == 0
    epoch(watcher, 2, **{IS_BEST: False})
    assert load_records(folder)[0].epochs == 2


def test_a_sweep_that_is_another_process_s_is_left_alone(watcher, folder):
    watcher.is_held = lambda: False
    (folder / "trial-0001").write("state-0001-theirs.safetensors", b"")
    epoch(watcher, 1)
    watcher.on_experiment_end([])
    assert "state-0001-theirs.safetensors" in (folder / "trial-0001").names()
    assert load_records(folder)[0].state == "running"


def test_a_full_disk_leaves_the_trial_to_go_on(watcher, folder):
    epoch(watcher, 1)
    trial = watcher.running
    watcher.on_trial_result(0, [trial], trial, {FAILURE: "no space", DISK_FULL: True, "done": True})
    watcher.on_trial_complete(0, [trial], trial)
    assert "o space" in watcher.full
    assert [of.state for of in load_records(folder)] == ["interrupted"]


def test_a_disk_that_is_full_for_the_record_is_noticed(watcher, monkeypatch):
    def full(self, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrialRecord, "save", full)
    trial = watcher.running
    watcher.on_trial_complete(0, [trial], trial)
    assert "o space" in watcher.full


def test_only_the_best_and_the_last_are_kept(watcher, folder):
    trial = folder / "trial-0001"
    for number in (1, 2, 3):
        trial.write(f"state-{number:04d}-x.safetensors", b"state")
        trial.write(f"best-{number:04d}-x", b"checkpoint")
        epoch(watcher, number, **({} if number == 1 else {CHECKPOINT: "best-0001-x", IS_BEST: False}))
        kept = ["best-0001-x", f"state-{number:04d}-x.safetensors", "trial.json"]
        assert trial.names() == kept
    assert (watcher.best.best_epoch, watcher.best.checkpoint) == (1, "best-0001-x")


def test_why_ray_gave_up_is_told_in_a_line(tmp_path):
    file = tmp_path / "error.txt"
    blocks = ["Failure # 1 (occurred at noon)\nold\n", "Failure # 2 (occurred at one)\nThe actor died.\n\tid: 1\n"]
    file.write_text("".join(blocks))
    assert what_was_lost(SimpleNamespace(error_file=str(file))) == "The actor died."
    file.write_text(
        "Failure # 1 (occurred at noon)\nray::Trial.train() (pid=1)\n  File x\n    raise\nNotHere: no corpus\n"
    )
    assert what_was_lost(SimpleNamespace(error_file=str(file))) == "NotHere: no corpus"
    assert what_was_lost(SimpleNamespace(error_file=str(tmp_path / "none"))) == "Ray did not say why"
