"""SADTP: every piece is for testing."""

import pytest
from miniature import write_sadtp

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.job import prepare
from data_prep.refused import Refused

ONE = PrepOptions(workers=1)


def test_pieces_that_lack_a_file_are_listed_and_other_folders_are_not(tmp_path):
    written = write_sadtp(tmp_path / "sadtp")
    written[0].audio.unlink()
    written[1].annotation.unlink()
    (tmp_path / "sadtp" / "notes").mkdir()
    (tmp_path / "sadtp" / "README.md").touch()
    manifest = prepare("sadtp", source=tmp_path / "sadtp", shards=tmp_path / "shards", options=ONE)
    reasons = {entry["id"]: entry["reason"] for entry in manifest.refused}
    assert set(reasons) == {"A Song", "B"}
    assert f"no audio file at {written[0].audio}" in reasons["A Song"]
    assert f"no MIDI file at {written[1].annotation}" in reasons["B"]
    assert manifest.splits["test"].tracks == 1
    assert manifest.splits["train"].tracks == 0


def test_a_piece_itself_is_not_the_corpus(tmp_path):
    write_sadtp(tmp_path)
    with pytest.raises(Refused, match="is not SADTP"):
        list(CORPORA["sadtp"].tracks(tmp_path / "B", ONE))
