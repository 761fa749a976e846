"""The checkpoint that comes with the package: found by its name, and quickly ready."""

import json
import subprocess
import sys
from pathlib import Path

import mido
import pytest
import soundfile
import torch
from miniature import drum_hits

from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.spectrogram import FEATURES
from trainables import checkpoint as module
from trainables.checkpoint import Checkpoint
from trainables.config import TrainingConfig
from trainables.network import Network
from trainables.tasks import TASKS
from tuner.cli import main

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
TRANSCRIBE = "import sys; from tuner.cli import main; main(sys.argv[1:]); print([name for name in {} if name in {}])"
HEAVY = ("ray", "mlflow", "optuna", "pandas", "scipy", "matplotlib", "partitura", "torchaudio")


def untrained() -> Checkpoint:
    torch.manual_seed(0)
    network = Network(TASKS["drum_onsets"], "vit", SMALL, bands=84, classes=5)
    return Checkpoint(TrainingConfig(("mdb",), "vit", SMALL), CLASSES, FEATURES, 84, network.state_dict())


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A checkpoint in the place of the package's own."""
    untrained().save(tmp_path / "shipped")
    monkeypatch.setattr(module, "DEFAULT_FOLDER", tmp_path / "shipped")
    return tmp_path / "shipped"


@pytest.fixture
def song(tmp_path) -> Path:
    soundfile.write(tmp_path / "song.wav", drum_hits(3, seconds=3.0)[0], SAMPLE_RATE_HZ)
    return tmp_path / "song.wav"


def notes(path: Path) -> list[int]:
    return [message.note for message in mido.MidiFile(path) if message.type == "note_on"]


def test_a_song_needs_no_more_than_a_folder(shipped, song, tmp_path, capsys):
    assert main(["transcribe", str(song), "--out", str(tmp_path / "own")]) == 0
    assert main(["transcribe", str(song), "--checkpoint", str(shipped), "--out", str(tmp_path / "named")]) == 0
    assert notes(tmp_path / "own" / "song.mid") == notes(tmp_path / "named" / "song.mid")


def test_thresholds_and_gains_reach_the_peaks(shipped, song, tmp_path, capsys):
    for name, given in (("all", "0.0"), ("none", "1"), ("some", "kick=0.0, snare=1,toms=1,hi-hat=1,cymbals=1")):
        line = ["transcribe", str(song), "--out", str(tmp_path / name), "--thresholds", given, "--average-gains", "3"]
        assert main(line) == 0
    assert notes(tmp_path / "none" / "song.mid") == []
    assert set(notes(tmp_path / "some" / "song.mid")) <= {36}
    assert len(notes(tmp_path / "some" / "song.mid")) <= len(notes(tmp_path / "all" / "song.mid"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("loud", "'loud' is no threshold; expected a number from 0 to 1"),
        ("1.5", "'1.5' is no threshold"),
        ("nan", "'nan' is no threshold"),
        ("kick=0.3,triangle=0.4", "unknown class 'triangle'; choose from kick, snare, toms, hi-hat, cymbals"),
        ("kick=0.3,0.4", "unknown class '0.4'"),
        ("kick=0.3,kick=0.4", "has kick twice"),
        ("kick=", "'' is no threshold"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(shipped, song, given, words, tmp_path, capsys):
    assert main(["transcribe", str(song), "--out", str(tmp_path / "out"), "--thresholds", given]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_package_without_one_says_what_to_give(song, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "DEFAULT_FOLDER", tmp_path / "nowhere")
    assert main(["transcribe", str(song), "--out", str(tmp_path / "out")]) == 2
    assert "this mirtune comes without a checkpoint of its own; name one" in capsys.readouterr().err


def test_the_package_has_one_with_a_card():
    assert {path.name for path in module.DEFAULT_FOLDER.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert sum(path.stat().st_size for path in module.DEFAULT_FOLDER.iterdir()) < 20e6
    assert Checkpoint.load(module.DEFAULT_FOLDER).classes == CLASSES
    card = (module.DEFAULT_FOLDER / "README.md").read_text()
    for said in ("CC BY 4.0", "Groove MIDI Dataset", "GPL", "| mdb | all |", "mirtune sweep"):
        assert said in card


def test_it_hears_drums_that_it_was_not_trained_on(tmp_path, capsys):
    """Grooves that mirtune makes up, played by kits and music that were not in its training."""
    prepared = ["--shards", str(tmp_path / "shards")]
    assert main(["prep", "demo", "--hours", "0.05", "--workers", "1", *prepared]) == 0
    capsys.readouterr()
    assert main(["evaluate", "default", "--on", "demo", "--json", *prepared]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["micro_f1"] > 0.75
    assert found["calibrated"]


def test_transcription_waits_for_no_search_machinery(song, tmp_path):
    untrained().save(tmp_path / "best")
    code = TRANSCRIBE.format(HEAVY, "sys.modules")
    line = ["transcribe", str(song), "--checkpoint", str(tmp_path / "best"), "--out", str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
