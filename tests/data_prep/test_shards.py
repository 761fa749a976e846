"""What is written is what is read, without a copy; damage is found and named."""

import json
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.manifest import MANIFEST, Manifest, Moments
from data_prep.refused import Refused
from data_prep.shards import Corpus, ShardWriter, schema, union_moments


@pytest.fixture
def damaged(shards, tmp_path):
    """A copy of the prepared corpus to damage."""
    shutil.copytree(shards / "mdb", tmp_path / "mdb")
    return tmp_path / "mdb"


def test_frames_come_back_as_views_of_the_mapped_file(shards):
    corpus = Corpus.open(shards / "mdb", verify=True)
    for row in corpus.rows("all").itertuples():
        bands, targets = corpus.frames(row)
        assert bands.shape == (row.frames, 84)
        assert bands.dtype == np.float16
        assert targets.shape == (row.frames, 5)
        assert targets.dtype == np.uint8
        assert not bands.flags.owndata
        assert not bands.flags.writeable  # the page cache itself
        assert (targets == 2).sum(axis=0).tolist() == list(row.onsets_per_class)


def test_writer_keeps_every_bit(tmp_path):
    generator = np.random.default_rng(0)
    tracks = [
        (generator.random((frames, 7)).astype(np.float16), generator.integers(0, 3, (frames, 2)).astype(np.uint8))
        for frames in (1, 400, 3)
    ]
    with ShardWriter(tmp_path / "s.arrow", 7, 2) as writer:
        first_bytes = [writer.write(bands, targets) for bands, targets in tracks]
    manifest = SimpleNamespace(bands=7, classes=("a", "b"), again=lambda folder: "make it again")
    corpus = Corpus(tmp_path, manifest, None)  # type: ignore[arg-type]
    file = pa.ipc.open_file(pa.memory_map(str(tmp_path / "s.arrow")))
    for batch, (first_byte, (bands, targets)) in enumerate(zip(first_bytes, tracks, strict=True)):
        row = SimpleNamespace(id="a", shard="s.arrow", first_byte=first_byte, frames=len(bands))
        columns = [column.flatten().to_numpy().reshape(len(bands), -1) for column in file.get_batch(batch).columns]
        for as_frames, as_arrow, written in zip(corpus.frames(row), columns, (bands, targets), strict=True):
            np.testing.assert_array_equal(as_frames, written)
            np.testing.assert_array_equal(as_arrow, written)
    assert schema(7, 2).field("bands").type.list_size == 7


def test_another_process_maps_the_shards_itself(shards):
    corpus = Corpus.open(shards / "mdb")
    row = next(corpus.rows("all").itertuples())
    here = corpus.frames(row)
    pickled = pickle.dumps(corpus)
    assert len(pickled) < sum(path.stat().st_size for path in corpus.folder.glob("*.arrow")) / 4
    np.testing.assert_array_equal(pickle.loads(pickled).frames(row)[0], here[0])


@pytest.mark.parametrize("first_byte", [-8, 3, 1 << 40])
def test_a_track_that_is_not_where_the_table_says(shards, first_byte):
    corpus = Corpus.open(shards / "mdb")
    row = next(corpus.rows("all").itertuples())._replace(first_byte=first_byte)
    with pytest.raises(Refused, match=rf"{row.shard} does not hold track '{row.id}' as .*tracks.parquet says"):
        corpus.frames(row)


@given(st.lists(st.lists(st.floats(0, 3, width=16), min_size=1, max_size=40), min_size=1, max_size=6))
def test_moments_of_a_union_are_exact(pieces):
    arrays = [np.array(piece, np.float16) for piece in pieces]
    together = sum((Moments.of(piece) for piece in arrays), Moments())
    whole = np.concatenate(arrays).astype(np.float64)
    assert together.mean == pytest.approx(whole.mean(), abs=1e-12)
    assert together.deviation == pytest.approx(whole.std() or 1.0, rel=1e-5, abs=1e-6)


def test_manifest_statistics_are_those_of_the_frames(shards):
    corpus = Corpus.open(shards / "mdb")
    values = np.concatenate([corpus.frames(row)[0].ravel() for row in corpus.rows("train").itertuples()]).astype(float)
    moments = union_moments([corpus], "train")
    assert moments.mean == pytest.approx(values.mean())
    assert moments.deviation == pytest.approx(values.std())
    assert corpus.manifest.splits["train"].frames * 84 == moments.count


def test_a_manifest_survives_its_file(shards, tmp_path):
    manifest = Manifest.load(shards / "mdb")
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest


def test_not_prepared(tmp_path):
    with pytest.raises(Refused, match=r"corpus 'egmd' is not prepared: .*run `mirtune prep egmd --shards"):
        Corpus.open(tmp_path / "egmd")


def test_damaged_shard(damaged):
    shard = sorted(damaged.glob("*.arrow"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(Refused, match=rf"{shard.name} is damaged: its checksum .*run `mirtune prep mdb"):
        Corpus.open(damaged, verify=True)


def test_truncated_shard(damaged):
    corpus = Corpus.open(damaged)
    row = next(corpus.rows("all").itertuples())
    (damaged / row.shard).write_bytes((damaged / row.shard).read_bytes()[:100])
    with pytest.raises(Refused, match=rf"{row.shard} is damaged .*run `mirtune prep mdb"):
        corpus.frames(row)


def test_missing_shard(damaged):
    shard = sorted(damaged.glob("*.arrow"))[0]
    shard.unlink()
    with pytest.raises(Refused, match=rf"{shard.name}, which .*manifest.json lists, is missing"):
        Corpus.open(damaged)


def test_damaged_manifest(damaged):
    (damaged / MANIFEST).write_text("{")
    with pytest.raises(Refused, match=r"manifest\.json is damaged .*run `mirtune prep` for mdb again"):
        Corpus.open(damaged)


def test_manifest_that_leaves_its_folder(damaged):
    content = json.loads((damaged / MANIFEST).read_text())
    content["files"]["../../secret"] = "0"
    (damaged / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(Refused, match=r"secret, which .* lists, is missing"):
        Corpus.open(damaged)


def test_a_split_without_tracks(shards):
    corpus = Corpus.open(shards / "mdb")
    with pytest.raises(Refused, match="corpus 'mdb' has no spare tracks; it holds train, validation, test"):
        corpus.rows("spare")
