"""A folder of the user's own: what labels mean, who is in which split, and what is said of what does not fit."""

import json
import shutil
from collections import Counter

import pytest
from miniature import GENERAL_MIDI, MDB, hits, write_audio, write_folder, write_midi, write_text

from data_prep.classes import VOCABULARIES
from data_prep.corpora import CORPORA, PrepOptions
from data_prep.corpora.folder import draw_splits, song_of
from data_prep.job import plan, prepare
from data_prep.refused import Refused
from tuner.cli import main

ONE = PrepOptions(workers=1)


def tracks(source, **options):
    return {track.id: track for track in CORPORA["folder"].tracks(source, PrepOptions(workers=1, **options))}


def write_song(folder, name, labels, suffix=".txt"):
    """Audio of four seconds with an annotation of ``labels``, a tenth of a second apart."""
    samples, _ = hits(0)
    write_audio(folder / f"{name}.wav", samples)
    lines = [f"{0.1 + number / 10:.3f} {label}\n" for number, label in enumerate(labels)]
    (folder / f"{name}{suffix}").write_text("".join(lines))


def heard(track, classes=5):
    return [VOCABULARIES[classes][index] for index in track.recording.annotate().onsets.classes]


def test_labels_are_pitches_or_names_or_what_class_maps_agree_on(tmp_path):
    write_song(tmp_path, "song", ("36", "kick", "Snare", "KD", "bd", "sd-", "OHH", "toms", "ride", "58", "75"))
    expected = ["kick", "kick", "snare", "kick", "kick", "snare", "hi-hat", "toms", "cymbals"]
    assert heard(tracks(tmp_path)["song"]) == expected
    three = [name for name in expected if name in VOCABULARIES[3]]
    assert heard(tracks(tmp_path, classes=3)["song"], 3) == three


def test_unknown_labels_are_listed_and_too_many_lose_the_track(tmp_path):
    write_song(tmp_path, "song", ("KD", "SD", "whistle", "thud", "whistle"))
    with pytest.raises(
        Refused,
        match=r"song.txt has 3 of 5 labels outside the words vocabulary: whistle \(2\), thud.* with --mapping FILE",
    ):
        tracks(tmp_path)["song"].recording.annotate()


def test_a_mapping_says_what_labels_mean_and_nothing_else_is_known(tmp_path):
    write_song(tmp_path, "song", ("boom", "boom", "tss", "36", *["boom"] * 10))
    (tmp_path / "mapping.csv").write_text("label,class\nboom,kick\ntss,hi-hat\nclick,-\n")
    found = tracks(tmp_path, mapping=tmp_path / "mapping.csv")
    assert set(found) == {"song"}  # the mapping is no annotation without audio
    annotated = found["song"].recording.annotate()
    assert Counter(annotated.onsets.classes.tolist()) == {0: 12, 3: 1}
    assert annotated.unknown == {"36": 1}
    write_song(tmp_path, "song", ("boom", "36"))
    with pytest.raises(
        Refused, match=r"1 of 2 labels outside the .*mapping.csv vocabulary: 36 \(1\); expected boom, tss"
    ):
        found["song"].recording.annotate()


def test_a_mapping_to_another_vocabulary_is_refused_with_its_line(tmp_path):
    write_song(tmp_path, "song", ("boom",))
    (tmp_path / "mapping.csv").write_text("boom,kick\ntss,ride\n")
    with pytest.raises(Refused, match=r"mapping.csv line 2 has the class 'ride'; expected one of kick, snare"):
        tracks(tmp_path, mapping=tmp_path / "mapping.csv")
    assert tracks(tmp_path, mapping=tmp_path / "mapping.csv", classes=8)


def test_a_changed_mapping_prepares_the_tracks_again(tmp_path):
    write_song(tmp_path / "music", "song", ("boom", "tss", "boom"))
    mapping = tmp_path / "mapping.json"
    counts = []
    for of in ("kick", "snare"):
        mapping.write_text(json.dumps({"boom": of, "tss": None}))
        options = PrepOptions(workers=1, mapping=mapping)
        manifest = prepare("folder", source=tmp_path / "music", shards=tmp_path / "shards", options=options)
        assert manifest.options["mapping"] == str(mapping)
        counts.append(manifest.splits["test"].onsets)
    assert (counts[0]["kick"], counts[1]["snare"]) == (2, 2)


@pytest.mark.parametrize(
    ("name", "song"),
    [
        ("song_take1", "song"),
        ("Song-Take 12", "song"),
        ("song/take2", "song"),
        ("song (2)", "song"),
        ("song copy", "song"),
        ("song copy (2)", "song"),
        ("song (take 3)", "song"),
        ("song_v2", "song"),
        ("song_mix_take1", "song"),
        ("album/song_take1", "album/song"),
        ("song-01", "song-01"),
        ("track02", "track02"),
        ("take1", "take1"),
        ("intake1", "intake1"),
        ("remix", "remix"),
        ("song v", "song v"),
        ("(2)", "(2)"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_takes_of_a_song_have_its_name(name, song):
    assert song_of(name) == song


def test_splits_hang_on_name_and_seed_and_stay_when_songs_are_added():
    songs = [f"album/{number}" for number in range(2000)]
    drawn = draw_splits(songs, seed=0)
    shares = Counter(drawn.values())
    assert shares["train"] == pytest.approx(1400, abs=80)
    assert shares["validation"] == pytest.approx(300, abs=60)
    assert draw_splits(reversed(songs), seed=0) == drawn
    assert draw_splits([*songs, "new", "newer"], seed=0).items() >= drawn.items()
    assert draw_splits(songs, seed=1) != drawn


@pytest.mark.parametrize("songs", range(12))
def test_three_songs_and_more_are_in_every_split(songs):
    expected = set() if not songs else {"test"} if songs < 3 else {"train", "validation", "test"}
    for seed in range(50):
        drawn = draw_splits([f"song {number}" for number in range(songs)], seed)
        assert len(drawn) == songs
        assert set(drawn.values()) == expected


def test_takes_stay_together_and_one_is_a_performance(tmp_path):
    for number in range(6):
        for take in (1, 2, 3):
            write_song(tmp_path, f"song{number}_take{take}", ("KD",))
    found = tracks(tmp_path).values()
    assert {track.performance for track in found} == {f"song{number}" for number in range(6)}
    assert {track.split for track in found} == {"train", "validation", "test"}
    plan("folder", tmp_path, ONE)  # refuses performances in several splits


@pytest.fixture
def source(tmp_path):
    write_folder(tmp_path / "music")
    return tmp_path / "music"


def test_a_table_gives_splits_to_files_with_or_without_suffix(source):
    table = source / "splits.csv"
    table.write_text(
        "\ufefffile,split\r\none.wav,test\r\n./takes/two_take1.TXT,train\r\ntakes\\two_take2,validation\r\n"
        "three,train\r\nfour.live,train\r\nfour.live.wav,train\r\n",
        encoding="utf-8",
    )
    found = tracks(source, splits=table)
    assert {name: track.split for name, track in found.items()} == {
        "four.live": "train",
        "one": "test",
        "takes/two_take1": "train",
        "takes/two_take2": "validation",
        "three": "train",
    }
    plan("folder", source, PrepOptions(splits=table))  # the table may part takes


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("file,part\none,train\n", "line 1 lacks the columns split"),
        ("file,split\none,dev\n", "line 2 has the split 'dev', none of train, validation, test"),
        ("file,split\none,train\none.wav,test\n", "line 3 puts 'one' in test, and one before in train"),
        ("file,split\n,train\n", "line 2 has no file"),
        ("file,split\n", "lists nothing"),
        ("", "line 1 lacks the columns file, split"),
        (
            "file,split\none,train\n",
            "does not list 4 of the 5 recordings in .*: four.live, takes/two_take1, takes/two_take2",
        ),
    ],
)
def test_a_table_that_makes_no_sense(source, lines, reason):
    (source / "splits.csv").write_text(lines)
    with pytest.raises(Refused, match=f"splits.csv {reason}"):
        tracks(source, splits=source / "splits.csv")


def test_a_table_that_lists_what_is_not_there(source, tmp_path):
    with (source / "splits.csv").open("a") as file:
        file.write("gone.wav,test\n")
    options = PrepOptions(workers=1, splits=source / "splits.csv")
    manifest = prepare("folder", source=source, shards=tmp_path / "shards", options=options)
    assert [(entry["id"], entry["split"]) for entry in manifest.refused] == [("gone", "test")]
    assert "splits.csv lists 'gone', but there is no such recording in" in manifest.refused[0]["reason"]
    assert manifest.options["splits"] == str(source / "splits.csv")


def test_a_table_that_is_missing(source):
    with pytest.raises(Refused, match=r"no table at .*none.csv; expected a table like `file,split`"):
        tracks(source, splits=source / "none.csv")


def test_files_without_a_counterpart_are_listed_once_with_the_reason(source, tmp_path):
    samples, played = hits(0)
    write_audio(source / "alone.wav", samples)
    write_audio(source / "alone.flac", samples)
    write_midi(source / "takes" / "silent.mid", played, GENERAL_MIDI)
    write_text(source / "takes" / "silent.txt", played, MDB)
    (source / "README.txt").write_text("About this music.\n")
    manifest = prepare("folder", source=source, shards=tmp_path / "shards", options=ONE)
    reasons = {entry["id"]: entry["reason"] for entry in manifest.refused}
    assert set(reasons) == {"alone", "takes/silent", "splits"}  # no table was asked for: a csv without audio
    assert f"{source / 'alone.wav'} has no annotation beside it; expected alone with one of .mid" in reasons["alone"]
    assert f"{source / 'takes' / 'silent.mid'} has no audio beside it" in reasons["takes/silent"]
    assert sum(of.tracks for of in manifest.splits.values()) == 5


def test_what_is_passed_over_is_counted(tmp_path):
    samples, played = hits(0)
    write_audio(tmp_path / "song.wav", samples)
    write_audio(tmp_path / "song.flac", samples)
    write_midi(tmp_path / "song.mid", played, GENERAL_MIDI)
    write_text(tmp_path / "song.txt", played, MDB)
    manifest = prepare("folder", source=tmp_path, shards=tmp_path / "shards", options=ONE)
    assert manifest.notes == {"files passed over for another of the same name": 2}


def test_a_folder_of_audio_alone_says_what_is_missing(tmp_path):
    write_audio(tmp_path / "song.wav", hits(0)[0])
    with pytest.raises(Refused, match=r"no track .* could be prepared; the first reason: .*song.wav has no annotation"):
        prepare("folder", source=tmp_path, shards=tmp_path / "shards", options=ONE)


def test_the_command_names_the_corpus(source, tmp_path):
    asked = ["--source", str(source), "--splits", str(source / "splits.csv"), "--shards", str(tmp_path / "s")]
    assert main(["prep", "folder", *asked, "--name", "ours", "--workers", "1"]) == 0
    manifest = json.loads((tmp_path / "s" / "ours" / "manifest.json").read_text())
    assert (manifest["corpus"], manifest["adapter"]) == ("ours", "folder")


def test_a_moved_folder_is_the_same_music(source, tmp_path):
    before = {name: track.split for name, track in tracks(source).items()}
    moved = shutil.copytree(source, tmp_path / "elsewhere")
    assert {name: track.split for name, track in tracks(moved).items()} == before
