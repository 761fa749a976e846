"""The run on a GPU machine, here: packed with everything, run where torch, numpy and pyarrow are all there is."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from test_training_benchmark import THERE, WITHOUT

from data_prep.corpora import PrepOptions
from data_prep.default_kits import default_sound_font
from data_prep.job import prepare
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.config import MIRTUNE
from trainables.evaluation import evaluate

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "zero_shot_gpu.py"
ABSENT = {"soundfile", "mido", "scipy", "cv2", "ray", "mlflow", "optuna", "safetensors", "pandas", "soxr"} | {
    *("partitura", "pretty_midi", "blake3", "rich", "matplotlib", "yaml")
}
PITCHES = (36, 38, 45, 42, 49)


def groove(folder: Path, performances: int = 6) -> Path:
    """A folder in the layout of the Groove MIDI Dataset: eight seconds a performance."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(performances):
        track = mido.MidiTrack()
        for _ in range(40):
            pitch = int(rng.choice(PITCHES))
            track.append(mido.Message("note_on", channel=9, note=pitch, velocity=90, time=int(rng.integers(100, 280))))
        name = f"drummer1/{number}.mid"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        midi = mido.MidiFile(ticks_per_beat=480)
        midi.tracks.append(track)
        midi.save(folder / name)
        split = ("train", "train", "train", "train", "validation", "test")[number % 6]
        rows.append({"id": f"drummer1/{number}", "midi_filename": name, "duration": "8.0", "split": split})
    with (folder / "info.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def packed(shards, tmp_path_factory):
    """Shards of three corpora, and a folder with all that was packed of them, in one part."""
    folder = tmp_path_factory.mktemp("zero")
    prepared = folder / "shards"
    prepare("groove", source=groove(folder / "groove"), shards=prepared, options=PrepOptions(workers=1), here=True)
    prepare("music", source=None, shards=prepared, options=PrepOptions(workers=1, hours=0.02), here=True)
    (prepared / "mdb").symlink_to(shards / "mdb")
    corpora = ("--validation", "groove", "--scored", "mdb", "--music", "music")
    done = script("pack", folder / "packed", "--groove", folder / "groove", "--kits", default_sound_font(),
                  "--shards", prepared, *corpora)  # fmt: skip
    assert "part-1: " in done.stdout
    return folder


def script(*arguments: object, without: set[str] = frozenset()) -> subprocess.CompletedProcess[str]:
    """Run the script, as if some packages were not installed."""
    code = WITHOUT.format(absent=without, folder=str(SCRIPT.parent), arguments=[str(SCRIPT), *map(str, arguments)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_run_with_torch_numpy_and_pyarrow_alone_leaves_a_checkpoint(packed, tmp_path):
    assert not ABSENT & THERE
    sizes = [json.dumps({"layers": layers, "hidden": 8}) for layers in (1, 2)]
    run = ("run", packed / "packed" / "part-1", "--out", tmp_path / "out", "--minutes", 3, "--hours", 0.02,
           "--processes", 2, "--device", "cpu", "--architecture", "rnn", "--hyperparameters", *sizes, "--rates", 1e-2,
           "--batch-size", 4, "--epoch-windows", 8, "--epochs", 2)  # fmt: skip
    done = script(*run, without=ABSENT)
    assert "F1, tracks, 50 ms" in done.stdout
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) <= 8
    assert max(file.stat().st_size for file in files) < 16 * 2**20
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["epochs"] for row in report["tried"]] == [2, 2]
    assert len(report["curve"]) == 2
    assert set(report["scores"]) == {"groove validation", "groove test", "mdb all"}
    script("load", tmp_path / "out", tmp_path / "checkpoint")
    checkpoint = Checkpoint.load(tmp_path / "checkpoint")
    assert checkpoint.config.hyperparameters in [json.loads(of) for of in sizes]
    # what was scored there is what is scored here
    for name, row in report["scores"].items():
        corpus, split = name.split()
        score = evaluate(checkpoint, corpus, packed / "shards", split=split, device="cpu")
        assert score.micro_f1 == pytest.approx(row["micro_f1"], abs=1e-9)
        assert score.macro_f1 == pytest.approx(row["macro_f1"], abs=1e-9)


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


def test_corpora_travel_whole_and_music_in_eight_bits(packed, modules, tmp_path):
    from zero_shot_pack import AROUND, SCORED, VALIDATION, unpack_corpora

    found = unpack_corpora(packed / "packed" / "part-1", tmp_path / "shards")
    wanted = {VALIDATION: ("groove", {"validation", "test"}), SCORED: ("mdb", {"train", "validation", "test"})}
    wanted[AROUND] = ("music", {"train"})
    for role, (name, splits) in wanted.items():
        (corpus,) = found[role]
        original = Corpus.open(packed / "shards" / name)
        kept = [row for row in original.tracks.itertuples() if row.split in splits]
        assert set(corpus.tracks["id"]) == {row.id for row in kept}
        assert corpus.manifest.classes == original.manifest.classes
        for row in corpus.tracks.itertuples():
            (before,) = [of for of in kept if of.id == row.id]
            for values, expected in zip(corpus.frames(row), original.frames(before), strict=True):
                # of magnitudes as they lie in shards, or of their roots in 1/255
                room = {"rtol": 0.01, "atol": 0.01} if role == AROUND else {"rtol": 0, "atol": 0}
                np.testing.assert_allclose(values.astype(float), expected.astype(float), **room)
        for split in splits:
            expected = original.manifest.splits[split]
            summary = corpus.manifest.splits[split]
            assert (summary.tracks, summary.frames, summary.onsets) == (
                expected.tracks, expected.frames, expected.onsets,
            )  # fmt: skip


def test_stems_are_the_same_for_any_number_of_processes(packed, modules, tmp_path):
    from zero_shot_render import render_stems_corpus

    parts = packed / "packed" / "part-1"
    until = time.monotonic() + 600
    one, two = (render_stems_corpus(parts, tmp_path / str(count), 0.02, count, until) for count in (1, 2))
    assert one.manifest.splits["train"].seconds >= 72
    assert one.tracks.equals(two.tracks)
    for row in one.tracks.itertuples():
        for values, others in zip(one.frames(row), two.frames(row), strict=True):
            assert np.array_equal(values, others)
    # a class's own bands rise where it is played
    bands, targets = one.frames(next(one.tracks.itertuples()))
    rises = np.diff(bands.astype(np.float32).reshape(-1, 5, 84).sum(axis=2), axis=0, prepend=0)
    for of in np.flatnonzero(targets.any(axis=0)):
        struck = targets[:, of] > 0
        assert rises[struck, of].mean() > 10 * np.abs(rises[~struck, of]).mean()


def test_the_search_survives_a_candidate_that_diverges_and_keeps_to_its_time(packed, modules, tmp_path):
    from zero_shot_pack import AROUND, VALIDATION, unpack_corpora
    from zero_shot_render import render_stems_corpus
    from zero_shot_train import Candidate, Corpora, Training

    parts = packed / "packed" / "part-1"
    stems = render_stems_corpus(parts, tmp_path, 0.01, 1, time.monotonic() + 600)
    found = unpack_corpora(parts, tmp_path)
    settings = MIRTUNE.with_values({"batch_size": 4, "epoch_windows": 4})
    lines = []
    corpora = Corpora(stems, found[AROUND], found[VALIDATION], [])
    training = Training(corpora.data(), "rnn", settings, torch.device("cpu"), 2, lines.append)
    wild, tame, other = (Candidate({"layers": 1, "hidden": 4}, rate) for rate in (1e39, 1e-2, 1e-3))
    chosen, epoch_s, tried = training.search([wild, tame, other], time.monotonic() + 600)
    assert chosen in (tame, other)
    assert 0 < epoch_s < 60
    assert [(row["candidate"], row["epochs"]) for row in tried[:3]] == [(str(of), 2) for of in (wild, tame, other)]
    assert {row["candidate"] for row in tried[3:]} == {str(tame), str(other)}
    assert any("given up" in line for line in lines)
    # with no time at all one candidate is tried, and is the choice
    chosen, _, tried = training.search([tame, other], time.monotonic())
    assert chosen == tame
    assert len(tried) == 1
    with pytest.raises(Refused, match="no corpus to validate on"):
        Corpora(stems, [], [], []).data()


def test_music_and_recordings_are_told_apart(packed, modules, tmp_path):
    from zero_shot_pack import SCORED, pack_corpus

    with pytest.raises(Refused, match="expected music"):
        pack_corpus(packed / "shards" / "music", tmp_path, SCORED, ("train",))
