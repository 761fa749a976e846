"""`mirtune evaluate` as a person runs it."""

import json
import re
from dataclasses import replace

import pytest

from trainables.config import Settings, TrainingConfig
from trainables.loop import train
from trainables.peaks import PeakRule
from tuner.cli import main

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
TUNED = PeakRule(thresholds=(0.3, 0.3, 0.3, 0.3, 0.3))
OLD_KEYS = ["corpus", "split", "protocol", "tolerance_ms", "micro_f1", "macro_f1", "precision", "recall"]


@pytest.fixture(scope="module")
def checkpoint(shards, tmp_path_factory):
    """Half trained, with a rule of its own."""
    settings = Settings(batch_size=4, max_epochs=12, learning_rate=1e-2, precision="fp32")
    last = [
        epoch.checkpoint for epoch in train(TrainingConfig(("mdb",), "vit", SMALL, settings), shards, device="cpu")
    ][-1]
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    replace(last, peak_rule=TUNED).save(folder)
    return folder


@pytest.fixture
def line(shards, checkpoint):
    return ["evaluate", str(checkpoint), "--on", "mdb", "--shards", str(shards)]


def rows(text):
    """The first word of each line of a table -> the others."""
    return {words[0]: words[1:] for words in map(str.split, text.splitlines()) if words}


def test_a_table_for_people_says_what_the_document_says(line, capsys, document):
    assert main([*line, "--split", "all", "--tracks"]) == 0
    shown = capsys.readouterr().out
    assert main([*line, "--split", "all", "--tracks", "--json"]) == 0
    score = document()
    assert set(OLD_KEYS) | {"tracks", "interval", "tolerances", "calibrated", "peak_rule", "classes"} <= set(score)
    table = rows(shown)
    for name, of in [*score["classes"].items(), ("micro", {**score, "f1": score["micro_f1"]})]:
        interval = "–".join(f"{bound:.3f}" for bound in of["interval"])
        numbers = [f"{of['f1']:.3f}", interval, f"{of['precision']:.3f}", f"{of['recall']:.3f}"]
        assert table[name][:4] == numbers
    assert table["micro"][-3:] == [f"{of['micro_f1']:.3f}" for of in score["tolerances"][:3]]
    assert len(score["by_track"]) == 8
    for of in score["by_track"]:
        assert table[of["id"]][:2] == [str(of["onsets"]), f"{of['micro_f1']:.3f}"]
    assert "mdb, split all, protocol tracks, within 50 ms" in shown
    assert "bootstrap over 8 tracks" in shown
    assert "peaks: tuned, the checkpoint's own" in shown


def test_the_effect_of_the_tuned_rule_can_be_seen(line, document):
    found = []
    for arguments in ([], ["--plain"], ["--thresholds", "0.5"], ["--plain", "--thresholds", "kick=0.3"]):
        assert main([*line, *arguments, "--json"]) == 0
        found.append(document())
    tuned, plain, given, kick = found
    assert [of["calibrated"] for of in found] == [True, False, False, False]
    assert tuned["peak_rule"]["thresholds"] == [0.3] * 5
    assert plain["peak_rule"]["thresholds"] == []
    assert plain["recall"] < tuned["recall"]
    assert {**given, "peak_rule": 0} == {**plain, "peak_rule": 0}
    assert kick["classes"]["kick"] == tuned["classes"]["kick"]
    assert kick["classes"]["snare"] == plain["classes"]["snare"]


def test_every_split_and_both_protocols(line, document):
    counted = {}
    for split in ("train", "validation", "test", "all"):
        for protocol in ("tracks", "segments"):
            assert main([*line, "--split", split, "--protocol", protocol, "--json"]) == 0
            score = document()
            assert (score["split"], score["protocol"]) == (split, protocol)
            counted[split, protocol] = score["tracks"], sum(of["onsets"] for of in score["classes"].values())
    for split, _ in counted:
        assert counted[split, "tracks"] == counted[split, "segments"]
    parts = [counted[split, "tracks"] for split in ("train", "validation", "test")]
    assert tuple(map(sum, zip(*parts, strict=True))) == counted["all", "tracks"]


def test_one_track_has_no_interval_and_the_table_says_so(line, monkeypatch, capsys, document):
    from trainables import evaluation

    whole = evaluation.Scored.of
    monkeypatch.setattr(
        evaluation.Scored, "of",
        lambda *arguments: replace(of := whole(*arguments), performances=["one"] * len(of.ids)),
    )  # fmt: skip
    assert main([*line, "--json"]) == 0
    score = document()
    assert score["interval"] is None
    assert {of["interval"] for of in score["classes"].values()} == {None}
    assert main(line) == 0
    shown = capsys.readouterr().out
    assert "too few for an interval" in shown
    assert "95 %" not in shown


def test_it_fits_a_terminal_of_80_columns(line, capsys, monkeypatch):
    from rich.console import Console

    from tuner.commands import evaluate

    monkeypatch.setattr(evaluate, "print_table", lambda of: Console(width=80).print(of))
    assert main([*line, "--tracks"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert len(re.findall("ms", shown.splitlines()[2])) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--average-gains 0", "--average-gains 0; expected 1 to"),
        ("--thresholds bass=0.3", "unknown class 'bass'; choose from kick, snare"),
        ("--thresholds 2", "'2' is no threshold; expected a number from 0 to 1"),
        ("--split dev", "unknown split 'dev'; choose from train, validation, test, all"),
    ],
)
def test_it_refuses(line, arguments, sentence, capsys):
    assert main([*line, *arguments.split()]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(f"mirtune: {sentence}.*\n", output.err), output.err


def test_several_corpora_are_a_list(line, document, shards):
    line = [*line[:3], "mdb", "mdb", *line[4:], "--json"]
    assert main(line) == 0
    assert json.dumps(document()).count('"micro_f1"') == 2 * 5
