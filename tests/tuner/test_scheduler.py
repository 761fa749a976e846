"""Which trials are stopped early, over retries and restarts."""

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from tuner.records import TrialRecord
from tuner.reports import LAST, REPLAYED, TRIAL
from tuner.scheduler import SCHEDULERS, Asha

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def tune_trial(name):
    return SimpleNamespace(config={TRIAL: name})


def say(asha, name, epoch, loss, **more):
    return asha.on_trial_result(None, tune_trial(name), {"epoch": epoch, "validation_loss": loss, **more})


def asha(**more):
    made = Asha(**{"max_epochs": 16, "grace_epochs": 2, **more})
    for name in "abcd":
        made.on_trial_add(None, tune_trial(name))
    return made


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_is_made_for_any_number_of_epochs(name):
    for max_epochs in (1, 3, 100):
        assert not SCHEDULERS[name](max_epochs, 10, []).stopped


def test_the_half_with_the_higher_loss_is_stopped_at_a_rung_and_not_before():
    scheduler = asha()
    assert [say(scheduler, name, 1, loss) for name, loss in zip("abcd", (1, 9, 9, 9), strict=True)] == [CONTINUE] * 4
    assert [say(scheduler, name, 2, loss) for name, loss in zip("abcd", (1, 4, 0.5, 3), strict=True)] == [
        CONTINUE, STOP, CONTINUE, STOP,
    ]  # fmt: skip
    assert scheduler.stopped == {"b", "d"}
    assert say(scheduler, "a", 3, 99) == CONTINUE  # no rung
    assert say(scheduler, "c", 4, 1) == CONTINUE
    assert say(scheduler, "a", 4, 2) == STOP


def test_a_trial_that_reaches_its_last_epoch_was_not_stopped():
    scheduler = asha()
    assert [say(scheduler, "a", epoch, 1) for epoch in range(1, 17)] == [CONTINUE] * 16
    assert not scheduler.stopped


def test_what_is_said_again_stops_nothing_and_counts_once():
    scheduler = asha()
    assert say(scheduler, "a", 2, 1) == CONTINUE
    scheduler.on_trial_error(None, tune_trial("b"))
    scheduler.on_trial_add(None, tune_trial("b"))
    assert say(scheduler, "b", 2, 5, **{REPLAYED: True}) == CONTINUE  # it had passed here
    assert say(scheduler, "b", 2, 5) == CONTINUE
    assert say(scheduler, "c", 2, 4) == STOP  # a at 1 and b at 5: the cut is at 3
    assert scheduler.stopped == {"c"}


def test_of_the_last_epoch_that_is_said_again_it_is_decided():
    scheduler = asha()
    assert say(scheduler, "a", 2, 1) == CONTINUE
    assert say(scheduler, "b", 2, 5, **{REPLAYED: True, LAST: True}) == STOP
    assert scheduler.stopped == {"b"}


def test_rungs_of_an_earlier_run_are_filled():
    def past(name, number, *losses):
        record = TrialRecord(name, number, {}, state="finished")
        for epoch, loss in enumerate(losses, 1):
            record.take({"epoch": epoch, "is_best": False, "metrics": {"validation_loss": loss}}, 0.0)
        return record

    records = [past("y", 1, 9, 1, 1, 1), past("z", 2, 9, 2)]
    scheduler = asha(past=records)
    assert not scheduler.stopped
    assert say(scheduler, "a", 2, 1.4) == CONTINUE
    assert say(scheduler, "b", 2, 1.9) == STOP
    assert say(scheduler, "a", 4, 1.1) == STOP
