"""`mirtune calibrate`: a checkpoint with a rule of its own, which evaluate then uses; what it gains, and held out."""

import json
import shutil

import numpy as np
import pytest
import torch

from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.evaluation import evaluate
from trainables.loop import train
from trainables.peaks import STUDY_RULE
from trainables.recalibration import _Heard, _held_out, recalibrate
from tuner.cli import main

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}


@pytest.fixture(scope="module")
def folder(shards, tmp_path_factory):
    """A checkpoint that has learnt little, so that its activations are faint."""
    settings = Settings(batch_size=4, max_epochs=12, learning_rate=1e-2, precision="fp32")
    *_, last = train(TrainingConfig(("mdb",), "vit", SMALL, settings), shards, device="cpu")
    folder = tmp_path_factory.mktemp("trained") / "faint"
    last.checkpoint.save(folder)
    return folder


@pytest.fixture
def line(folder, shards, tmp_path) -> list[str]:
    out = str(tmp_path / "tuned")
    return ["calibrate", str(folder), "--on", "mdb", "--split", "all", "--shards", str(shards), "--out", out]


def test_the_new_checkpoint_scores_what_was_told(folder, line, shards, tmp_path, capsys):
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    old, new = Checkpoint.load(folder), Checkpoint.load(tmp_path / "tuned")
    assert told["peak_rule"]["thresholds"] == list(new.peak_rule.thresholds)
    assert len(new.peak_rule.thresholds) == 5
    for name, checkpoint, rule in (("before", old, None), ("after", new, None), ("plain", new, STUDY_RULE)):
        score = evaluate(checkpoint, "mdb", shards, split="all", rule=rule, device="cpu")
        assert told[name]["micro_f1"] == pytest.approx(score.micro_f1)
        assert told[name]["macro_f1"] == pytest.approx(score.macro_f1)
        assert told[name]["classes"] == pytest.approx({of: value.f1 for of, value in score.classes.items()})
    assert told["after"]["micro_f1"] > told["before"]["micro_f1"] + 0.02
    assert 0 < told["held_out"]["micro_f1"] <= told["after"]["micro_f1"] + 0.02
    assert told["tracks"] == 8


def test_thresholds_go_as_far_as_the_split_is_trusted(line, tmp_path, capsys):
    rules = {}
    for trust in ("1", "0.5", "0"):
        assert main([*line, "--json", "--trust", trust]) == 0
        rules[trust] = json.loads(capsys.readouterr().out)["peak_rule"]
    whole, half, none = (np.array(rules[trust]["thresholds"]) for trust in ("1", "0.5", "0"))
    np.testing.assert_allclose(half, (whole + 0.5) / 2, atol=1e-4)
    assert set(none) == {0.5}
    assert (whole != 0.5).any()
    assert rules["0"] | {"thresholds": []} == rules["1"] | {"thresholds": []}
    assert main([*line, "--trust", "1.5"]) == 2
    assert "--trust = 1.5; expected 0 to 1" in capsys.readouterr().err


def test_people_see_a_table(line, tmp_path, capsys):
    assert main(line) == 0
    output = capsys.readouterr().out
    assert "F1 on mdb, split all, within 50 ms" in output
    for word in ("threshold", "before", "after", "held out", "kick", "cymbals", "micro", "macro", "tuned"):
        assert word in output
    assert main(line) == 0  # an earlier checkpoint is replaced


def test_it_refuses(line, folder, tmp_path, capsys):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "song.wav").touch()
    assert main(line) == 2
    assert "tuned exists and is no checkpoint, or has a README.md; choose another" in capsys.readouterr().err
    line[-1] = str(tmp_path / "other")
    line[line.index("all")] = "dev"
    assert main(line) == 2
    assert "unknown split 'dev'; choose from train, validation, test, all" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_gains_are_averaged_and_several_corpora_are_one(folder, without, shards, tmp_path):
    checkpoint = Checkpoint.load(folder)
    folders = shards / "mdb", shutil.copytree(shards, tmp_path / "again") / "mdb"
    corpora = [Corpus.open(of) for of in folders]
    once = recalibrate(checkpoint, corpora[:1], "validation", device="cpu")
    averaged = recalibrate(checkpoint, corpora[:1], "validation", (-6.0, 6.0), device="cpu")
    assert (averaged.before != once.before).any()
    twice = recalibrate(checkpoint, corpora, "validation", device="cpu")
    assert (twice.before == 2 * once.before).all()
    assert twice.tracks == 2 * once.tracks == 4
    with pytest.raises(Refused, match="has no validation tracks"):
        recalibrate(checkpoint, [Corpus.open(without("validation") / "mdb")], device="cpu")


def test_a_single_performance_has_nothing_to_hold_out():
    heard = _Heard([torch.zeros(500, 5)] * 2, [torch.zeros(500, 5, dtype=torch.bool)] * 2)
    assert _held_out(heard, np.array([0, 0])) is None
    counts = _held_out(heard, np.array([0, 1]))
    assert counts is not None
    assert not counts.any()
