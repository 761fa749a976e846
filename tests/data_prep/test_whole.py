"""The real data beside the project, prepared whole, by the command that a user types."""

import csv
import json
import subprocess
import sys
from collections import Counter

import mido
import pandas as pd
import pytest

from data_prep.classes import VOCABULARIES, class_map
from data_prep.shards import Corpus


def prep(corpus, source, shards, *more):
    """`mirtune prep CORPUS --json`, as a process of its own: its manifest."""
    command = [sys.executable, "-m", "tuner.cli", "prep", corpus, "--source", source, "--shards", shards, "--json"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_mdb_drums(shared, tmp_path, classes):
    source = shared / "data" / "mdb_drums"
    manifest = prep("mdb", source, tmp_path, "--classes", str(classes), "--workers", "1")
    assert not manifest["refused"]
    assert {split: (of["tracks"], of["windows"]) for split, of in manifest["splits"].items()} == {
        "train": (6, 49), "validation": (3, 26), "test": (0, 0),
    }  # fmt: skip
    by_label = class_map("mdb", classes)
    written = Counter()
    for path in (source / "annotations" / "subclass").glob("*.txt"):
        written.update(by_label[line.split()[1]] for line in path.read_text().splitlines() if line.strip())
    left_out = written.pop(None, 0)
    assert manifest["labels"] == written.total() + left_out
    held = Counter()
    for of in manifest["splits"].values():
        held.update(of["onsets"])
    merged = manifest["notes"].get("onsets merged with their neighbour", 0)
    assert sum(held.values()) == written.total() - merged
    corpus = Corpus.open(tmp_path / manifest["corpus"], verify=True)
    assert corpus.manifest.timing["times_real_time"] > 1


@pytest.mark.whole
def test_groove(shared, tmp_path):
    """13.6 hours, rendered: some ten minutes on two cores."""
    source = shared / "data" / "groove"
    manifest = prep("groove", source, tmp_path)
    assert not manifest["refused"]
    corpus = Corpus.open(tmp_path / "groove", verify=True)
    with (source / "info.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(corpus.tracks["performance"]) == {row["id"] for row in rows}
    by_pitch, played = class_map("roland"), Counter()
    for row in rows:
        for message in mido.MidiFile(source / row["midi_filename"]):
            if message.type == "note_on" and message.velocity:
                played[by_pitch.get(str(message.note))] += 1
    held = pd.read_parquet(corpus.folder / "onsets.parquet")
    lost = manifest["notes"]
    assert len(held) == played.total() - played[None] - sum(
        lost.get(what, 0)
        for what in (
            *("onsets merged with their neighbour", "notes that the kit has no piece for", "onsets after the end"),
            "hits that are lost in the mix",
        )
    )  # fmt: skip
    assert len(held) > 0.92 * played.total()
    hours = sum(of["seconds"] for of in manifest["splits"].values()) / 3600
    assert hours == pytest.approx(13.6, abs=1.0)
