"""Text annotations: what is read, and every refusal."""

import os
import stat

import numpy as np
import pytest

from data_prep.annotations import READERS, labels, read_labels
from data_prep.refused import Refused


def read(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    return read_labels(path)


@pytest.mark.parametrize(
    "line",
    [b"0.5 KD", b"0.5\tKD", b"0.5 \t KD ", b"0.500000,KD", b"0.5, KD,", b" 5e-1 KD rest", b"+.5 KD", b"0.5\t0.7\tKD"],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line(tmp_path, line, end):
    labels = read(tmp_path, line + end + b"1 SD")
    assert labels.times_s.tolist() == [0.5, 1.0]
    assert labels.labels == ("KD", "SD")
    assert np.isnan(labels.velocities).all()
    assert (labels.times_s.dtype, labels.velocities.dtype) == (np.float64, np.float32)


def test_marks_comments_and_order(tmp_path):
    labels = read(tmp_path, b"\xef\xbb\xbf# made by hand\n2 \xc3\xa4\n\n \t\n #0.1 no\n1 38\n1 38 100\n1 b,\n")
    assert labels.times_s.tolist() == [2, 1, 1, 1]
    assert labels.labels == ("ä", "38", "38", "b")
    assert len(read(tmp_path, b"")) == 0


@pytest.mark.parametrize(
    "line",
    [
        "KD 0.5",
        "0.5",
        "-0.1 KD",
        "nan KD",
        "inf KD",
        "1e999 KD",
        "1_0 KD",
        "86400.1 KD",
        "0,5 KD",
        "0x1 KD",
        "٣ KD",
        "1\0K",
    ],
)
def test_no_time_and_label(tmp_path, line):
    with pytest.raises(Refused, match=r"a\.txt line 2 is .*; expected `seconds label`, as in `1.25 SD`: correct the"):
        read(tmp_path, b"0.5 KD\n" + line.encode())


def test_not_text(tmp_path):
    with pytest.raises(Refused, match=r"a\.txt line 2 is not UTF-8; expected a text file"):
        read(tmp_path, b"0.5 KD\n1 \xff\n")
    with pytest.raises(Refused, match=r"a\.txt line 1 is not UTF-8"):
        read(tmp_path, "0.5 KD".encode("utf-16"))
    with pytest.raises(Refused, match=r"line 2 is longer than 4096 bytes"):
        read(tmp_path, b"0.5 KD\n1 " + b"x" * 5000)
    with pytest.raises(Refused, match=r"has the label 'x{40}'; expected 1 to 200 printable characters"):
        read(tmp_path, b"1 " + b"x" * 201)
    with pytest.raises(Refused, match=r"has the label 'a\\x1b'"):
        read(tmp_path, b"1 a\x1b")


def test_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MAX_LABELS", 1000)
    with pytest.raises(Refused, match=r"has 1,001 labels, more than 1,000; expected one song: split it"):
        read(tmp_path, b"1 a\n" * 1001)
    large = tmp_path / "large.txt"
    large.touch()
    os.truncate(large, 2**40)  # sparse: refused by its size, never read
    with pytest.raises(Refused, match=r"large\.txt holds 1,099,511,627,776 bytes, and at most 16,777,216 are read"):
        read_labels(large)


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_only_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for name in (path, path.with_name(f"zero\0{suffix}"), path.with_name("x" * 300 + suffix)):
        with pytest.raises(Refused, match=r"no (annotation|MIDI file|score) at|cannot be opened"):
            read_labels(name)
    path.mkdir()
    with pytest.raises(Refused, match=r"is a folder, a pipe or a device"):
        read_labels(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(Refused, match=r"is a folder, a pipe or a device"):
        read_labels(path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(Refused, match=r"cannot be opened \(Too many levels of symbolic links\)"):
        read_labels(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(Refused, match=r"is a folder, a pipe or a device"):
        read_labels(path)


def test_no_permission(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 a")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(Refused, match=r"cannot be opened \(Permission denied\)"):
        read_labels(path)
    path.chmod(stat.S_IRUSR)


@pytest.mark.parametrize("name", ["a", "a.doc", ".txt", "a.txt.bak"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(Refused, match=r"expected one of \.mid, \.midi, \.txt, \.csv, \.jams, \.musicxml, \.xml, \.mxl"):
        read_labels(tmp_path / name)


def test_capitals(tmp_path):
    (tmp_path / "A.TXT").write_text("1 a")
    assert read_labels(tmp_path / "A.TXT").labels == ("a",)


def test_real_annotations(shared):
    paths = sorted((shared / "data" / "mdb_drums").rglob("*_subclass.txt"))
    for path in paths:
        labels = read_labels(path)
        expected = [line.split() for line in path.read_text().splitlines() if line.strip()]
        assert labels.labels == tuple(words[1] for words in expected)
        assert labels.times_s.tolist() == [float(words[0]) for words in expected]
    assert paths
