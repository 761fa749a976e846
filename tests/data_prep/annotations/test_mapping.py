"""Mapping files in every form, and folders of audio with annotations."""

import os

import pytest

from data_prep.annotations import READERS
from data_prep.annotations.mapping import ANNOTATION_SUFFIXES, AUDIO_SUFFIXES, Pairs, pair_files, read_mapping
from data_prep.refused import Refused

CLASSES = ("kick", "snare", "hi-hat")


def read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mapping(tmp_path / name, CLASSES)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "KD,kick\nbig snare,snare\nTB,-\nx,\n"),
        ("a.csv", "\ufeffLabel,Class\r\nKD,kick\r\n\r\nbig snare,snare\r\n# no\r\nTB,-\r\nx,\r\nKD,kick"),
        ("a.CSV", '"KD";"kick"\n"big snare"; snare\nTB;-\nx;\n'),
        ("a.txt", "KD kick\nbig snare\tsnare\nTB -\nx,-\n"),
        ("a.json", '{"KD": "kick", "big snare": "snare", "TB": null, "x": "-"}'),
        ("a.json", b'\xef\xbb\xbf{"KD": "kick", "KD": "kick", "big snare": "snare", "TB": "", "x": null}'),
    ],
)
def test_forms(tmp_path, name, content):
    mapping = read(tmp_path, name, content)
    assert list(mapping.items()) == [("KD", "kick"), ("big snare", "snare"), ("TB", None), ("x", None)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "", r"a\.csv is empty; expected lines of `label,class`"),
        ("a.csv", "label,class\n", r"a\.csv is empty"),
        ("a.json", "{}", r"a\.json is empty"),
        ("a.csv", "KD,kick\nKD,snare\n", r"line 2 has 'KD' again, as snare after kick; expected one class a label"),
        ("a.csv", "KD,kick\nKD,-\n", r"line 2 has 'KD' again, as - after kick"),
        ("a.json", '{"KD": null, "KD": "kick"}', r"member 2 has 'KD' again, as kick after -"),
        ("a.csv", "KD,Kick\n", r"line 1 has the class 'Kick'; expected one of kick, snare, hi-hat, or - to leave"),
        ("a.json", '{"KD": "x"}', r"member 1 has the class 'x'; expected one of kick"),
        ("a.csv", "KD\n", r"line 1 is 'KD'; expected lines of"),
        ("a.csv", "KD,kick,snare\n", r"line 1 is 'KD,kick,snare'; expected lines of"),
        ("a.csv", 'KD,"kick\n', r"line 1 is .*; expected lines of"),
        ("a.csv", ",kick\n", r"line 1 has the label ''; expected printable characters"),
        ("a.csv", "\x1b[1m,kick\n", r"line 1 has the label '\\x1b\[1m'"),
        ("a.json", '{"\\ud800": "kick"}', r"member 1 has the label"),
        ("a.csv", b"\xff,kick\n", r"line 1 is not UTF-8; expected lines of"),
        ("a.json", "[]", r"is no object of labels and class names; expected a JSON object such as"),
        ("a.json", "null", r"is no object of labels"),
        ("a.json", '[["KD", "kick"]]', r"is no object of labels"),
        ("a.json", '{"KD": 1}', r"is no object of labels"),
        ("a.json", '{"KD": {}}', r"is no object of labels"),
        ("a.json", '{"KD": ', r"is no JSON"),
        ("a.json", "[" * 500_000, r"is no JSON"),
        ("a.json", b"\xff", r"is no JSON"),
        ("a.yaml", "KD: kick", r"is no mapping that can be read; expected \.csv, \.txt or \.json"),
    ],
)
def test_refusals(tmp_path, name, content, reason):
    with pytest.raises(Refused, match=reason):
        read(tmp_path, name, content)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.json"])
def test_no_file(tmp_path, name):
    with pytest.raises(Refused, match=r"no mapping at .*; expected .*: restore it"):
        read_mapping(tmp_path / name, CLASSES)
    os.mkfifo(tmp_path / name)
    with pytest.raises(Refused, match="is a folder, a pipe or a device, no mapping"):
        read_mapping(tmp_path / name, CLASSES)


def test_suffixes_are_those_of_the_readers():
    assert set(ANNOTATION_SUFFIXES) == set(READERS)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def relative(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_pairs(tmp_path):
    touch(tmp_path, "b.wav", "b.txt", "a.MP3", "a.Mid", "sub/c.flac", "sub/c.jams", "sub/deep/a.ogg", "sub/deep/a.mxl")
    touch(tmp_path, "alone.wav", "notes.txt", "sub/b.mid", "README.md", ".hidden.wav", ".hidden.txt", ".git/x.wav")
    touch(tmp_path, ".git/x.txt", "sub/._c.flac", "ä ü.wav", "ä ü.csv", "v1.2.wav", "v1.2.txt", "v1.txt")
    pairs = pair_files(tmp_path)
    assert [tuple(relative(pair, tmp_path)) for pair in pairs.paired] == [
        ("a.MP3", "a.Mid"),
        ("b.wav", "b.txt"),
        ("v1.2.wav", "v1.2.txt"),
        ("ä ü.wav", "ä ü.csv"),
        ("sub/c.flac", "sub/c.jams"),
        ("sub/deep/a.ogg", "sub/deep/a.mxl"),
    ]
    assert relative(pairs.lonely_audio, tmp_path) == ["alone.wav"]
    assert relative(pairs.lonely_annotations, tmp_path) == ["notes.txt", "v1.txt", "sub/b.mid"]
    assert pairs.passed_over == []


def test_several_of_one_name(tmp_path):
    touch(tmp_path, *(f"a{suffix}" for suffix in (*AUDIO_SUFFIXES, *ANNOTATION_SUFFIXES)))
    pairs = pair_files(tmp_path)
    assert pairs.paired == [(tmp_path / "a.wav", tmp_path / "a.mid")]
    assert relative(pairs.passed_over, tmp_path) == [f"a{of}" for of in (*AUDIO_SUFFIXES[1:], *ANNOTATION_SUFFIXES[1:])]


def test_links_and_other_things(tmp_path):
    touch(tmp_path, "real/a.wav", "real/a.txt")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "real" / "self").symlink_to("self")
    (tmp_path / "real" / "b.wav").symlink_to("missing.wav")
    (tmp_path / "zlink").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "c.wav").mkdir()
    os.mkfifo(tmp_path / "real" / "d.wav")
    (tmp_path / "real" / "e.wav").symlink_to("a.wav")
    pairs = pair_files(tmp_path)
    assert [tuple(relative(pair, tmp_path)) for pair in pairs.paired] == [("real/a.wav", "real/a.txt")]
    assert relative(pairs.lonely_audio, tmp_path) == ["real/e.wav"]


def test_folders_that_cannot_be_read(tmp_path):
    assert pair_files(tmp_path) == Pairs()
    with pytest.raises(Refused, match=r"no folder at .*missing; expected one with audio files and annotations"):
        pair_files(tmp_path / "missing")
    touch(tmp_path, "a.wav")
    with pytest.raises(Refused, match="no folder at"):
        pair_files(tmp_path / "a.wav")
    try:
        touch(tmp_path, os.fsdecode(b"\xff.wav"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(Refused, match=r"\\udcff\.wav' has a name that is not UTF-8; rename it"):
        pair_files(tmp_path)
