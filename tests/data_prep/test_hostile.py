"""Corpora as a hostile or unlucky user has them: what is wrong is said in one line, and the other tracks survive."""

import csv
import json
import os
from pathlib import Path

import pytest
import soundfile
from miniature import GENERAL_MIDI, MINIATURES, hits, write_midi, write_sadtp

from data_prep import framing, job, parts
from data_prep.corpora import PrepOptions
from data_prep.corpora.folder import song_of
from data_prep.framing import frame_track
from data_prep.job import prepare
from data_prep.refused import Refused
from data_prep.shards import Corpus
from tuner.cli import main

ONE = PrepOptions(workers=1)


def prep(name, source, shards, *arguments):
    return main(["prep", name, "--source", os.fspath(source), "--shards", str(shards), "--workers", "1", *arguments])


def written_egmd(folder, **changes):
    """E-GMD whose table has other values in its first row."""
    MINIATURES["egmd"](folder)
    table = folder / "e-gmd-v1.0.0.csv"
    with table.open(newline="") as file:
        header, first, *rest = csv.reader(file)
    for column, value in changes.items():
        first[header.index(column)] = value
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, first, *rest])
    return folder


def written_groove(folder, *rows):
    """The Groove MIDI Dataset with these rows."""
    folder.mkdir()
    write_midi(folder / "a.mid", hits(0)[1], GENERAL_MIDI)
    with (folder / "info.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "midi_filename", "duration", "split"), *rows])
    return folder


def test_a_name_that_is_too_long_loses_its_track(tmp_path, capsys):
    written_egmd(tmp_path / "source", audio_filename=f"{'a' * 300}.wav")
    manifest = prepare("egmd", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert [entry["id"] for entry in manifest.refused] == ["a" * 300]
    assert "no audio file at" in manifest.refused[0]["reason"]
    assert prep("egmd", tmp_path / "source", tmp_path, "--check") == 2
    assert "OSError" not in capsys.readouterr().out


def test_a_value_of_thousands_of_characters_is_not_repeated(tmp_path):
    written_egmd(tmp_path / "source", split="x" * 5000)
    with pytest.raises(Refused, match=r"csv line 2 has a split of more than 1000 characters") as refused:
        prepare("egmd", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert len(str(refused.value)) < 500


def test_a_duration_of_ages_is_refused(tmp_path):
    written_groove(tmp_path / "source", ("x", "a.mid", "1e300", "train"))
    with pytest.raises(Refused, match=r"info.csv line 2 does not describe a performance"):
        prepare("groove", source=tmp_path / "source", shards=tmp_path, options=ONE)


@pytest.mark.parametrize("rows", [("t", "t"), ("t+0", "t")])
def test_a_doubled_id_is_refused(rows, tmp_path):
    durations = {"t": "3"} if rows == ("t", "t") else {"t": "50"}
    listed = [(row, "a.mid", durations.get(row, "3"), "train") for row in rows]
    written_groove(tmp_path / "source", *listed)
    with pytest.raises(Refused, match=r"track 't(\+0)?' is listed twice"):
        prepare("groove", source=tmp_path / "source", shards=tmp_path, options=ONE)


def test_more_hours_than_a_corpus_can_have(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(job, "MOST_TRACKS", 1000)
    for hours in ("1e308", "1e6"):
        assert main(["prep", "demo", "--hours", hours, "--shards", str(tmp_path)]) == 2
        assert "lists more than 1,000 tracks" in capsys.readouterr().err


NAMES = {
    "not UTF-8": (b"\xff\xfe", False),
    "a new line": (b"a\nb", True),
    "colours": (b"\x1b[31mred", True),
    "mathematics": (rb"$\frac$ a_b^{$", True),
    "markup": (b"[bold]x[-]", True),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name, tmp_path, capsys):
    raw, usable = NAMES[name]
    write_sadtp(tmp_path / "source")
    os.rename(tmp_path / "source" / "B", os.path.join(os.fsencode(tmp_path / "source"), raw))
    (tmp_path / "source" / "song_03" / "mix.wav").unlink()
    (tmp_path / "source" / "A Song" / "annotation.mid").unlink()
    if not usable:
        write_sadtp(tmp_path / "source")
    assert prep("sadtp", tmp_path / "source", tmp_path) == 0
    assert prep("sadtp", tmp_path / "source", tmp_path, "--check") == 2
    output = capsys.readouterr()
    assert all(of.isprintable() for of in (output.out + output.err).replace("\n", ""))
    assert ("is not UTF-8; rename it" in output.out) != usable
    assert main(["show", "sadtp", "--track", "first", "--shards", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    words, *others = capsys.readouterr().out.splitlines()
    assert words.isprintable()
    assert [line.partition(":")[0] for line in others] == ["picture"]


def test_a_source_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    written = write_sadtp(tmp_path / "source")

    def vanishing(track, classes):
        framed = frame_track(track, classes)
        if track.id == written[1].id:
            written[2].annotation.unlink()
            raise FileNotFoundError(2, "No such file or directory", str(written[1].audio))
        return framed

    monkeypatch.setattr(parts, "frame_track", vanishing)
    manifest = prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert manifest.splits["test"].tracks == 1
    reasons = [entry["reason"] for entry in manifest.refused]
    assert reasons[0].startswith(f"{written[1].audio} cannot be read (No such file")
    assert reasons[1].startswith(f"no MIDI file at {written[2].annotation}")


def test_a_file_that_changes_between_plan_and_key(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for path in (loop, tmp_path / ("a" * 300), tmp_path / "nothing", Path("/dev/zero")):
        assert parts.stamps_below(path) == []


@pytest.mark.parametrize("damage", ["number", "key", "list", "deep", "folder", "pipe", "device", "a table's pipe"])
def test_a_damaged_record_is_made_again(damage, tmp_path):
    write_sadtp(tmp_path / "source")
    first = prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    record = tmp_path / "sadtp" / "parts" / "shard-00001.json"
    text = record.read_text()
    if damage in ("folder", "pipe", "device", "a table's pipe"):
        path = record if "table" not in damage else record.with_suffix(".onsets.parquet")
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage == "device":
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(path)
    else:
        frames = f'"frames": {json.loads(text)["frames"]}'
        damaged = {"number": text.replace(frames, '"frames": 7'), "key": text.replace('"labels"', '"lapels"')}
        record.write_text((damaged | {"list": "[]", "deep": "[" * 100_000})[damage])
    again = prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert again.checksum == first.checksum


def test_a_source_inside_the_folder_that_is_written_is_left_alone(tmp_path):
    write_sadtp(tmp_path / "sadtp" / "music")
    with pytest.raises(Refused, match=r"lies in .*sadtp, which is to be written; give another --shards or --name"):
        prepare("sadtp", source=tmp_path / "sadtp" / "music", shards=tmp_path, options=ONE)
    assert [path.name for path in (tmp_path / "sadtp").iterdir()] == ["music"]


def test_what_others_keep_in_the_folder_stays(tmp_path):
    write_sadtp(tmp_path / "source")
    download = tmp_path / "sadtp" / "downloads" / ".song.wav.part"
    download.parent.mkdir(parents=True)
    download.write_text("")
    prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert download.exists()


def test_a_performance_of_hours_is_not_rendered(tmp_path):
    written_groove(tmp_path / "source", *((name, "a.mid", "3", "test") for name in "ab"))
    write_midi(tmp_path / "source" / "b.mid", [(0.5, "kick"), (20 * 3600.0, "kick")], GENERAL_MIDI)
    table = tmp_path / "source" / "info.csv"
    table.write_text(table.read_text().replace("b,a.mid", "b,b.mid"))
    manifest = prepare("groove", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert [entry["id"] for entry in manifest.refused] == ["b"]
    assert "b.mid lasts 72,000 s; expected at most 1,800 s" in manifest.refused[0]["reason"]


def test_a_sparse_file_of_terabytes(tmp_path):
    written = write_sadtp(tmp_path / "source")
    os.truncate(written[0].audio, 2**40)
    manifest = prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert "A Song/mix.wav holds 1,099,511,627,776 bytes" in manifest.refused[0]["reason"]


@pytest.mark.parametrize(
    "damage", [('"snare": ', '"sna4e": '), ('"train": {', '"trbin": {'), ('"tracks": 3', '"tracks": 0')]
)
def test_a_manifest_with_a_wrong_letter(damage, tmp_path, capsys):
    write_sadtp(tmp_path / "source")
    prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    manifest = tmp_path / "sadtp" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(*damage, 1))
    assert main(["show", "sadtp", "--shards", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "manifest.json is damaged (the " in capsys.readouterr().err.replace("(its", "(the")


def test_a_damaged_table_of_tracks_is_noticed_at_once(tmp_path, capsys):
    write_sadtp(tmp_path / "source")
    prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    table = tmp_path / "sadtp" / "tracks.parquet"
    table.write_bytes(table.read_bytes().replace(b"A Song", b"A Sung"))
    assert main(["show", "sadtp", "--shards", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "tracks.parquet is damaged: its checksum" in capsys.readouterr().err


def test_a_shard_with_flipped_bytes_is_shown_or_refused(tmp_path):
    write_sadtp(tmp_path / "source")
    prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    corpus = Corpus.open(tmp_path / "sadtp")
    row = next(corpus.tracks.itertuples())
    shard = tmp_path / "sadtp" / row.shard
    whole = shard.read_bytes()
    refused = 0
    for at in (*range(0, 1200, 7), *range(len(whole) - 1000, len(whole), 7)):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            bands, targets = Corpus.open(tmp_path / "sadtp").frames(row)
            assert len(bands) == len(targets) == row.frames
        except Refused:
            refused += 1
    assert refused > 20


def test_folders_without_end(tmp_path, monkeypatch, capsys):
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path / "source")
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    try:
        assert prep("folder", tmp_path / "source", tmp_path) == 2
    finally:
        for _ in range(1500):
            os.chdir("..")
            os.rmdir("d")
    assert "nested too deep" in capsys.readouterr().err


def test_a_name_of_dashes_takes_no_time():
    name = "/".join(["-" * 250] * 14 + ["(1)" * 80])
    assert song_of(name) == name.partition("(")[0]


def test_a_mapping_of_every_word_there_is(tmp_path):
    MINIATURES["folder"](tmp_path / "source")
    mapping = tmp_path / "mapping.csv"
    mapping.write_text("".join(f"label{number},kick\n" for number in range(2001)))
    with pytest.raises(Refused, match=r"mapping.csv maps more than 2,000 labels"):
        prepare("folder", source=tmp_path / "source", shards=tmp_path, options=PrepOptions(workers=1, mapping=mapping))


def test_a_track_of_days(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(framing, "LONGEST_S", 3)
    write_sadtp(tmp_path / "source")
    with pytest.raises(Refused, match=r"track A Song lasts longer than 0 hours; expected one piece: cut it"):
        prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert prep("sadtp", tmp_path / "source", tmp_path, "--check") == 2
    assert "track B lasts longer" in capsys.readouterr().out


def test_clicks_on_a_full_disk(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise soundfile.LibsndfileError(2)

    write_sadtp(tmp_path / "source")
    assert prep("sadtp", tmp_path / "source", tmp_path) == 0
    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    out = tmp_path / "out"
    line = ["show", "sadtp", "--track", "first", "--click", "--shards", str(tmp_path), "--out", str(out)]
    assert main(line) == 2
    assert "cannot be written (" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_audio_that_may_not_be_read(tmp_path, monkeypatch):
    written = write_sadtp(tmp_path / "source")
    monkeypatch.setattr(os, "access", lambda path, mode: path != written[1].audio)  # root may read all
    manifest = prepare("sadtp", source=tmp_path / "source", shards=tmp_path, options=ONE)
    assert [of["reason"] for of in manifest.refused] == [
        f"{written[1].audio} cannot be read (permission denied); allow it"
    ]
