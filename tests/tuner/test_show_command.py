"""`mirtune show` as a person runs it."""

import json
import re

import pytest

from tuner.cli import COMMANDS, main
from tuner.commands import show


@pytest.fixture
def at(shards, tmp_path):
    return ["--shards", str(shards), "--out", str(tmp_path / "out")]


def made(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_is_a_command():
    assert show in COMMANDS


def test_a_corpus_in_words_and_in_a_picture(at, tmp_path, capsys):
    assert main(["show", "mdb", *at]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for words in ("MDB Drums, full mixes", "CC BY-NC-SA 4.0", "train", "all", "hi-hat", "9.0 s"):
        assert words in output.out
    assert output.out.rstrip().endswith(f"picture: {tmp_path / 'out' / 'mdb.png'}")
    assert made(tmp_path / "out") == ["mdb.png"]
    assert 20_000 < (tmp_path / "out" / "mdb.png").stat().st_size < 500_000


def test_a_track_in_a_picture_and_with_clicks(at, tmp_path, capsys):
    assert main(["show", "mdb", "--track", "Punk", "--click", "--from", "2", "--seconds", "1.5", *at]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert re.match(r"mdb Punk \(train, 9.0 s\): \d+ onsets \(kick \d+, snare", output.out)
    assert made(tmp_path / "out") == ["mdb-Punk-clicks.wav", "mdb-Punk.png"]
    for name in made(tmp_path / "out"):
        assert str(tmp_path / "out" / name) in output.out


@pytest.mark.parametrize("track", [[], ["--track", "first"]])
def test_json_is_one_document(at, track, capsys):
    assert main(["show", "mdb", *track, "--json", *at]) == 0
    output = capsys.readouterr()
    shown = json.loads(output.out)
    assert shown["corpus"] == "mdb"
    assert shown["picture"].endswith(".png")
    if track:
        assert shown["clicks"] is None
        assert sum(shown["classes"].values()) == shown["onsets"] == shown["excerpt"]["onsets"]
    assert output.err == ""


REFUSALS = [
    ("mdb --click", "--click is about one track; say which with --track"),
    ("mdb --seconds 3", "--seconds is about one track"),
    ("mdb --from 0", "--from is about one track"),
    ("mdb --track first --source .", "--source is where --click finds the audio"),
    ("mdb --track Pank", "no track 'Pank' in corpus 'mdb' with its 8 tracks; .* closest are Punk"),
    ("mdb --track Punk --from 10", "--from 10: track Punk lasts 9.01 s"),
    ("mdb --track Punk --seconds 0", "--seconds 0: expected a number above 0"),
    ("mdb --track Punk --click --source nowhere", "--source nowhere is no folder"),
    ("mdb --track Punk --click --source .", "is not MDB Drums"),
    ("groove", "corpus 'groove' is not prepared: .* run `mirtune prep groove"),
    ("nope", "unknown corpus 'nope' .*choose from .*mdb"),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSALS)
def test_it_refuses_with_status_2_and_one_sentence(line, sentence, at, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["show", *line.split(), *at]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("mirtune: ")
    assert output.err.count("\n") == 1
    assert re.search(sentence, output.err), output.err
    assert not (tmp_path / "out").exists() or not made(tmp_path / "out")
