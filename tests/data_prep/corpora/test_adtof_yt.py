"""ADTOF-YT: datasets that TensorFlow saved, prepared by the command; what is not as published is refused."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from saved_windows import COUNTS, save_split, windows, write_adtof_yt

from data_prep.classes import VOCABULARIES
from data_prep.corpora import PrepOptions, adtof_yt
from data_prep.framing import frame_track
from data_prep.job import prepare
from data_prep.manifest import Manifest
from data_prep.refused import Refused
from data_prep.shards import Corpus
from tuner.cli import main


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_adtof_yt(tmp_path_factory.mktemp("source") / "ADTOF-YT")


@pytest.fixture
def copied(source, tmp_path):
    return shutil.copytree(source, tmp_path / "ADTOF-YT")


def line(source, shards, *more):
    return ["prep", "adtof_yt", "--source", str(source), "--shards", str(shards), "--workers", "1", *more]


def frames_of(corpus, split):
    """What was prepared: bands and targets of all windows of a split, in order."""
    return map(np.stack, zip(*(corpus.frames(row) for row in corpus.rows(split).itertuples()), strict=True))


@pytest.mark.parametrize("classes", adtof_yt.SOURCE.vocabularies)
def test_values_order_and_count_survive_the_command(source, tmp_path, capsys, classes):
    assert main(line(source, tmp_path, "--classes", str(classes), "--json")) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert {split: of["windows"] for split, of in manifest["splits"].items()} == COUNTS
    assert (manifest["whole_tracks"], manifest["refused"], manifest["features"]) == (False, [], "log-filter/1")
    corpus = Corpus.open(tmp_path / manifest["corpus"], verify=True)
    chosen = [VOCABULARIES[5].index(name) for name in VOCABULARIES[classes]]
    for split, count in COUNTS.items():
        features, targets = windows(split)
        bands, halves = frames_of(corpus, split)
        np.testing.assert_array_equal(bands, features[..., 0].astype(np.float16))
        np.testing.assert_array_equal(halves, 2 * targets[..., chosen])
        assert corpus.rows(split)["id"].tolist() == [f"{split}-{place:06d}" for place in range(count)]
        onsets = dict(zip(VOCABULARIES[classes], (halves == 2).sum(axis=(0, 1)).tolist(), strict=True))
        assert manifest["splits"][split]["onsets"] == onsets


def test_the_command_alone_is_quiet_and_says_what_it_is(source, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for variable in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        environment.pop(variable, None)
    command = [sys.executable, "-m", "tuner.cli", *line(source, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "adtof_yt is ready" in done.stdout
    told = [text for text in done.stderr.splitlines() if not re.match(r"prepared \d+ of 34 tracks", text)]
    assert told == ["published in windows: there are no whole tracks, only segments can be scored"]


def test_eight_classes_are_refused(source, tmp_path, capsys):
    assert main(line(source, tmp_path, "--classes", "8")) == 2
    assert "cannot have 8 classes; choose from 3, 5" in capsys.readouterr().err


def test_it_continues_where_it_was_stopped(source, tmp_path, monkeypatch):
    """Some shards are lost, among them one in the middle; the others are not read again."""
    options = PrepOptions(workers=1)
    first = prepare("adtof_yt", source=source, shards=tmp_path, options=options)
    for name in ("shard-00003", "shard-00005"):
        (tmp_path / "adtof_yt" / f"{name}.arrow").unlink()
    read = []
    whole = adtof_yt.Window.read
    monkeypatch.setattr(adtof_yt.Window, "read", lambda window: read.append(window.place) or whole(window))
    again = prepare("adtof_yt", source=source, shards=tmp_path, options=options)
    assert again.checksum == first.checksum
    assert 0 < len(read) <= 6


@pytest.mark.slow
def test_two_workers_prepare_the_same(source, tmp_path):
    alone, both = (
        prepare("adtof_yt", source=source, shards=tmp_path / str(workers), options=PrepOptions(workers=workers))
        for workers in (1, 2)
    )
    assert alone.checksum == both.checksum


def test_windows_are_read_in_any_order(source):
    features, targets = windows("train")
    for place in (3, 4, 11, 0, 19, 19):
        framed = adtof_yt.Window(source / "adtof_yt_train", place, 5).read()
        np.testing.assert_array_equal(framed.bands, features[place, ..., 0].astype(np.float16))
        np.testing.assert_array_equal(framed.targets, 2 * targets[place])


STRUCTURES = [
    lambda x, y: (x, y),
    lambda x, y: ({"x": x[..., 0]}, {"y": y}),
    lambda x, y: ({"features": x}, y, np.ones(len(x), np.float32)),
    lambda x, y: ({"x": x.astype(np.float16)}, y.astype(np.float16)),
    lambda x, y: ({"x": x, "mask": np.ones(len(x))}, y[..., None]),
]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("compression", [None, "GZIP"])
def test_other_structures_hold_the_same(source, copied, tmp_path, structure, compression):
    shutil.rmtree(copied / "adtof_yt_validation")
    save_split(copied / "adtof_yt_val", *windows("validation"), structure=structure, compression=compression)
    tracks = [track for track in adtof_yt.tracks(copied, PrepOptions()) if track.split == "validation"]
    assert len(tracks) == COUNTS["validation"]
    features, targets = windows("validation")
    for track, window, marks in zip(tracks, features, targets, strict=True):
        framed = frame_track(track, 5)
        np.testing.assert_array_equal(framed.bands, window[..., 0].astype(np.float16))
        np.testing.assert_array_equal(framed.targets, 2 * marks)
        assert framed.labels == len(track.recording.annotate().onsets) == (marks == 1).sum()


def test_elements_dealt_out_to_shards_come_back_in_their_order(tmp_path):
    """As a machine with three processors saves them; TensorFlow itself loads them in another order on most machines."""
    import tensorflow

    features, targets = windows("train")
    features = features.copy()
    features[:, 0, 0, 0] = np.arange(len(features))
    source = write_adtof_yt(tmp_path / "source")
    shutil.rmtree(source / "adtof_yt_train")
    deal = {"shard_func": lambda x, _: tensorflow.cast(x["x"][0, 0, 0], tensorflow.int64) % 3}
    save_split(source / "adtof_yt_train", features, targets, **deal)
    assert len(list((source / "adtof_yt_train").glob("*/*.shard"))) == 3
    bands = [adtof_yt.Window(source / "adtof_yt_train", place, 5).read().bands for place in range(len(features))]
    assert [int(of[0, 0]) for of in bands] == list(range(len(features)))


def test_targets_without_neighbours_get_them(tmp_path):
    features, targets = windows("test")
    folder = save_split(tmp_path / "bare", features, np.where(targets == 1, 1, 0).astype(np.float32))
    for place, marks in enumerate(targets):
        np.testing.assert_array_equal(adtof_yt.Window(folder, place, 5).read().targets, 2 * marks)


def damaged(split, **changes):
    """Windows with something wrong in the third one."""
    features, targets = (of.copy() for of in windows(split))
    if "feature" in changes:
        features[2, 7, 7] = changes["feature"]
    if "target" in changes:
        targets[2, 7, 3] = changes["target"]
    return features, targets


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feature": np.nan}, "window 2 of .* has features that are no numbers"),
        ({"feature": 1e6}, "window 2 of .* or beyond 16 bits"),
        ({"target": 0.25}, "window 2 of .* has a target of 0.25; expected 0, 0.5 or 1"),
        ({"target": np.nan}, "window 2 of .* has a target of nan"),
        ({"target": -1}, "window 2 of .* has a target of -1"),
    ],
)
def test_a_damaged_window_is_left_out_with_its_reason(copied, tmp_path, changes, words):
    shutil.rmtree(copied / "adtof_yt_test")
    save_split(copied / "adtof_yt_test", *damaged("test", **changes))
    manifest = prepare("adtof_yt", source=copied, shards=tmp_path / "shards", options=PrepOptions(workers=1))
    (refused,) = manifest.refused
    assert refused["id"] == "test-000002"
    assert re.search(words, refused["reason"])
    assert manifest.splits["test"].windows == COUNTS["test"] - 1


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (lambda x, y: ({"x": x[:, :300]}, y), r"has x of shape \(300, 84, 1\) and type float32; expected \(400, 84\)"),
        (lambda x, y: ({"x": x}, y[..., :3]), r"has y of shape \(400, 3\) .*; expected \(400, 5\)"),
        (lambda x, y: ({"x": x.astype(np.int32)}, y), "type int32; expected .* float16 or float32"),
        (lambda x, y: {"x": x, "y": y}, "expected pairs of features and targets: is it ADTOF-YT?"),
        (lambda x, y: x, "expected pairs of features and targets"),
        (lambda x, y: ({"a": x, "b": x}, y), "expected pairs of features and targets"),
    ],
)
def test_another_dataset_is_refused_before_anything_is_read(copied, tmp_path, capsys, structure, words):
    shutil.rmtree(copied / "adtof_yt_train")
    save_split(copied / "adtof_yt_train", *windows("train"), structure=structure)
    assert main(line(copied, tmp_path / "shards")) == 2
    error = capsys.readouterr().err
    assert re.search(words, error), error
    assert not (tmp_path / "shards").exists()


def cut(folder, share=0.5):
    (path,) = folder.glob("*/*/*.snapshot")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda of: shutil.rmtree(of / "adtof_yt_test"), r"lacks adtof_yt_test; expected the folders adtof_yt_train, "),
        (lambda of: (of / "adtof_yt_test" / "dataset_spec.pb").unlink(), "it lacks dataset_spec.pb; download it again"),
        (lambda of: (of / "adtof_yt_test" / "snapshot.metadata").unlink(), "it lacks snapshot.metadata"),
        (lambda of: next(of.glob("adtof_yt_test/*/*/*.snapshot")).unlink(), r"it lacks \*/\*.shard/\*.snapshot"),
        (lambda of: (of / "adtof_yt_test" / "dataset_spec.pb").write_bytes(b"\xff\xff"), "cannot be loaded .* damaged"),
        (lambda of: cut(of / "adtof_yt_test"), "holds .* bytes; expected more than 5 elements of 142,400 bytes"),
    ],
)
def test_a_damaged_download_is_refused_before_anything_is_read(copied, tmp_path, capsys, damage, words):
    damage(copied)
    assert main(line(copied, tmp_path / "shards")) == 2
    error = capsys.readouterr().err
    assert re.search(words, error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "shards").exists()


def test_a_compressed_file_that_breaks_off_gives_what_it_has(copied, tmp_path):
    shutil.rmtree(copied / "adtof_yt_train")
    cut(save_split(copied / "adtof_yt_train", *windows("train"), compression="GZIP"))
    manifest = prepare("adtof_yt", source=copied, shards=tmp_path / "shards", options=PrepOptions(workers=1))
    there = manifest.splits["train"].windows
    assert 0 < there < COUNTS["train"] == there + len(manifest.refused)
    assert all(f"breaks off after {there} elements" in entry["reason"] for entry in manifest.refused)


def test_a_compressed_file_that_claims_a_billion_windows(copied, tmp_path, capsys):
    shutil.rmtree(copied / "adtof_yt_train")
    folder = save_split(copied / "adtof_yt_train", *windows("train"), compression="GZIP")
    metadata = folder / "snapshot.metadata"
    saved = metadata.read_bytes()
    count = bytes((0x30, COUNTS["train"]))  # field 6, elements
    assert saved.count(count) == 1
    metadata.write_bytes(saved.replace(count, bytes((0x30, 0x80, 0x94, 0xEB, 0xDC, 0x03))))
    assert main(line(copied, tmp_path / "shards")) == 2
    assert "expected more than 1,000,000,000 elements of 142,400 bytes" in capsys.readouterr().err


def test_a_flipped_bit_ends_a_split_there(copied, tmp_path):
    """TensorFlow finds no way past a damaged record."""
    (path,) = (copied / "adtof_yt_train").glob("*/*/*.snapshot")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 5_000] ^= 1
    path.write_bytes(content)
    manifest = prepare("adtof_yt", source=copied, shards=tmp_path / "shards", options=PrepOptions(workers=1))
    assert manifest.splits["train"].windows == COUNTS["train"] // 2
    assert "breaks off after 10 elements (" in manifest.refused[0]["reason"]


def test_a_save_that_does_not_say_its_count_is_counted(copied):
    metadata = copied / "adtof_yt_train" / "snapshot.metadata"
    content, count = metadata.read_bytes(), b"\x30" + bytes([COUNTS["train"]])  # field 6 of the message
    assert content.count(count) == 1
    metadata.write_bytes(content.replace(count, b""))
    tracks = list(adtof_yt.tracks(copied, PrepOptions()))
    assert len(tracks) == sum(COUNTS.values())


def test_without_tensorflow_the_extra_is_named(source, tmp_path, monkeypatch, capsys):
    from data_prep import saved_datasets

    saved_datasets._tensorflow.cache_clear()
    adtof_yt._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert main(line(source, tmp_path)) == 2
    assert "install mirtune[adtof]" in capsys.readouterr().err
    monkeypatch.undo()
    saved_datasets._tensorflow.cache_clear()


def test_a_changed_download_is_prepared_again(copied, tmp_path):
    options = PrepOptions(workers=1)
    prepare("adtof_yt", source=copied, shards=tmp_path / "shards", options=options)
    shutil.rmtree(copied / "adtof_yt_test")
    features, targets = windows("test")
    save_split(copied / "adtof_yt_test", features[:3], targets[:3])
    manifest = prepare("adtof_yt", source=copied, shards=tmp_path / "shards", options=options)
    assert manifest.splits["test"].windows == 3
    assert Manifest.load(tmp_path / "shards" / "adtof_yt") == manifest


def test_a_folder_without_the_splits_is_refused(tmp_path):
    with pytest.raises(Refused, match="lacks adtof_yt_train"):
        next(adtof_yt.tracks(tmp_path, PrepOptions()))
