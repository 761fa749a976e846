"""E-GMD: a table that makes sense or one clear sentence with the line; kits of a performance never part."""

import csv
import os

import pytest
from miniature import EGMD_COLUMNS, JUST_A_WINDOW, write_egmd

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.job import plan, prepare
from data_prep.refused import Refused

TABLE = "e-gmd-v1.0.0.csv"
ONE = PrepOptions(workers=1)


@pytest.fixture
def source(tmp_path):
    """A miniature of E-GMD to change."""
    write_egmd(tmp_path / "egmd")
    return tmp_path / "egmd"


def tracks(source):
    return list(CORPORA["egmd"].tracks(source, ONE))


def change(source, line, **values):
    """Change values in a line of the table, counted from 1 as in an editor."""
    with (source / TABLE).open(newline="") as file:
        rows = list(csv.reader(file))
    for column, value in values.items():
        rows[line - 1][EGMD_COLUMNS.index(column)] = value
    with (source / TABLE).open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_track_is_an_audio_file_and_kits_of_a_performance_belong_together(source):
    found = tracks(source)
    assert found[0].id == "drummer1/session1/0_jazz-fast_290_beat_4-4_1"
    assert {track.performance for track in found[:2]} == {"drummer1/session1/0"}
    assert len({track.performance for track in found}) == len(found) / 2
    assert found[0].seconds == pytest.approx(JUST_A_WINDOW / 44100)


def test_kits_of_a_performance_in_two_splits_are_refused(source):
    change(source, 3, split="test")
    with pytest.raises(Refused, match=r"performance 'drummer1/session1/0' stands in train and in test"):
        plan("egmd", source, ONE)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"split": "spare"}, r"line 3 has the split 'spare', none of train, validation, test"),
        ({"split": ""}, "line 3 has no split"),
        ({"id": ""}, "line 3 has no id"),
        ({"duration": "long"}, "line 3 has the duration 'long', no seconds above 0"),
        ({"duration": "-1"}, "line 3 has the duration '-1'"),
        ({"duration": "nan"}, "line 3 has the duration 'nan'"),
        ({"audio_filename": "/etc/passwd"}, "line 3 names '/etc/passwd', which leads out of"),
        ({"midi_filename": "../../secret.midi"}, "line 3 names '../../secret.midi', which leads out of"),
        ({"midi_filename": "drummer1/../../x.midi"}, "line 3 names .*which leads out of"),
        ({"midi_filename": "..\\x.midi"}, "line 3 names .*which leads out of"),
        (
            {"audio_filename": "drummer1/session1/0_jazz-fast_290_beat_4-4_1.wav"},
            r"line 3 lists 'drummer1/session1/0_jazz-fast_290_beat_4-4_1.wav' again, as line 2 does",
        ),
    ],
)
def test_a_row_that_makes_no_sense(source, values, reason):
    change(source, 3, **values)
    with pytest.raises(Refused, match=rf"{TABLE} {reason}.*; expected {TABLE} as published") as refused:
        tracks(source)
    assert "\n" not in str(refused.value)


def test_links_out_of_the_folder_are_refused_and_links_within_are_not(source, tmp_path):
    audio = source / "drummer1/session1/0_jazz-fast_290_beat_4-4_1.wav"
    audio.rename(source / "elsewhere.wav")
    audio.symlink_to(source / "elsewhere.wav")
    assert len(tracks(source)) == 8
    audio.unlink()
    (tmp_path / "secret.wav").write_bytes(b"")
    audio.symlink_to(tmp_path / "secret.wav")
    with pytest.raises(Refused, match=r"line 2 names '.*4-4_1\.wav', which leads out of"):
        tracks(source)
    audio.unlink()
    (source / "drummer2").rename(tmp_path / "drummer2")
    os.symlink(tmp_path / "drummer2", source / "drummer2")
    with pytest.raises(Refused, match=r"line 4 names 'drummer2/.*', which leads out of"):
        tracks(source)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1 lacks the columns id, duration, split, midi_filename, audio_filename"),
        (b"id,duration,split,midi_filename,audio\n1,2,train,a,b\n", "line 1 lacks the columns audio_filename"),
        (b"id,duration,split,midi_filename,audio_filename\n", "lists nothing"),
        (b"id,duration,split,midi_filename,audio_filename\n1,2,train,a\n", "line 2 has 4 values for 5 columns"),
        (b"id,duration,split,midi_filename,audio_filename\n1,2,train,a,b,c\n", "line 2 has 6 values for 5 columns"),
        (b"id,duration,split,midi_filename,audio_filename\n\n1,2,train,a,b\n1,2,\xe9,c,d\n", "line 4 is not UTF-8"),
        (b'id,duration,split,midi_filename,audio_filename\n1,2,train,"a\n', "line 2 is no csv"),
    ],
)
def test_another_table(source, content, reason):
    (source / TABLE).write_bytes(content)
    with pytest.raises(Refused, match=f"{TABLE} {reason}.*; expected {TABLE} as published, in the top folder"):
        tracks(source)


def test_byte_order_mark_line_ends_and_order_of_columns_do_not_matter(source):
    expected = tracks(source)
    content = (source / TABLE).read_bytes()
    (source / TABLE).write_bytes(b"\xef\xbb\xbf" + content.replace(b"\r\n", b"\n"))
    assert tracks(source) == expected
    with (source / TABLE).open(newline="", encoding="utf-8-sig") as file:
        rows = [row[::-1] for row in csv.reader(file)]
    with (source / TABLE).open("w", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)
    assert tracks(source) == expected


def test_the_whole_data_set_is_listed_quickly(tmp_path):
    import time

    name = "drummer1/session1"
    about = ("jazz", 1, "beat", "4-4", 35.3, "train")
    rows = [
        ("d", "s", f"{name}/{number // 43}", *about, f"{name}/{number}.midi", f"{name}/{number}.wav", "Kit")
        for number in range(45_537)
    ]
    with (tmp_path / TABLE).open("w", newline="") as file:
        csv.writer(file).writerows([EGMD_COLUMNS, *rows])
    began = time.process_time()
    assert len(tracks(tmp_path)) == 45_537
    assert time.process_time() - began < 10  # about one; machines differ


def test_a_recording_that_is_not_there_loses_its_track(source):
    change(source, 2, audio_filename="drummer1/session1/gone.wav")
    change(source, 3, midi_filename="drummer1/session1/gone.midi")
    manifest = prepare("egmd", source=source, shards=source.parent / "shards", options=ONE)
    reasons = {of["id"]: of["reason"] for of in manifest.refused}
    assert "no audio file at" in reasons["drummer1/session1/gone"]
    assert "no MIDI file at" in reasons["drummer1/session1/0_jazz-fast_290_beat_4-4_2"]
    assert manifest.splits["train"].tracks == 2
    assert manifest.notes["of the 35,217 published train tracks missing in this copy"] == 35_213
