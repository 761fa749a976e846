"""What a person is told while trials run."""

import time
from types import SimpleNamespace

import pytest

from tuner.profile import SweepProfile
from tuner.watch import Watcher


class Told:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.metrics = []

    def start_trial(self, trial, name, parameters):
        pass

    def epoch(self, trial, number, metrics):
        self.metrics.append(metrics)

    def end(self, trial, status, **told):
        self.status = status


@pytest.fixture
def watcher():
    return Watcher(
        metric="validation_loss", mode="min", trials=20, max_epochs=9, batch_size=128, tracker=Told(),
        profile=SweepProfile("s"), launched={"t": time.monotonic()},
    )  # fmt: skip


TRIAL = SimpleNamespace(trial_id="t", config={})


def epoch(watcher, number, micro_batch):
    result = {"epoch": number, "validation_loss": 1.0, "seconds": 0.0, "time_this_iter_s": 0.0, "data_s": 0.0}
    watcher.on_trial_result(0, [TRIAL], TRIAL, {**result, "micro_batch": micro_batch})


def test_memory_that_ran_out_is_told_once_a_change(watcher, capsys):
    for number, micro_batch in enumerate((128.0, 64.0, 64.0, 16.0, 16.0), 1):
        epoch(watcher, number, micro_batch)
    told = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
    assert told == [
        "trial 1/20: memory ran out with 128 windows at once; 64 from now on, the batch stays 128",
        "trial 1/20: memory ran out with 64 windows at once; 16 from now on, the batch stays 128",
    ]
    assert [metrics["micro_batch"] for metrics in watcher.tracker.metrics] == [128.0, 64.0, 64.0, 16.0, 16.0]
    assert not any("data_s" in metrics for metrics in watcher.tracker.metrics)


def test_memory_that_ran_out_in_the_first_epoch_is_told(watcher, capsys):
    epoch(watcher, 1, 32.0)
    assert "trial 1/20: memory ran out with 128 windows at once; 32 from now on" in capsys.readouterr().err


def test_a_trial_that_says_why_it_failed_has_failed(watcher, capsys):
    epoch(watcher, 1, 128.0)
    watcher.on_trial_result(0, [TRIAL], TRIAL, {"failure": "FloatingPointError: no number", "done": True})
    watcher.on_trial_complete(0, [TRIAL], TRIAL)
    record = watcher.records["t"]
    assert (record.state, record.error, watcher.tracker.status) == ("failed", "FloatingPointError: no number", "FAILED")
    assert watcher.best is None
    assert "trial 1/20 failed after 1 epochs: FloatingPointError: no number" in capsys.readouterr().err
