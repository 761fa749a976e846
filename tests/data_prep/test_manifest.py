"""Manifests and tables that others made: whatever they hold, they are read or refused in a sentence."""

import contextlib
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.files import checksum
from data_prep.job import prepare
from data_prep.manifest import FORMAT, MANIFEST, WINDOW_FRAMES, Manifest, window_count
from data_prep.options import command, options_of
from data_prep.rates import HOP_SAMPLES
from data_prep.refused import Refused
from data_prep.shards import TRACKS, Corpus
from data_prep.spectrogram import frame_count

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
SLOW = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def damaged(shards, tmp_path):
    """A copy of the prepared miniature to damage."""
    return shutil.copytree(shards / "mdb", tmp_path / "mdb")


@pytest.mark.parametrize(
    ("samples", "windows"),
    [(1, 1), (399 * 441, 1), (400 * 441 - 1, 1), (400 * 441, 2), (4 * 44100, 2), (799 * 441, 2), (800 * 441, 3)],
)
def test_windows_are_whole_and_padded_as_the_study_counts_them(samples, windows):
    """A recording of exactly four seconds has 401 frames: the study pads it to two windows."""
    assert window_count(frame_count(samples)) == windows


@given(samples=st.integers(1, 10**9))
def test_windows_cover_every_frame_and_no_window_is_all_padding(samples):
    frames = 1 + samples // HOP_SAMPLES
    windows = window_count(frame_count(samples))
    assert (windows - 1) * WINDOW_FRAMES < frames <= windows * WINDOW_FRAMES


def test_windows_in_the_manifest_are_those_that_training_sees(shards):
    from trainables.data import SplitData

    corpus = Corpus.open(shards / "mdb")
    for split, summary in corpus.manifest.splits.items():
        assert len(SplitData([corpus], split)) == summary.windows == corpus.rows(split)["windows"].sum()


def test_time_and_place_are_in_the_manifest_and_not_in_its_checksum(damaged):
    manifest = Manifest.load(damaged)
    assert manifest.timing["times_real_time"] == pytest.approx(8 * 9.01 / manifest.timing["seconds"], rel=1e-3)
    content = json.loads((damaged / MANIFEST).read_text())
    for key, value, same in (("timing", {"seconds": 1}, True), ("source", "/", True), ("labels", 3, False)):
        (damaged / MANIFEST).write_text(json.dumps(content | {key: value}))
        assert (Manifest.load(damaged).checksum == manifest.checksum) is same


def test_another_format_says_so(damaged):
    content = json.loads((damaged / MANIFEST).read_text())
    (damaged / MANIFEST).write_text(json.dumps(content | {"format": 1}))
    with pytest.raises(Refused, match=rf"has format 1, this version of mirtune reads {FORMAT}; run `mirtune prep`"):
        Corpus.open(damaged)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("classes", "kick", r"manifest\.classes is 'kick' where tuple was expected"),
        ("files", ["a"], r"manifest\.files is .* where dict was expected"),
        ("bands", 84.0, r"manifest\.bands is '84\.0' where int was expected"),
        ("whole_tracks", 1, r"manifest\.whole_tracks is '1' where bool was expected"),
        ("surprise", 1, r"manifest has the keys .*surprise"),
    ],
)
def test_a_field_that_makes_no_sense(damaged, key, value, said):
    content = json.loads((damaged / MANIFEST).read_text())
    (damaged / MANIFEST).write_text(json.dumps(content | {key: value}))
    with pytest.raises(Refused, match=said):
        Corpus.open(damaged)


def test_nesting_without_end(damaged):
    (damaged / MANIFEST).write_text("[" * 200_000)
    with pytest.raises(Refused, match=r"manifest\.json is damaged"):
        Corpus.open(damaged)


def rewrite(folder, table):
    """Another table of tracks, with a manifest that lists it."""
    table.to_parquet(folder / TRACKS)
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][TRACKS] = checksum(folder / TRACKS)
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shard": "../other/shard-00000.arrow"}, r"names '\.\./other/shard-00000\.arrow', which is no file of"),
        ({"performance": "one for all"}, "has performance 'one for all' in several splits"),
        ({"frames": 3}, r"has other splits than .*\(4, 12\)"),
        ({"split": None}, r"tracks\.parquet has other splits than .*manifest\.json counts"),
    ],
)
def test_a_table_of_tracks_that_makes_no_sense(damaged, change, said):
    table = pd.read_parquet(damaged / TRACKS)
    rewrite(damaged, table.assign(**change))
    with pytest.raises(Refused, match=said):
        Corpus.open(damaged)


def test_a_table_of_tracks_that_is_none(damaged):
    (damaged / TRACKS).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(Refused, match=r"tracks\.parquet is damaged.* run `mirtune prep mdb --source .* --shards"):
        Corpus.open(damaged)
    rewrite(damaged, pd.DataFrame({"id": ["Punk"]}))
    with pytest.raises(Refused, match=r"tracks\.parquet is not the table of tracks"):
        Corpus.open(damaged)


def test_a_shard_with_other_columns(damaged):
    content = json.loads((damaged / MANIFEST).read_text())
    (damaged / MANIFEST).write_text(json.dumps(content | {"bands": 80}))
    corpus = Corpus.open(damaged)
    with pytest.raises(Refused, match=r"holds other columns than .*manifest\.json says; run `mirtune prep mdb"):
        corpus.frames(next(corpus.rows("all").itertuples()))


@pytest.mark.parametrize("change", [{"first_byte": 1 << 40}, {"first_byte": -8}, {"first_byte": 3}])
def test_a_shard_that_does_not_hold_what_the_table_says(damaged, change):
    table = pd.read_parquet(damaged / TRACKS)
    rewrite(damaged, table.assign(**change))
    corpus = Corpus.open(damaged)
    with pytest.raises(Refused, match=r"does not hold track '\w+' as .*tracks\.parquet says"):
        corpus.frames(next(corpus.rows("all").itertuples()))


@SLOW
@given(path=st.lists(st.integers(0, 30), max_size=4), value=ANYTHING)
def test_any_change_of_a_manifest_is_read_or_refused(shards, tmp_path_factory, path, value):
    folder = tmp_path_factory.mktemp("fuzz")
    content = json.loads((shards / "mdb" / MANIFEST).read_text())
    place = content
    for step in path[:-1]:
        inner = [
            of for of in (place.values() if isinstance(place, dict) else place) if isinstance(of, dict | list) and of
        ]
        place = inner[step % len(inner)] if inner else place
    if path:
        key = list(place)[path[-1] % len(place)] if isinstance(place, dict) else path[-1] % len(place)
        place[key] = value
    else:
        content = value
    (folder / MANIFEST).write_text(json.dumps(content))
    for read in (Manifest.load, Corpus.open):
        with contextlib.suppress(Refused):
            read(folder)


@SLOW
@given(content=st.binary(max_size=300))
def test_any_bytes_for_a_manifest_are_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(Refused, match=r"manifest\.json"):
        Manifest.load(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PrepOptions(workers=2), ""),
        (PrepOptions(classes=8, name="eight", seed=3), " --classes 8 --name eight --seed 3"),
        (PrepOptions(kit_maps=False), " --no-kit-maps"),
        (PrepOptions(kits=(Path("/a b"), Path("/c"))), " --kits '/a b' /c"),
    ],
)
def test_the_command_that_prepared_it_is_one_that_can_be_typed(options, words):
    from tuner.cli import parser
    from tuner.commands.prep import options as read

    typed = command(CORPORA["mdb"], Path("/music"), options)
    assert typed == f"mirtune prep mdb --source /music{words}"
    assert read(parser().parse_args(shlex.split(typed)[1:])) == replace(options, workers=None)


def test_a_corpus_that_was_prepared_with_options_tells_them(mdb_folder, tmp_path):
    options = PrepOptions(workers=1, classes=3, name="mine", unknown_labels=0.5)
    prepare("mdb", source=mdb_folder, shards=tmp_path, options=options)
    manifest = Manifest.load(tmp_path / "mine")
    assert options_of(manifest) == replace(options, workers=None)
    given = ["--source", str(mdb_folder), "--classes", "3", "--name", "mine", "--unknown-labels", "0.5"]
    assert shlex.split(manifest.command) == ["mirtune", "prep", "mdb", *given]
