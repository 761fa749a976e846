"""The commands as a person runs them, after one small sweep."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mido
import pytest

from tuner import sweep as sweep_module
from tuner.cli import main
from tuner.commands.sweep import choices
from tuner.leaderboard import leaderboard
from tuner.profile import STAGES


@pytest.fixture
def at(swept):
    return ["--tracking-uri", swept.tracking_uri]


def test_leaderboard_as_json_and_as_table(swept, at, capsys, document):
    assert main(["leaderboard", "--json", *at]) == 0
    (row,) = document()
    assert (row["corpus"], row["architecture"], row["protocol"]) == ("mdb", "vit", "tracks")
    assert row["validation_micro_f1"] == swept.result.best.best
    assert row["test_micro_f1"] == swept.result.tests["mdb"]["micro_f1"]
    assert (row["trials"], row["sweep"]) == (4, "first")
    assert main(["leaderboard", *at]) == 0
    shown = capsys.readouterr().out
    assert f"{row['parameters']:,}" in shown
    assert "by protocol" in shown
    assert "tracks" in shown


def test_leaderboard_of_a_corpus(at, capsys, document):
    assert main(["leaderboard", "--corpus", "groove", *at]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "no model is registered for groove yet; choose from mdb, or run mirtune sweep" in output.err
    assert main(["leaderboard", "--json", "--corpus", "groove", *at]) == 0
    assert document() == []


def test_an_empty_store_is_no_error_and_is_not_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == []
    assert "no model is registered yet; run mirtune sweep" in output.err
    assert list(tmp_path.iterdir()) == []


def test_pull_then_evaluate_then_transcribe(swept, at, shards, recording, tmp_path, capsys, document):
    out = tmp_path / "best"
    for _ in range(2):  # an earlier pull is replaced
        assert main(["pull", "mdb/vit", "--out", str(out), *at]) == 0
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    card = (out / "README.md").read_text()
    assert swept.options.command in card
    assert f"{swept.result.best.best:.3f}" in card
    capsys.readouterr()

    scores = []
    for checkpoint in (str(out), "mdb/vit"):
        assert main(["evaluate", checkpoint, "--on", "mdb", "--shards", str(shards), "--json", *at]) == 0
        scores.append(document())
    assert scores[0] == scores[1] == swept.result.tests["mdb"]
    assert {"corpus", "split", "protocol", "tolerance_ms", "micro_f1", "macro_f1", "classes"} <= set(scores[0])
    assert main(["evaluate", str(out), "--on", "mdb", "--split", "all", "--shards", str(shards)]) == 0
    assert "split all, protocol tracks, within 50 ms" in capsys.readouterr().out

    line = ["transcribe", str(recording), "--checkpoint", str(out), "--out", str(tmp_path / "midi"), "--plot", "--json"]
    assert main(line) == 0
    (made,) = document()
    notes = [message for message in mido.MidiFile(made["midi"]) if message.type == "note_on"]
    assert len(notes) == made["onsets"]
    assert Path(made["plot"]).read_bytes()[:4] == b"\x89PNG"


def test_pull_leaves_a_folder_alone_that_holds_something_else(at, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["pull", "mdb/vit", "--out", str(tmp_path), *at]) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_sweep_command_says_what_came_out_and_needs_no_test_tracks(ray, without, tmp_path, capsys):
    line = ["sweep", "--corpus", "mdb", "--architecture", "vit", "--trials", "1", "--max-epochs", "1"]
    line += [
        "--batch-size",
        "4",
        "--name",
        "second",
        "--narrow",
        "width=24",
        "layers=1",
        "heads=2",
        "learning_rate=1e-4",
        "--profile",
    ]
    line += [
        "--shards",
        str(without("test")),
        "--storage",
        str(tmp_path),
        "--tracking-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
    ]
    assert main(line) == 0
    output = capsys.readouterr()
    assert "registered as mdb.vit, version 1: now the best" in output.out
    assert "trial 1/1 epoch 1/1 validation micro F1" in output.err
    assert "mdb has no test tracks and gives no test score" in output.err
    assert [row.test for row in leaderboard(f"sqlite:///{tmp_path}/mlflow.db")] == [None]
    shown = output.out[output.out.index("Where the trials' time went") :].splitlines()
    assert shown[1].split() == ["trial", "wall", "s", *STAGES]
    assert [line.split()[0] for line in shown[2:4]] == ["1", "all"]
    assert max(map(len, shown[:4])) <= 100
    assert f"profile: {tmp_path}/second" in output.err
    assert main(line) == 2
    assert "there is a sweep named 'second'" in capsys.readouterr().err


def test_values_to_choose_from_are_read_as_numbers_where_they_are():
    assert choices("hidden=72,144") == ("hidden", (72, 144))
    assert choices("learning_rate=1e-3") == ("learning_rate", (0.001,))
    assert choices("unit=gru,lstm") == ("unit", ("gru", "lstm"))


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [(RuntimeError("broken"), 1, "RuntimeError: broken"), (KeyboardInterrupt(), 130, "stopped")],
)
def test_other_ends_have_their_status(error, status, text, monkeypatch, capsys):
    def raising(options):
        raise error

    monkeypatch.setattr(sweep_module, "sweep", raising)
    assert main(["sweep", "--corpus", "mdb", "--architecture", "vit", "--trials", "1"]) == status
    assert capsys.readouterr().err.startswith(f"mirtune: {text}")


def test_help_comes_at_once():
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-X", "importtime", "-m", "tuner.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert time.perf_counter() - began < 5  # 0.15 s on an idle machine
    assert "leaderboard" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"torch", "ray", "mlflow", "optuna", "numpy"}
