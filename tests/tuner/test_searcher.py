"""What Optuna is told of trials, whatever order Ray Tune's messages come in and whatever was interrupted."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from ray import tune
from ray.tune.result import DONE
from ray.tune.search import Searcher

from tuner.records import TrialRecord
from tuner.reports import DISK_FULL, FAILURE, TRIAL
from tuner.searcher import SweepSearch

SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b"]), "lr": tune.loguniform(1e-4, 1e-2)}


def search(mode="max", seed=0, trials=30, **more):
    searcher = SweepSearch(metric="score", mode=mode, seed=seed, trials=trials, **more)
    searcher.set_search_properties("score", mode, SPACE)
    return searcher


def epoch(number, score, **more):
    return {"epoch": number, "score": score, **more}


def told(searcher):
    return searcher.study.trials[0]


def ended(name, number, hyperparameters, scores, state="finished"):
    record = TrialRecord(name, number, hyperparameters, state=state)
    for of, score in enumerate(scores, 1):
        is_best = record.best is None or score > record.best
        record.take({"epoch": of, "is_best": is_best, "metrics": {"score": score}}, score)
    return record


def test_a_trial_that_ends_by_itself_is_complete_with_its_best_epoch():
    searcher = search()
    searcher.suggest("t")
    for step, score in ((1, 0.2), (2, 0.6), (3, 0.5)):
        searcher.on_trial_result("t", epoch(step, score))
    searcher.on_trial_complete("t", epoch(3, 0.5, done=True))
    assert (told(searcher).state, told(searcher).value) == (TrialState.COMPLETE, 0.6)


def test_where_less_is_better_the_best_epoch_is_the_lowest():
    searcher = search(mode="min")
    searcher.suggest("t")
    for step, score in ((1, 0.2), (2, 0.6)):
        searcher.on_trial_result("t", epoch(step, score))
    searcher.on_trial_complete("t", epoch(2, 0.6))
    assert told(searcher).value == 0.2


def test_a_trial_that_a_scheduler_stops_is_pruned_with_what_it_reached():
    stopped = set()
    searcher = search(stopped=stopped)
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    stopped.add("trial-0001")
    searcher.on_trial_complete("t", epoch(2, 0.3, done=True))  # Tune shows a stopped trial's last epoch here only
    assert told(searcher).state is TrialState.PRUNED
    assert told(searcher).intermediate_values == {1: 0.2, 2: 0.3}


@pytest.mark.parametrize(
    "result", [None, epoch(2, math.nan), epoch(2, math.inf), {FAILURE: "memory ran out", DONE: True, "epoch": 2}]
)
def test_a_failed_trial_fails(result):
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    searcher.on_trial_complete("t", result)
    assert told(searcher).state is TrialState.FAIL


def test_a_trial_whose_process_is_lost_goes_on_with_its_values_and_name():
    searcher = search(trials=1)
    first = searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    assert searcher.suggest("u") is None  # the one that runs might be lost
    searcher.on_trial_complete("t", error=True)
    searcher.again("trial-0001")
    assert searcher.suggest("u") == first
    for number, score in ((1, 0.2), (2, 0.4)):  # the first comes again
        searcher.on_trial_result("u", epoch(number, score))
    searcher.on_trial_complete("u", epoch(2, 0.4))
    assert [(of.state, of.value) for of in searcher.study.trials] == [(TrialState.COMPLETE, 0.4)]
    assert told(searcher).intermediate_values == {1: 0.2, 2: 0.4}
    assert searcher.suggest("v") == Searcher.FINISHED


def test_a_trial_that_is_lost_for_good_fails():
    searcher = search(trials=1)
    searcher.suggest("t")
    searcher.on_trial_complete("t", error=True)
    searcher.failed("trial-0001")
    assert told(searcher).state is TrialState.FAIL


def test_a_trial_that_a_full_disk_stopped_stays_open():
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_complete("t", {FAILURE: "no space", DISK_FULL: True})
    assert told(searcher).state is TrialState.RUNNING


def test_messages_about_finished_and_unknown_trials_change_nothing():
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    searcher.on_trial_complete("t", epoch(1, 0.2))
    searcher.on_trial_result("t", epoch(2, 0.9))
    searcher.on_trial_complete("t", None, error=True)
    searcher.on_trial_result("stranger", epoch(1, 0.9))
    searcher.on_trial_complete("stranger", epoch(1, 0.9))
    assert [(trial.state, trial.value) for trial in searcher.study.trials] == [(TrialState.COMPLETE, 0.2)]


def test_a_seed_repeats_the_search():
    first, second, other = (
        [searcher.suggest(name) for name in "abc"] for searcher in (search(seed=seed) for seed in (7, 7, 8))
    )
    assert first == second != other
    assert [of[TRIAL] for of in first] == ["trial-0001", "trial-0002", "trial-0003"]
    assert len({of["x"] for of in first}) == 3


def score_of(point):
    return 1 - (point["x"] - 0.3) ** 2 + (0.2 if point["kind"] == "b" else 0.0)


def whole(trials, cut=None, seed=0):
    """The suggestions of a sweep of one trial at a time; with ``cut`` it is interrupted there and goes on."""
    searcher, records, suggested = search(trials=trials, seed=seed), [], []
    for number in range(1, trials + 1):
        if number == cut:
            searcher = search(trials=trials, seed=seed, records=records)
        point = searcher.suggest("t")
        name = point.pop(TRIAL)
        suggested.append(point)
        state = "failed" if number % 7 == 3 else "stopped" if number % 5 == 4 else "finished"
        records.append(ended(name, number, point, [0.1, score_of(point)], state))
        searcher.stopped = {name} if state == "stopped" else set()
        for of, score in enumerate([0.1, score_of(point)], 1):
            searcher.on_trial_result("t", epoch(of, score))
        last = {FAILURE: "x"} if state == "failed" else epoch(2, score_of(point))
        searcher.on_trial_complete("t", last)
    return suggested


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(2, 24), seed=st.integers(0, 5))
def test_a_search_that_was_interrupted_suggests_what_it_would_have(cut, seed):
    assert whole(24, cut=cut, seed=seed) == whole(24, seed=seed)


def test_what_an_earlier_run_left_goes_on_first_and_gaps_are_filled():
    points = [{"x": number / 10, "kind": "a", "lr": 1e-3} for number in range(1, 6)]
    records = [
        ended("trial-0001", 1, points[0], [0.3]),
        ended("trial-0002", 2, points[1], [0.2], state="interrupted"),
        ended("trial-0004", 4, points[3], [], state="running"),
        ended("trial-0005", 5, points[4], [0.2], state="lost"),
    ]
    searcher = search(trials=6, records=records)
    given = [searcher.suggest(str(number)) for number in range(5)]
    assert [of[TRIAL] for of in given] == ["trial-0002", "trial-0004", "trial-0005", "trial-0003", "trial-0006"]
    assert [of["x"] for of in given[:3]] == [0.2, 0.4, 0.5]
    states = [of.state for of in searcher.study.trials]
    assert states == [TrialState.COMPLETE] + [TrialState.RUNNING] * 5


def test_the_first_trials_take_the_points_and_the_search_what_they_leave_open():
    points = [{"x": 0.25, "kind": "b", "lr": 2e-3}, {"kind": "a"}]
    searcher = search(points=points)
    first, second, third = (searcher.suggest(name) for name in "abc")
    assert first == {**points[0], TRIAL: "trial-0001"}
    assert second["kind"] == "a"
    assert 0 <= second["x"] <= 1
    assert len({first["x"], second["x"], third["x"]}) == 3
