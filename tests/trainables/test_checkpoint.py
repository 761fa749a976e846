"""Checkpoints: whole or absent, the same network again, every kind of damage refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES
from trainables.checkpoint import CONFIG, WEIGHTS, Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.network import Network
from trainables.peaks import PeakRule
from trainables.tasks import TASKS

CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    network = Network(TASKS["drum_onsets"], "vit", SMALL, bands=84, classes=5, mean=0.25, deviation=0.5)
    return Checkpoint(
        config=TrainingConfig(("mdb", "egmd"), "vit", SMALL, Settings(learning_rate=2e-3)),
        classes=CLASSES,
        features=FEATURES,
        bands=84,
        weights=network.state_dict(),
        epoch=7,
        metrics={"validation_micro_f1": 0.5},
        peak_rule=PeakRule(threshold=0.4),
    )


def edited(folder, **changes):
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, **changes}))
    return folder


def test_it_comes_back_as_it_was(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "best")
    again = Checkpoint.load(tmp_path / "best")
    assert (again.config, again.classes, again.epoch, again.metrics, again.peak_rule) == (
        checkpoint.config, checkpoint.classes, 7, {"validation_micro_f1": 0.5}, PeakRule(threshold=0.4),
    )  # fmt: skip
    bands = torch.rand(2, 50, 84)
    torch.testing.assert_close(again.network()(bands), checkpoint.network()(bands), atol=0, rtol=0)
    assert again.parameters == sum(value.numel() for name, value in again.weights.items() if "." in name)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [CONFIG, WEIGHTS]


def test_halves_are_half_as_large_and_come_back_as_floats(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "whole")
    checkpoint.save(tmp_path / "half", half=True)
    whole, half = ((tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "half"))
    assert half < 0.7 * whole
    again = Checkpoint.load(tmp_path / "half")
    assert {value.dtype for value in again.weights.values()} == {torch.float32}
    assert torch.equal(again.weights["head.bias"], checkpoint.weights["head.bias"])
    bands = torch.rand(2, 50, 84)
    torch.testing.assert_close(again.network()(bands), checkpoint.network()(bands), atol=0.01, rtol=0)
    checkpoint.weights["head.weight"][0, 0] = 1e6
    with pytest.raises(Refused, match=r"the weight 'head\.weight' is too large for float16"):
        checkpoint.save(tmp_path / "half", half=True)
    Checkpoint.load(tmp_path / "half")


def test_thresholds_come_back_and_older_checkpoints_have_none(checkpoint, tmp_path):
    rule = PeakRule(3, 0.05, thresholds=(0.2, 0.3, 0.4, 0.5, 0.6))
    replace(checkpoint, peak_rule=rule).save(tmp_path / "best")
    assert Checkpoint.load(tmp_path / "best").peak_rule == rule
    before = {"around_frames": 2, "delta": 0.1, "apart_frames": 2, "threshold": 0.4}
    assert Checkpoint.load(edited(tmp_path / "best", peak_rule=before)).peak_rule == checkpoint.peak_rule


def test_a_newer_one_replaces_it_whole(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "best")
    (tmp_path / "best" / "stray").touch()
    checkpoint.save(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert not (tmp_path / "best" / "stray").exists()


def test_a_failed_save_leaves_the_old_one(checkpoint, tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "best")
    monkeypatch.setattr("safetensors.torch.save", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        checkpoint.save(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    Checkpoint.load(tmp_path / "best")


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_a_folder_that_lacks_a_file(checkpoint, tmp_path, missing):
    checkpoint.save(tmp_path / "best")
    (tmp_path / "best" / missing).unlink()
    with pytest.raises(Refused, match=rf"best is no checkpoint: it lacks {missing}; .*mirtune pull"):
        Checkpoint.load(tmp_path / "best")


def test_damage(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "best")
    for changes, words in (
        ({"format": 2}, "is not of format 1"),
        ({"features": "mel/3"}, r"was trained on features 'mel/3'; expected 'log-filter/1'"),
        ({"bands": 83}, "expected patches that divide 83 bands"),
        ({"classes": ["kick"]}, r"do not fit config.json: 'head.* is \(5"),
        ({"surprise": 1}, "is damaged .*surprise"),
        ({"peak_rule": {"treshold": 1}}, "unknown key 'treshold' in a PeakRule"),
        ({"peak_rule": {"thresholds": [0.5, 0.5]}}, "2 thresholds for 5 classes"),
        ({"peak_rule": {"thresholds": [0.5, "0.5", 0.5, 0.5, 0.5]}}, "a threshold = '0.5'; expected 0 to 1"),
    ):
        before = (tmp_path / "best" / CONFIG).read_text()
        with pytest.raises(Refused, match=words):
            Checkpoint.load(edited(tmp_path / "best", **changes))
        (tmp_path / "best" / CONFIG).write_text(before)
    (tmp_path / "best" / WEIGHTS).write_bytes(b"\x08 broken")
    with pytest.raises(Refused, match=r"best is damaged .*pull it again"):
        Checkpoint.load(tmp_path / "best")
    (tmp_path / "best" / CONFIG).write_text("{")
    with pytest.raises(Refused, match="best is damaged"):
        Checkpoint.load(tmp_path / "best")


def test_weights_of_another_network(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "best")
    weights = load_file(tmp_path / "best" / WEIGHTS)
    del weights["head.bias"]
    save_file(weights, tmp_path / "best" / WEIGHTS)
    with pytest.raises(Refused, match=r"'head.bias' is missing, not \(5,\)"):
        Checkpoint.load(tmp_path / "best")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate = 0.0; expected a number above 0"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0; expected 0 or more"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose from auto, bf16, fp32"),
        ({"batch_size": "many"}, "batch_size = 'many' in a Settings; expected int"),
        ({"batch_size": True}, "batch_size = True in a Settings; expected int"),
        ({"batchsize": 1}, "unknown key 'batchsize' in a Settings"),
    ],
)
def test_settings_refuse_what_they_do_not_know(content, words):
    with pytest.raises(Refused, match=words):
        Settings.from_dict(content)


def test_a_config_that_lacks_something():
    with pytest.raises(Refused, match="a TrainingConfig lacks 'architecture'"):
        TrainingConfig.from_dict({"corpora": ["mdb"], "hyperparameters": {}})


def test_a_training_config_travels_as_json():
    config = TrainingConfig(("a", "b"), "crnn", {"layers": 3, "unit": "gru"}, Settings(seed=3))
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
