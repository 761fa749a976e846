"""What Optuna is told of trials, whatever order Ray Tune's messages come in."""

import math

import pytest
from optuna.trial import TrialState
from ray import tune
from ray.tune.result import DONE

from tuner.scheduler import SCHEDULERS
from tuner.searcher import SeededSearch
from tuner.trial import FAILURE

SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b"])}


def search(mode="max", seed=0):
    searcher = SeededSearch(metric="score", mode=mode, seed=seed)
    searcher.set_search_properties("score", mode, SPACE)
    return searcher


def epoch(step, score, **more):
    return {"training_iteration": step, "score": score, **more}


def told(searcher):
    return searcher._ot_study.trials[0]


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


def test_a_trial_that_a_scheduler_stops_is_pruned_with_its_last_step():
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    searcher.on_trial_complete("t", epoch(2, 0.3, done=True))  # Tune shows a stopped trial's last epoch here only
    assert told(searcher).state is TrialState.PRUNED
    assert told(searcher).intermediate_values == {1: 0.2, 2: 0.3}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, True),
        (None, False),
        (epoch(2, math.nan), False),
        (epoch(2, math.inf), False),
        ({FAILURE: "memory ran out", DONE: True, "training_iteration": 2}, False),
    ],
)
def test_a_failed_trial_fails(result, error):
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    searcher.on_trial_complete("t", result, error=error)
    assert told(searcher).state is TrialState.FAIL


def test_messages_about_finished_and_unknown_trials_change_nothing():
    searcher = search()
    searcher.suggest("t")
    searcher.on_trial_result("t", epoch(1, 0.2))
    searcher.on_trial_complete("t", epoch(1, 0.2))
    searcher.on_trial_result("t", epoch(2, 0.9))
    searcher.on_trial_complete("t", None, error=True)
    searcher.on_trial_result("stranger", epoch(1, 0.9))
    searcher.on_trial_complete("stranger", epoch(1, 0.9))
    assert [(trial.state, trial.value) for trial in searcher._ot_study.trials] == [(TrialState.COMPLETE, 0.2)]


def test_a_seed_repeats_the_search():
    first, second, other = (
        [searcher.suggest(name) for name in "abc"] for searcher in (search(seed=seed) for seed in (7, 7, 8))
    )
    assert first == second != other


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_is_made_for_any_number_of_epochs(name):
    for max_epochs in (1, 3, 100):
        SCHEDULERS[name]("score", "max", max_epochs)
