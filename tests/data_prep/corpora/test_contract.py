"""What every corpus that is read from files keeps: its miniature, in the published layout, prepared by the command."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from miniature import MINIATURES, Written

from data_prep.classes import VOCABULARIES
from data_prep.corpora import CORPORA
from data_prep.manifest import SPLITS
from tuner.cli import main

NAMES = sorted(MINIATURES)


class Miniature:
    """A corpus written to a folder, and its preparations."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.source = name, folder, folder / "source"
        self.written: list[Written] = MINIATURES[name](self.source)

    def prep(self, *arguments: object, workers: int = 1, shards: str = "shards") -> int:
        splits = ["--splits", self.source / "splits.csv"] if self.name == "folder" else []
        asked = ["prep", self.name, "--source", self.source, "--shards", self.folder / shards, "--workers", workers]
        return main([str(word) for word in (*asked, *splits, *arguments)])

    def tables(self, prepared: str | None = None, shards: str = "shards") -> tuple[pd.DataFrame, pd.DataFrame, dict]:
        at = self.folder / shards / (prepared or self.name)
        manifest = json.loads((at / "manifest.json").read_text())
        return pd.read_parquet(at / "tracks.parquet").set_index("id"), pd.read_parquet(at / "onsets.parquet"), manifest


@pytest.fixture(scope="module", params=NAMES)
def prepared(request, tmp_path_factory) -> Miniature:
    """A miniature that is prepared; not to be changed."""
    miniature = Miniature(request.param, tmp_path_factory.mktemp(request.param))
    assert miniature.prep() == 0
    return miniature


@pytest.fixture(params=NAMES)
def miniature(request, tmp_path) -> Miniature:
    """A miniature to change."""
    return Miniature(request.param, tmp_path)


def test_tracks_splits_and_windows_are_those_that_were_written(prepared):
    tracks, _, manifest = prepared.tables()
    assert tracks["split"].to_dict() == {of.id: of.split for of in prepared.written}
    assert manifest["refused"] == []
    assert manifest["unknown_labels"] == {}
    for split in SPLITS:
        windows = [-(-(1 + of.samples // 441) // 400) for of in prepared.written if of.split == split]
        assert (manifest["splits"][split]["tracks"], manifest["splits"][split]["windows"]) == (
            len(windows),
            sum(windows),
        )
    if prepared.name not in ("sadtp",):  # all of one length
        assert len(set(tracks["windows"])) > 1


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_onsets_are_those_that_were_written(prepared, classes):
    assert prepared.prep("--classes", classes) == 0
    _, onsets, manifest = prepared.tables(prepared.name if classes == 5 else f"{prepared.name}-{classes}")
    assert manifest["classes"] == list(VOCABULARIES[classes])
    for of in prepared.written:
        found = onsets[onsets["track"] == of.id].sort_values("time_s")
        assert [VOCABULARIES[classes][index] for index in found["class"]] == [name for _, name in of.onsets(classes)]
        assert found["time_s"].tolist() == pytest.approx([time_s for time_s, _ in of.onsets(classes)], abs=1e-3)


def test_a_second_run_redoes_nothing_and_workers_change_nothing(prepared):
    written = {path: path.stat().st_mtime_ns for path in (prepared.folder / "shards" / prepared.name).rglob("shard-*")}
    assert prepared.prep() == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert prepared.prep(workers=2, shards="with_two") == 0
    assert prepared.tables()[2]["files"] == prepared.tables(shards="with_two")[2]["files"]


def test_a_check_finds_nothing_wrong(prepared, capsys):
    assert prepared.prep("--check", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["serious"] == {}
    assert {split: of["windows"] for split, of in report["splits"].items()} == {
        split: of["windows"] for split, of in prepared.tables()[2]["splits"].items()
    }


def test_missing_audio_and_a_damaged_annotation_lose_only_their_tracks(miniature):
    silent, damaged, missing = (miniature.written[number] for number in (0, 1, 2))
    silent.audio.unlink()
    damaged.annotation.write_bytes(b"\xff\xfe\x00 no annotation")
    if missing.annotation.stem != "annotation":
        missing.annotation.unlink()
    assert miniature.prep() == 0
    tracks, _, manifest = miniature.tables()
    reasons = {of["id"]: of["reason"] for of in manifest["refused"]}
    lost = {of.id: of for of in (silent, damaged, missing) if not (of.audio.is_file() and of.annotation.is_file())}
    lost[damaged.id] = damaged
    assert set(reasons) == set(lost)
    assert set(tracks.index) == {of.id for of in miniature.written} - set(lost)
    for name, of in lost.items():
        assert str(of.audio) in reasons[name] or str(of.annotation) in reasons[name]
        assert "\n" not in reasons[name]


def test_an_empty_folder_is_refused_by_its_name(miniature, capsys):
    shutil.rmtree(miniature.source)
    miniature.source.mkdir()
    (miniature.source / "splits.csv").write_text("file,split\n")
    assert miniature.prep() == 2
    assert str(miniature.source) in capsys.readouterr().err


def test_every_corpus_of_audio_has_a_miniature():
    from_files = {name for name, of in CORPORA.items() if of.needs_source and of.whole_tracks}
    assert from_files - {"groove"} == set(NAMES)  # groove is rendered, and tested with the job
