"""ENST-Drums: the study's split, the balance of drums and accompaniment, and MDB Drums beside it."""

from collections import Counter

import numpy as np
import pytest
from miniature import ENST_PIECES, write_enst, write_enst_mdb, write_mdb

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.corpora.enst import ENST_FOLDERS, MDB_FOLDERS
from data_prep.corpora.mdb import SPLIT_OF
from data_prep.job import prepare
from data_prep.refused import Refused
from data_prep.shards import Corpus

ONE = PrepOptions(workers=1)
# numbers of the pieces with accompaniment, as many as there are
NUMBERS = {
    "drummer_1": (*range(107, 121), *range(137, 144)),
    "drummer_2": (*range(115, 130), *range(146, 153)),
    "drummer_3": (*range(126, 135), 140, *range(141, 145), *range(156, 163)),
}


@pytest.fixture
def listing(tmp_path):
    """All pieces of the corpus, with empty annotations, and takes of other kinds."""
    for drummer, numbers in NUMBERS.items():
        folder = tmp_path / drummer / "annotation"
        folder.mkdir(parents=True)
        for number in numbers:
            kind = "MIDI-minus-one_bigband" if number > 136 else "minus-one_salsa"
            (folder / f"{number}_{kind}_sticks.txt").touch()
        (folder / "001_hits_snare-drum_sticks_x6.txt").touch()
        (folder / "036_phrase_disco_simple_slow_sticks.txt").touch()
    return tmp_path


def splits(source, corpus="enst"):
    return {track.id: track.split for track in CORPORA[corpus].tracks(source, ONE)}


def test_two_drummers_to_learn_from_and_the_third_for_the_rest(listing):
    found = splits(listing)
    assert Counter(found.values()) == CORPORA["enst"].published == {"train": 43, "validation": 10, "test": 11}
    assert {name[:9] for name, split in found.items() if split == "train"} == {"drummer_1", "drummer_2"}
    numbers = {int(name.split("-")[1].split("_")[0]) for name, split in found.items() if split == "validation"}
    assert numbers == {*range(126, 135), 140}


def test_a_missing_piece_moves_no_other_piece(listing):
    whole = splits(listing)
    for path in (listing / "drummer_3" / "annotation").glob("12[67]_*"):
        path.unlink()
        del whole[f"drummer_3-{path.stem}"]
    assert splits(listing) == whole


def test_with_mdb_each_keeps_its_splits(listing, tmp_path):
    source = tmp_path / "both"
    source.mkdir()
    for name in NUMBERS:
        (source / "ENST-Drums").mkdir(exist_ok=True)
        (listing / name).rename(source / "ENST-Drums" / name)
    annotations = source / "MDB Drums" / "annotations" / "subclass"
    annotations.mkdir(parents=True)
    for name in SPLIT_OF:
        (annotations / f"MusicDelta_{name}_subclass.txt").touch()
    found = splits(source, "enst_mdb")
    assert Counter(found.values()) == CORPORA["enst_mdb"].published == {"train": 58, "validation": 14, "test": 15}
    assert found["mdb-Punk"] == "train"


@pytest.mark.parametrize(("missing", "names"), [("ENST-Drums", ENST_FOLDERS), ("MDB Drums", MDB_FOLDERS)])
def test_one_of_the_two_is_not_enough(tmp_path, missing, names):
    write_enst_mdb(tmp_path)
    (tmp_path / missing).rename(tmp_path / "other")
    with pytest.raises(Refused, match=f"{tmp_path} holds none of the folders {', '.join(names)}"):
        splits(tmp_path, "enst_mdb")


def test_the_whole_of_one_drummer_is_missing(listing):
    (listing / "drummer_2").rename(listing / "second")
    with pytest.raises(
        Refused, match=rf"{listing} is not ENST-Drums: it has no drummer_2/annotation/\*minus-one\*\.txt"
    ):
        splits(listing)


def test_a_piece_without_a_number_is_refused(listing):
    (listing / "drummer_3" / "annotation" / "minus-one_salsa.txt").touch()
    with pytest.raises(Refused, match="minus-one_salsa of ENST-Drums has no number in front"):
        splits(listing)


def test_accompaniment_is_added_at_the_gain_that_is_asked_for(tmp_path):
    write_enst(tmp_path / "enst")
    tone = []
    for gain_db in (0.0, -6.0, -60.0):
        options = PrepOptions(workers=1, accompaniment_gain_db=gain_db)
        manifest = prepare("enst", source=tmp_path / "enst", shards=tmp_path / f"{gain_db}", options=options)
        assert manifest.options["accompaniment_gain_db"] == gain_db
        corpus = Corpus.open(tmp_path / f"{gain_db}" / "enst")
        bands, _ = corpus.frames(next(iter(corpus.rows("validation").itertuples())))
        magnitudes = 10 ** bands[10:-10].astype(np.float64) - 1
        tone.append(magnitudes.mean(axis=0).max())
    assert tone[1] / tone[0] == pytest.approx(10 ** (-6 / 20), rel=0.02)
    assert tone[2] / tone[0] < 0.15  # the noise of the drums


def test_accompaniment_that_is_missing_loses_the_track(tmp_path):
    written = write_enst(tmp_path / "enst")
    drummer, piece, _ = ENST_PIECES[0]
    (tmp_path / "enst" / drummer / "audio" / "accompaniment" / f"{piece}.wav").unlink()
    manifest = prepare("enst", source=tmp_path / "enst", shards=tmp_path / "shards", options=ONE)
    assert [entry["id"] for entry in manifest.refused] == [written[0].id]
    assert "accompaniment" in manifest.refused[0]["reason"]


def test_drums_that_lost_their_annotation_are_listed(tmp_path):
    written = write_enst(tmp_path / "enst")
    written[3].annotation.unlink()
    manifest = prepare("enst", source=tmp_path / "enst", shards=tmp_path / "shards", options=ONE)
    assert [entry["id"] for entry in manifest.refused] == [written[3].id]
    assert f"no annotation at {written[3].annotation}" in manifest.refused[0]["reason"]


def test_mdb_alone_is_not_enst(tmp_path):
    write_mdb(tmp_path)
    with pytest.raises(Refused, match="is not ENST-Drums"):
        splits(tmp_path)
