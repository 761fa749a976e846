"""Where the time of trials goes: every second finds one stage."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from data_prep.storage import Storage
from tuner.profile import STAGES, SweepProfile, TrialProfile, shares

EPOCH = {"seconds": 10.0, "data_s": 1.0, "forward_s": 3.0, "backward_s": 4.0, "optimiser_s": 0.5, "validation_s": 1.0}
EPOCH |= {"checkpoint_s": 0.75}


def two_epochs():
    trial = TrialProfile(1, launched=100.0)
    trial.epoch(EPOCH, step_s=14.0, now=114.75)  # 4 s until its first epoch began
    trial.epoch(EPOCH, step_s=11.0, now=126.25)  # a quarter to take the weights, half a second between the steps
    trial.ended("finished", 126.5)
    return trial


def test_every_second_finds_its_stage():
    assert two_epochs().seconds == pytest.approx(
        {
            "start": 4.0,
            "data": 2.0,
            "forward": 6.0,
            "backward": 8.0,
            "optimiser": 1.0,
            "validation": 2.0,
            "checkpoint": 1.5,
            "reporting": 0.75,
            "rest": 1.25,
        }
    )
    assert two_epochs().wall_s == pytest.approx(26.5)


def test_a_trial_that_fails_in_an_epoch_has_it_as_rest():
    trial = TrialProfile(1, launched=0.0)
    trial.epoch(EPOCH, step_s=10.75, now=14.75)
    trial.ended("failed", 20.0)
    assert trial.seconds["rest"] == pytest.approx(5.75)
    assert trial.wall_s == pytest.approx(20.0)


def test_a_trial_without_an_epoch_is_rest():
    trial = TrialProfile(1, launched=0.0)
    trial.ended("failed", 3.0)
    assert shares(trial.seconds)["rest"] == 1.0
    assert set(shares(TrialProfile(1, launched=0.0).seconds).values()) == {0.0}


@given(
    epochs=st.lists(st.tuples(*[st.floats(0, 100)] * 9), max_size=5), tail=st.floats(0, 9), state=st.sampled_from("fk")
)
def test_stages_add_up_to_the_wall(epochs, tail, state):
    trial, now = TrialProfile(1, launched=7.0), 7.0
    for waited, *stages, copied, saved, other in epochs:
        metrics = dict(zip(("data_s", "forward_s", "backward_s", "optimiser_s", "validation_s"), stages, strict=True))
        epoch_s = sum(stages) + other
        now += waited + epoch_s + copied
        now += saved
        trial.epoch({**metrics, "seconds": epoch_s, "checkpoint_s": saved}, epoch_s + copied + saved, now)
    trial.ended({"f": "finished", "k": "interrupted"}[state], now + tail)
    assert trial.wall_s == pytest.approx(now + tail - 7.0, abs=1e-6)
    assert min(trial.seconds.values()) >= 0
    assert sum(shares(trial.seconds).values()) == pytest.approx(1.0) or trial.wall_s == 0


@pytest.fixture
def profile():
    made = SweepProfile("mine", at_once=2, before_s=4.0, search_s=27.0, after_s=1.0)
    made.trials = {"a": two_epochs(), "b": TrialProfile(2, launched=0.0)}
    made.trials["b"].ended("failed", 1.0)
    return made


def test_an_attempt_that_was_lost_is_rest():
    trial = TrialProfile(1, launched=0.0)
    trial.epoch(EPOCH, step_s=10.75, now=14.75)
    trial.again(40.0)
    trial.epoch(EPOCH, step_s=10.75, now=52.75)
    trial.ended("finished", 52.75)
    assert (trial.seconds["start"], trial.seconds["rest"]) == (pytest.approx(6.0), pytest.approx(26.25))


def test_it_is_written_into_the_sweeps_folder(profile, tmp_path):
    assert profile.write(Storage.at(tmp_path) / "mine") == f"{tmp_path}/mine"
    content = json.loads((tmp_path / "mine" / "profile.json").read_text())
    assert [trial["state"] for trial in content["trials"]] == ["finished", "failed"]
    assert content["training_and_validation_share"] == pytest.approx(20 / (2 * 32))
    assert list(content["all"]["shares"]) == list(STAGES)
    lines = (tmp_path / "mine" / "profile.md").read_text().splitlines()
    assert lines[2].startswith("| trial | wall s | start | data | forward |")
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| 1", "| 2", "| all"]
    assert "2 trials at a time spent 31% of that in training and validation." in lines[-1]
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"profile.json", "profile.md"}


def test_a_sweep_with_failures_is_profiled(swept):
    content = json.loads((swept.folder / "sweeps" / "first" / "profile.json").read_text())
    assert (swept.folder / "sweeps" / "first" / "profile.md").is_file()
    assert swept.result.profile is not None
    assert content == json.loads(json.dumps(swept.result.profile.to_dict()))
    assert [trial["trial"] for trial in content["trials"]] == [1, 2, 3, 4]
    states = {record.number: (record.state, record.epochs) for record in swept.result.trials}
    for trial in content["trials"]:
        assert (trial["state"], trial["epochs"]) == states[trial["trial"]]
        assert sum(trial["shares"].values()) == pytest.approx(1.0)
        assert sum(trial["seconds"].values()) == pytest.approx(trial["wall_s"])
        if trial["state"] == "finished":
            assert min(of for stage, of in trial["seconds"].items() if stage != "rest") > 0
    walls = content["before_s"] + content["search_s"] + content["after_s"]
    assert 0 < content["training_and_validation_share"] < 1
    assert max(trial["wall_s"] for trial in content["trials"]) < walls <= swept.result.seconds + 1


def test_the_command_that_does_the_same_profiles(swept):
    assert "--profile" in swept.options.command.split()
    assert "--profile" not in replace(swept.options, profile=False).command


def test_stages_stay_out_of_the_tracking_store(swept):
    client = MlflowClient(swept.tracking_uri)
    experiment = client.get_experiment_by_name("mirtune").experiment_id
    metrics = {name for run in client.search_runs([experiment]) for name in run.data.metrics}
    assert {"windows_per_s", "micro_batch"} <= metrics
    assert not {name for name in metrics if name.removesuffix("_s") in STAGES}
