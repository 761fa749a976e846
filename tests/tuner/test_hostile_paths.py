"""Paths on the command line that lead nowhere: status 2 and one line that names them."""

import pytest
from miniature import write_folder

from data_prep.refused import Refused
from tuner.cli import main

LONG = "a" * 300


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "music")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("prep folder --source loop", "loop"),
        (f"prep folder --source {LONG}", LONG),
        ("prep folder --source music --mapping loop", "loop"),
        ("prep folder --source music --splits loop", "loop"),
        ("prep folder --source music --shards loop", "loop"),
        ("prep folder --source music --shards loop/x", "loop"),
        ("prep folder --source music --shards file", "file"),
        (f"prep folder --source music --shards {LONG}", LONG),
        ("prep folder --source music --shards /proc", "/proc/folder"),
        ("prep demo --accompaniment loop --hours 0.001", "loop"),
        ("prep demo --kits loop --hours 0.001", "loop"),
        (f"prep demo --kits {LONG} --hours 0.001", LONG),
        (f"show mdb --shards {LONG}", LONG),
    ],
)
def test_a_path_that_leads_nowhere(line, named, at, capsys):
    assert main([*line.split(), *(["--workers", "1"] if line.startswith("prep") else [])]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("mirtune: ")
    assert named in lines[-1]
    assert "Error" not in lines[-1]


def test_a_refusal_is_one_printable_line():
    assert str(Refused("a\nb\x1b[31m\udcff ü")) == r"a\nb\x1b[31m\udcff ü"
