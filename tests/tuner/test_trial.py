"""A trial's process: what it holds, and what the next trial in it finds."""

import errno
import itertools
import math
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ray import cloudpickle
from ray.tune.result import DONE, RESULT_DUPLICATE

from data_prep.storage import Storage
from trainables import loop
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.state import TrainingState
from tuner import trial as trial_module
from tuner.reports import CHECKPOINT, DISK_FULL, EPOCH, FAILURE, NOTE, REPLAYED, STATE, TRIAL
from tuner.trial import Job, NotHere, Trial, leaves_the_process_sound
from tuner.trial_folder import TrialFolder

NETWORK = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def job_of(shards, folder):
    """Make the job of a sweep in the module's folder."""

    def made(**changed) -> Job:
        epochs = changed.pop("max_epochs", 2)
        config = TrainingConfig(("mdb",), "vit", {}, Settings(batch_size=4, max_epochs=epochs, precision="fp32"))
        given = {"threads": 1, "device": "cpu", "metric": "validation_micro_f1", "folder": Storage.at(folder)} | changed
        return Job(config, shards=str(shards), **given)

    return made


class GivenItsJob(Trial):
    """A trial whose job comes with its hyperparameters, as it does where no Ray Tune keeps it."""

    def setup(self, config):
        super().setup(config, job=config.pop("job"))

    def _setup_logdir(self):
        """None: without Ray Tune it would be a folder in the user's home that nobody removes."""
        self._logdir = ""


def begun(job: Job, hyperparameters: dict[str, object]) -> Trial:
    """A trial that is about to train."""
    return GivenItsJob({**named(hyperparameters), "job": job})


def named(hyperparameters: dict[str, object]) -> dict[str, object]:
    """As a search gives them, for a trial of another name each time."""
    return {TRIAL: f"trial-{next(numbers):04d}", **hyperparameters}


numbers = itertools.count(1)


def trained(trial: Trial) -> list[dict[str, float]]:
    """What a trial learns, epoch by epoch: its metrics without those of time."""
    epochs = []
    while RESULT_DUPLICATE not in (result := trial.step()):
        assert FAILURE not in result
        epochs.append({name: of for name, of in result.items() if name.startswith(("train_", "validation_"))})
        epochs[-1].pop("validation_windows_per_s")
    return epochs


@pytest.fixture(scope="module")
def alone(job_of):
    """What a trial learns in a process without a past."""
    return trained(begun(job_of(), dict(NETWORK)))


FAILING = [
    ({"learning_rate": 1e38}, "FloatingPointError: the training loss became nan in epoch 1"),
    ({"heads": 7}, "Refused: .*no multiple of heads = 7"),
]


@pytest.mark.parametrize(("change", "sentence"), FAILING)
def test_after_a_failure_the_next_trial_learns_what_it_learns_alone(job_of, alone, change, sentence):
    import torch

    trial = begun(job_of(), {**NETWORK, **change})
    result = trial.step()
    assert re.match(sentence, result[FAILURE])
    assert result[DONE]
    torch.set_num_threads(2)
    torch.rand(7)
    assert trial.reset_config(named(NETWORK))
    assert trained(trial) == alone
    assert torch.get_num_threads() == 1


def test_after_memory_ran_out_the_next_trial_learns_what_it_learns_alone(job_of, alone, monkeypatch):
    with monkeypatch.context() as patch:

        def accumulate(*given, **named):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")

        patch.setattr(loop, "accumulate", accumulate)
        trial = begun(job_of(), dict(NETWORK))
        assert trial.step()[FAILURE].startswith("OutOfMemory: memory ran out with a single window at once")
    assert trial.reset_config(named(NETWORK))
    assert trained(trial) == alone


def test_a_finished_trial_leaves_nothing_to_the_next(job_of, alone):
    trial = begun(job_of(), {**NETWORK, "learning_rate": 0.003})
    assert trained(trial) != alone
    assert trial.reset_config(named(NETWORK))
    assert trained(trial) == alone


def numbers_of(results):
    return [(result["epoch"], REPLAYED in result) for result in results]


def test_a_trial_goes_on_where_it_was_and_says_what_it_learnt_again(job_of, folder):
    job, hyperparameters = job_of(max_epochs=4), named(NETWORK)
    whole = begun(job_of(max_epochs=4), NETWORK)
    expected = [whole.step() for _ in range(4)]
    first = begun(job, hyperparameters)
    before = [first.step() for _ in range(2)]
    again = begun(job, hyperparameters)
    results = [again.step() for _ in range(4)]
    assert RESULT_DUPLICATE in again.step()
    assert numbers_of(results) == [(1, True), (2, True), (3, False), (4, False)]
    for result, of in zip(results, expected, strict=True):
        for name in ("train_loss", "validation_loss", "validation_micro_f1", "learning_rate", "is_best"):
            assert result[name] == of[name]
    assert results[1]["train_loss"] == before[1]["train_loss"]
    kept = TrialFolder(Storage.at(folder) / hyperparameters[TRIAL])
    kept.keep({results[-1][STATE], results[-1][CHECKPOINT]})
    assert set(kept.folder.names()) == {results[-1][STATE], results[-1][CHECKPOINT]}
    best = max(results, key=lambda result: result["validation_micro_f1"])
    saved = Checkpoint.load(kept.folder.path / results[-1][CHECKPOINT])
    assert (saved.epoch, saved.metrics["validation_micro_f1"]) == (best["epoch"], best["validation_micro_f1"])


def test_a_trial_that_had_ended_only_says_it_again(job_of):
    job, hyperparameters = job_of(), named(NETWORK)
    first = begun(job, hyperparameters)
    trained(first)
    again = begun(job, hyperparameters)
    assert numbers_of([again.step(), again.step()]) == [(1, True), (2, True)]
    assert RESULT_DUPLICATE in again.step()


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_what_is_not_whole_is_not_gone_on_from(job_of, folder, damage):
    job, hyperparameters = job_of(max_epochs=3), named(NETWORK)
    first = begun(job, hyperparameters)
    results = [first.step(), first.step()]
    file = folder / hyperparameters[TRIAL] / results[1][STATE]
    content = file.read_bytes()
    if damage == "gone":
        import shutil

        shutil.rmtree(folder / hyperparameters[TRIAL] / results[1][CHECKPOINT])
    else:
        file.write_bytes(content[:-7] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    again = begun(job, hyperparameters)
    result = again.step()
    here = results[0][CHECKPOINT] != results[1][CHECKPOINT] or damage != "gone"
    assert (REPLAYED in result) == here
    assert re.search("is not there" if damage == "gone" else "the training state state-0002.* is damaged", result[NOTE])
    assert result["train_loss"] == results[0]["train_loss"]
    assert (again.step()["epoch"], NOTE in again.step()) == (2, False)


def test_a_full_disk_is_no_failure_of_the_trial(job_of, monkeypatch):
    def full(self, name, content):
        raise OSError(errno.ENOSPC, "No space left on device", name)

    trial = begun(job_of(), dict(NETWORK))
    trial.step()
    monkeypatch.setattr(type(trial.job.folder), "write", full)
    result = trial.step()
    assert result[DISK_FULL]
    assert result[DONE]
    assert "No space left" in result[FAILURE]


def test_a_storage_that_does_not_answer_is_raised(job_of, monkeypatch):
    def absent(self, name, content):
        raise OSError(errno.ECONNREFUSED, "connection refused")

    trial = begun(job_of(), dict(NETWORK))
    monkeypatch.setattr(trial_module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(type(trial.job.folder), "write", absent)
    with pytest.raises(OSError, match="connection refused"):
        trial.step()


def test_errors_that_may_leave_a_process_broken_are_told_and_end_it(job_of, monkeypatch):
    def broken(*given, **named):
        raise KeyError("a mistake")
        yield

    monkeypatch.setattr(loop, "train", broken)
    trial = begun(job_of(), dict(NETWORK))
    result = trial.step()
    assert result[FAILURE] == "KeyError: 'a mistake'"
    assert DONE not in result
    with pytest.raises(KeyError, match="a mistake"):
        trial.step()
    assert leaves_the_process_sound(FloatingPointError())
    assert not leaves_the_process_sound(KeyError())


def test_a_broken_gpu_is_not_the_trials_error(job_of, monkeypatch):
    def broken(*given, **named):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield

    monkeypatch.setattr(loop, "train", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        begun(job_of(), dict(NETWORK)).step()


@pytest.mark.parametrize("change", [{"shards": "/nowhere"}, {"checksums": {"mdb": "another"}}])
def test_a_machine_without_the_corpora_is_not_the_trials_error(job_of, monkeypatch, change):
    monkeypatch.setattr(trial_module, "PAUSE_NOT_HERE_S", 0.0)
    trial = begun(replace(job_of(), **change), dict(NETWORK))
    with pytest.raises(NotHere, match=r"cannot train on the corpora|was prepared anew since the sweep began"):
        trial.step()


def test_a_state_of_other_hyperparameters_is_not_gone_on_from(job_of):
    job, hyperparameters = job_of(), named(NETWORK)
    begun(job, hyperparameters).step()
    result = begun(job, {**hyperparameters, "learning_rate": 0.002}).step()
    assert "is of other hyperparameters" in result[NOTE]
    assert REPLAYED not in result


def test_a_state_without_its_history_is_not_gone_on_from(job_of, folder):
    job, hyperparameters = job_of(), named(NETWORK)
    trial = begun(job, hyperparameters)
    result = trial.step()
    file = folder / hyperparameters[TRIAL] / result[STATE]
    state, also = TrainingState.from_bytes(file.read_bytes())
    file.write_bytes(state.to_bytes({**also, "history": []}))
    again = begun(job, hyperparameters).step()
    assert "does not say what its epochs reported" in again[NOTE]
    assert REPLAYED not in again


def test_a_storage_that_is_away_for_a_while_is_waited_for(job_of, monkeypatch):
    trial = begun(job_of(), dict(NETWORK))
    inner, failures = type(trial.job.folder).write, [2]

    def away(self, name, content):
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.ECONNREFUSED, "connection refused")
        inner(self, name, content)

    monkeypatch.setattr(trial_module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(type(trial.job.folder), "write", away)
    assert trial.step()[EPOCH] == 1


def test_the_searched_metric_has_to_be_finite(job_of, monkeypatch):
    class Epoch:
        number, metrics, is_best = 3, {"validation_micro_f1": math.nan}, False

    monkeypatch.setattr(loop, "train", lambda *given, **named: iter([Epoch()]))
    result = begun(job_of(), dict(NETWORK)).step()
    assert result[FAILURE] == "FloatingPointError: validation_micro_f1 is nan in epoch 3"


def test_share_and_profile_reach_the_loop(job_of, monkeypatch):
    given = {}
    monkeypatch.setattr(loop, "train", lambda config, shards, **named: given.update(named) or iter(()))
    begun(job_of(share=0.25, profile=True), dict(NETWORK)).step()
    assert given == {"device": "cpu", "share": 0.25, "profile": True, "resume": None}


class Probe(GivenItsJob):
    """A trial that says with how many threads its process computes, and what is imported there."""

    def probe(self):
        import torch
        from threadpoolctl import threadpool_info

        pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
        return torch.get_num_threads(), pools, os.environ.get("OMP_NUM_THREADS"), set(sys.modules)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_trial_in_its_process_computes_with_its_threads(ray, job_of, threads):
    import ray as running

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # for its process cannot import this module
    actor = running.remote(num_cpus=threads)(Probe).remote({**named(NETWORK), "job": job_of(threads=threads)})
    running.get(actor.step.remote())
    count, pools, variable, modules = running.get(actor.probe.remote())
    running.kill(actor)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert count == threads
    assert variable == str(threads)
    assert set(pools.values()) == {threads}
    assert not {"mlflow", "optuna", "sqlalchemy", "matplotlib", "scipy", "soundfile"} & modules
