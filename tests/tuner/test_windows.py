"""A corpus of windows without whole tracks, under a name of its own: prepared, searched, scored by segments."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("tensorflow")

from mlflow import MlflowClient
from saved_windows import COUNTS, write_adtof_yt

from data_prep.corpora import PrepOptions
from data_prep.job import prepare
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import SplitData
from trainables.evaluation import evaluate
from trainables.inference import BATCH_WINDOWS
from trainables.loop import train
from trainables.placement import place
from tuner.cli import main
from tuner.leaderboard import leaderboard
from tuner.options import SweepOptions
from tuner.plan import check
from tuner.registry import find
from tuner.sweep import sweep

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
TINY = {name: (value,) for name, value in SMALL.items()}


@pytest.fixture(scope="module")
def prepared(mdb_folder, tmp_path_factory):
    """Windows as `mine` and with three classes, and the miniature with whole tracks."""
    folder = tmp_path_factory.mktemp("windows")
    source = write_adtof_yt(folder / "ADTOF-YT")
    for options in (["--name", "mine"], ["--classes", "3"]):
        line = ["prep", "adtof_yt", "--source", source, "--shards", folder / "shards", "--workers", "1", *options]
        assert main([str(word) for word in line]) == 0
    prepare("mdb", source=mdb_folder, shards=folder / "shards", options=PrepOptions(workers=1))
    return folder / "shards"


@pytest.fixture(scope="module")
def checkpoint(prepared, tmp_path_factory):
    """One epoch's."""
    config = TrainingConfig(("mine",), "vit", SMALL, Settings(batch_size=4, max_epochs=1))
    (epoch,) = train(config, prepared, device="cpu")
    assert np.isfinite(epoch.metrics["train_loss"])
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    epoch.checkpoint.save(folder)
    return folder


def test_training_windows_are_the_corpus_s_windows_and_nothing_else(prepared):
    split = SplitData([Corpus.open(prepared / "mine")], "train")
    tracks = [split.track(number) for number in range(len(split.frames))]
    known = {(track.bands.tobytes(), track.targets.tobytes()) for track in tracks}
    batches = place(split, torch.device("cpu")).shuffled(3, np.random.default_rng(0))
    drawn = [pair for batch in batches for pair in zip(*batch, strict=True)]
    assert len(drawn) == len(known) == COUNTS["train"]
    assert {(bands.numpy().tobytes(), targets.numpy().tobytes()) for bands, targets in drawn} == known


def test_evaluate_takes_segments_and_refuses_tracks(prepared, checkpoint, capsys, document):
    line = ["evaluate", str(checkpoint), "--on", "mine", "--shards", str(prepared)]
    scores = []
    for protocol in ([], ["--protocol", "segments"]):
        assert main([*line, *protocol, "--json"]) == 0
        scores.append(document())
    assert scores[0] == scores[1]
    assert (scores[0]["protocol"], scores[0]["tracks"]) == ("segments", COUNTS["test"])
    assert main([*line, "--on", "mine", "mdb", "--json"]) == 0
    assert [score["protocol"] for score in document()] == ["segments", "tracks"]
    assert main([*line, "--protocol", "tracks"]) == 2
    told = capsys.readouterr().err
    assert "corpus 'mine' was published in windows and has no whole tracks; score it by the protocol segments" in told
    assert main([*line, "--protocol", "tracks", "--on", "mdb", "mine"]) == 2
    assert main([*line, "--on", "other"]) == 2
    assert "choose from adtof_yt-3, mdb, mine" in capsys.readouterr().err


def test_segments_do_not_hang_on_the_batch_they_stand_in(prepared, checkpoint, monkeypatch):
    trained = Checkpoint.load(checkpoint)
    scores = []
    for size in (1, 2, 64):
        monkeypatch.setitem(BATCH_WINDOWS, "cpu", size)
        scores.append(evaluate(trained, "mdb", prepared, protocol="segments", device="cpu"))
    assert scores[0] == scores[1] == scores[2]


def test_a_sweep_scores_each_corpus_by_its_own_protocol(prepared, ray, tmp_path, capsys):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = SweepOptions(
        corpora=("mine", "mdb"), architecture="vit", trials=1, max_epochs=1, batch_size=4, shards=prepared,
        tracking_uri=uri, storage=str(tmp_path / "sweeps"), narrow=TINY,
    )  # fmt: skip
    result = sweep(options)
    assert {corpus: score["protocol"] for corpus, score in result.tests.items()} == {
        "mdb": "tracks",
        "mine": "segments",
    }
    (row,) = leaderboard(uri, ["mine"])
    assert (row.corpus, row.protocol) == ("mdb+mine", "segments+tracks")
    version = find("mine+mdb/vit", uri)
    assert {corpus: score["protocol"] for corpus, score in json.loads(version.tags["tests"]).items()} == {
        "mdb": "tracks",
        "mine": "segments",
    }
    tags = MlflowClient(uri).get_run(version.run_id).data.tags
    assert (tags["test.protocol.mdb"], tags["test.protocol.mine"]) == ("tracks", "segments")
    assert main(["pull", "mine+mdb/vit", "--out", str(tmp_path / "best"), "--tracking-uri", uri]) == 0
    card = (tmp_path / "best" / "README.md").read_text()
    assert "| mine | test, protocol segments |" in card
    assert "| mdb | test, protocol tracks |" in card


def test_a_sweep_over_corpora_of_other_classes_is_refused_before_it_starts(prepared, tmp_path):
    options = SweepOptions(("adtof_yt-3", "mdb"), "vit", shards=prepared, tracking_uri=f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(Refused, match="corpora 'adtof_yt-3' and 'mdb' differ in their classes"):
        check(options)
