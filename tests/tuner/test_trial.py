"""A trial's process: what it holds, and what the next trial in it finds."""

import math
import os
import re
import sys
from pathlib import Path

import pytest
from ray import cloudpickle
from ray.tune.result import DONE, RESULT_DUPLICATE

from trainables import loop
from trainables.config import Settings, TrainingConfig
from tuner.trial import FAILURE, Job, Trial, leaves_the_process_sound

NETWORK = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24, "learning_rate": 0.01}


def job_of(shards: Path, **changed) -> Job:
    config = TrainingConfig(("mdb",), "vit", {}, Settings(batch_size=4, max_epochs=2, precision="fp32"))
    return Job(config, shards, **({"threads": 1, "device": "cpu", "metric": "validation_micro_f1"} | changed))


class GivenItsJob(Trial):
    """A trial whose job comes with its hyperparameters, as it does where no Ray Tune keeps it."""

    def setup(self, config):
        super().setup(config, job=config.pop("job"))

    def _setup_logdir(self):
        """None: without Ray Tune it would be a folder in the user's home that nobody removes."""
        self._logdir = ""


def begun(job: Job, hyperparameters: dict[str, object]) -> Trial:
    """A trial that is about to train."""
    return GivenItsJob({**hyperparameters, "job": job})


def trained(trial: Trial) -> list[dict[str, float]]:
    """What a trial learns, epoch by epoch: its metrics without those of time."""
    epochs = []
    while RESULT_DUPLICATE not in (result := trial.step()):
        assert FAILURE not in result
        epochs.append({name: of for name, of in result.items() if name.startswith(("train_", "validation_"))})
        epochs[-1].pop("validation_windows_per_s")
    return epochs


@pytest.fixture(scope="module")
def alone(shards):
    """What a trial learns in a process without a past."""
    return trained(begun(job_of(shards), dict(NETWORK)))


FAILING = [
    ({"learning_rate": 1e38}, "FloatingPointError: the training loss became nan in epoch 1"),
    ({"heads": 7}, "Refused: .*no multiple of heads = 7"),
]


@pytest.mark.parametrize(("change", "sentence"), FAILING)
def test_after_a_failure_the_next_trial_learns_what_it_learns_alone(shards, alone, change, sentence):
    import torch

    trial = begun(job_of(shards), {**NETWORK, **change})
    result = trial.step()
    assert re.match(sentence, result[FAILURE])
    assert result[DONE]
    torch.set_num_threads(2)
    torch.rand(7)
    assert trial.reset_config(dict(NETWORK))
    assert torch.get_num_threads() == 1
    assert trained(trial) == alone


def test_after_memory_ran_out_the_next_trial_learns_what_it_learns_alone(shards, alone, monkeypatch):
    with monkeypatch.context() as patch:

        def accumulate(*given, **named):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")

        patch.setattr(loop, "accumulate", accumulate)
        trial = begun(job_of(shards), dict(NETWORK))
        assert trial.step()[FAILURE].startswith("OutOfMemory: memory ran out with a single window at once")
    assert trial.reset_config(dict(NETWORK))
    assert trained(trial) == alone


def test_a_finished_trial_leaves_nothing_to_the_next(shards, alone):
    trial = begun(job_of(shards), {**NETWORK, "learning_rate": 0.003})
    assert trained(trial) != alone
    assert trial.reset_config(dict(NETWORK))
    assert trial.epoch is None
    assert trained(trial) == alone


def test_the_latest_epoch_is_what_a_checkpoint_holds(shards, tmp_path):
    trial = begun(job_of(shards), dict(NETWORK))
    trial.step()
    trial.step()
    trial.save_checkpoint(str(tmp_path))
    from trainables.checkpoint import Checkpoint

    assert Checkpoint.load(tmp_path / "checkpoint").epoch == 2


def test_errors_that_may_leave_a_process_broken_end_it(shards, monkeypatch):
    def broken(*given, **named):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield

    monkeypatch.setattr(loop, "train", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        begun(job_of(shards), dict(NETWORK)).step()
    assert leaves_the_process_sound(FloatingPointError())
    assert not leaves_the_process_sound(KeyError())


def test_the_searched_metric_has_to_be_finite(shards, monkeypatch):
    class Epoch:
        number, metrics, is_best = 3, {"validation_micro_f1": math.nan}, False

    monkeypatch.setattr(loop, "train", lambda *given, **named: iter([Epoch()]))
    result = begun(job_of(shards), dict(NETWORK)).step()
    assert result[FAILURE] == "FloatingPointError: validation_micro_f1 is nan in epoch 3"


def test_share_and_profile_reach_the_loop(shards, monkeypatch):
    given = {}
    monkeypatch.setattr(loop, "train", lambda config, shards, **named: given.update(named) or iter(()))
    begun(job_of(shards, share=0.25, profile=True), dict(NETWORK))
    assert given == {"device": "cpu", "share": 0.25, "profile": True}


class Probe(GivenItsJob):
    """A trial that says with how many threads its process computes, and what is imported there."""

    def probe(self):
        import torch
        from threadpoolctl import threadpool_info

        pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
        return torch.get_num_threads(), pools, os.environ.get("OMP_NUM_THREADS"), set(sys.modules)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_trial_in_its_process_computes_with_its_threads(ray, shards, threads):
    import ray as running

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # for its process cannot import this module
    actor = running.remote(num_cpus=threads)(Probe).remote({**NETWORK, "job": job_of(shards, threads=threads)})
    running.get(actor.step.remote())
    count, pools, variable, modules = running.get(actor.probe.remote())
    running.kill(actor)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert count == threads
    assert variable == str(threads)
    assert set(pools.values()) == {threads}
    assert not {"mlflow", "optuna", "sqlalchemy", "matplotlib", "scipy", "soundfile"} & modules
