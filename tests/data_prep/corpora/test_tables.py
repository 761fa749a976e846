"""Tables that list a corpus: any bytes are read or refused in one sentence; the real table of Groove."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.corpora.groove import read_table
from data_prep.corpora.tables import Inside, read_rows
from data_prep.refused import Refused


@given(st.one_of(st.binary(max_size=100), st.text('ab,"\r\n\0;\t', max_size=60).map(str.encode)))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" + content)
    said = str(path)
    try:
        for line, row in read_rows(path, ("a", "b"), "restore it"):
            assert line > 1
            assert row["a"]
            assert row["b"]
    except Refused as refused:
        said = str(refused)
    assert said.startswith(str(path))
    assert "\n" not in said


def test_a_cell_without_end_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1," + "x" * 200_000 + "\n")
    with pytest.raises(Refused, match=r"line 2 is no csv \(field larger"):
        list(read_rows(tmp_path / "table.csv", ("a", "b"), "restore it"))


def test_a_table_without_end_is_refused(tmp_path):
    with (tmp_path / "table.csv").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(Refused, match="holds 68,157,440 bytes, and at most"):
        list(read_rows(tmp_path / "table.csv", ("a", "b"), "restore it"))


@pytest.mark.parametrize("name", ["a.wav", "a/b.wav", "a/./b.wav", "..a/b..wav", "a/...wav", "sub/inside"])
def test_names_that_stay_inside(tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inside").symlink_to(tmp_path / "a.wav")
    assert Inside(tmp_path)(name)


@pytest.mark.parametrize(
    "name", ["/a.wav", "../a.wav", "a/../../b.wav", "a/..", "..", "\\a.wav", "a\\..\\b", "a\0b", "up/a.wav", "out"]
)
def test_names_that_lead_out(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "up").symlink_to(tmp_path)
    (folder / "out").symlink_to(tmp_path / "folder.wav")
    assert not Inside(folder)(name)


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Inside(tmp_path / "link")("a/b.wav")


def test_the_real_table_of_groove(shared):
    rows = read_table(shared / "data" / "groove" / "info.csv")
    assert len(rows) == 1150
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
