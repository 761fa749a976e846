"""The preparation job: layout, resuming, refused tracks, every refusal of a source."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from miniature import annotation_of, drum_hits, write_mdb_track

from data_prep.audio import read_audio
from data_prep.check import check
from data_prep.corpora import CORPORA, PrepOptions, Track
from data_prep.framing import frame_track
from data_prep.job import check_splits, prepare
from data_prep.manifest import MUSIC
from data_prep.onsets import Onsets, target_grid
from data_prep.parts import plan_parts
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS, log_spectrogram

ONE = PrepOptions(workers=1)


def test_a_corpus_holds_features_and_targets_of_its_files(shards, mdb_folder):
    corpus = Corpus.open(shards / "mdb")
    assert corpus.tracks["split"].value_counts().to_dict() == {"train": 4, "validation": 2, "test": 2}
    row = next(row for row in corpus.rows("all").itertuples() if row.id == "Punk")
    bands, targets = corpus.frames(row)
    samples = read_audio(mdb_folder / "audio" / "full_mix" / "MusicDelta_Punk_MIX.wav")
    np.testing.assert_array_equal(bands, log_spectrogram(samples).astype(np.float16))
    _, labels = drum_hits(0)
    index = {"KD": 0, "SD": 1, "HIT": 2, "CHH": 3, "CRC": 4}
    onsets = Onsets.of(np.array([time for time, _ in labels]), np.array([index[label] for _, label in labels]))
    np.testing.assert_array_equal(targets, target_grid(onsets, len(bands), 5))
    table = pd.read_parquet(shards / "mdb" / "onsets.parquet")
    assert len(table[table["track"] == "Punk"]) == len(labels)
    assert table["velocity"].isna().all()


def test_any_number_of_workers_gives_the_same_files(shards, mdb_folder, tmp_path):
    manifest = prepare("mdb", source=mdb_folder, shards=tmp_path, options=PrepOptions(workers=2))
    again = Corpus.open(shards / "mdb").manifest
    assert manifest.checksum == again.checksum
    assert manifest.files == again.files


def test_a_second_run_keeps_what_is_done_and_redoes_what_changed(source, tmp_path):
    prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s" / "mdb").glob("*.arrow")}
    samples, labels = drum_hits(99)
    write_mdb_track(source, "Punk", samples, labels[:-3])
    damaged = tmp_path / "s" / "mdb" / Corpus.open(tmp_path / "s" / "mdb").rows("test").iloc[0]["shard"]
    damaged.write_bytes(b"damaged")
    seen = []
    prepare("mdb", source=source, shards=tmp_path / "s", options=ONE, progress=lambda *news: seen.append(news))
    corpus = Corpus.open(tmp_path / "s" / "mdb", verify=True)
    punk = next(row for row in corpus.rows("all").itertuples() if row.id == "Punk")
    again = {
        path.name for path in (tmp_path / "s" / "mdb").glob("*.arrow") if path.stat().st_mtime_ns != written[path.name]
    }
    assert again == {punk.shard, damaged.name}
    assert sum(punk.onsets_per_class) == len(labels) - 3
    assert seen[0][:2] == (6, 8)
    assert seen[-1][:2] == (8, 8)


def test_a_killed_run_continues_and_is_not_whole_before(source, tmp_path):
    class Killed(Exception):
        pass

    def kill(done, total, what):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        prepare("mdb", source=source, shards=tmp_path / "s", options=ONE, progress=kill)
    with pytest.raises(Refused, match="not prepared"):
        Corpus.open(tmp_path / "s" / "mdb")
    seen = []
    prepare("mdb", source=source, shards=tmp_path / "s", options=ONE, progress=lambda *news: seen.append(news))
    assert seen[0][0] == 3
    Corpus.open(tmp_path / "s" / "mdb", verify=True)
    assert not list((tmp_path / "s" / "mdb").glob("*.part"))


def test_bad_tracks_are_collected_with_reasons(source, tmp_path):
    (source / "audio" / "full_mix" / "MusicDelta_Punk_MIX.wav").write_bytes(b"broken")
    annotation_of(source, "Disco").write_text("")
    annotation_of(source, "Gospel").write_text("0.5 KD\n0.7 WHISTLE\n")
    annotation_of(source, "Beatles").write_text("0.5 KD\nhalf past SD\n")
    annotation_of(source, "Rock").write_text("0.5 KD\n100.0 SD\n101.0 SD\n")
    (source / "audio" / "full_mix" / "MusicDelta_Hendrix_MIX.wav").unlink()
    allowed = PrepOptions(workers=1, unknown_labels=0.02)
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=allowed)
    assert manifest.unknown_labels == {"WHISTLE": 1}
    reasons = {entry["id"]: entry["reason"] for entry in manifest.refused}
    wanted = {
        "Punk": "cannot be decoded as audio",
        "Disco": "annotation without an onset",
        "Gospel": "1 of 2 labels outside the mdb vocabulary: WHISTLE (1); expected KD",
        "Beatles": "line 2 is 'half past SD'; expected `seconds label`",
        "Rock": "2 of 3 onsets after the end of its audio",
        "Hendrix": "no audio file at",
    }
    assert set(reasons) == set(wanted)
    for track, part in wanted.items():
        assert part in reasons[track]
    assert set(Corpus.open(tmp_path / "s" / "mdb").tracks["id"]) == {"Reggae", "Grunge"}


def test_a_few_strays_are_left_out_and_noted(source, tmp_path):
    _, labels = drum_hits(0)
    lines = [f"{time_s} {label}\n" for time_s, label in labels]
    annotation_of(source, "Punk").write_text("".join([*reversed(lines), "0.402 KD\n0.409 KD\n", "500.0 SD\n"]))
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    assert not manifest.refused
    assert manifest.notes["onsets after the end"] == 1
    assert manifest.notes["onsets merged with their neighbour"] >= 1


def test_a_track_whose_labels_are_no_class_of_the_vocabulary_is_used(source, tmp_path):
    annotation_of(source, "Punk").write_text("0.5 CRC\n0.9 HIT\n1.3 RDC\n")
    manifest = prepare("mdb", source=source, shards=tmp_path, options=PrepOptions(workers=1, classes=3))
    assert not manifest.refused
    corpus = Corpus.open(tmp_path / "mdb-3")
    punk = next(row for row in corpus.rows("train").itertuples() if row.id == "Punk")
    assert sum(punk.onsets_per_class) == 0
    assert not corpus.frames(punk)[1].any()


def test_nothing_usable_is_refused_with_the_first_reason(source, tmp_path):
    for path in (source / "annotations" / "subclass").glob("*.txt"):
        path.write_text("")
    with pytest.raises(
        Refused, match=r"no track of corpus 'mdb' could be prepared; the first reason: .*without an onset"
    ):
        prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(Refused, match=r"unknown corpus 'mbd'; choose from .*demo, .*mdb"):
        prepare("mbd", source=tmp_path, shards=tmp_path)
    with pytest.raises(Refused, match=r"corpus 'mdb' .* is read from a folder; give it with --source DIR"):
        prepare("mdb", source=None, shards=tmp_path)
    with pytest.raises(Refused, match="nowhere is no folder; expected the top folder of MDB Drums"):
        prepare("mdb", source=tmp_path / "nowhere", shards=tmp_path)
    with pytest.raises(Refused, match="is not MDB Drums"):
        prepare("mdb", source=tmp_path, shards=tmp_path)
    with pytest.raises(Refused, match=r"no .*info\.csv; expected the top folder of the Groove MIDI Dataset"):
        prepare("groove", source=tmp_path, shards=tmp_path)


def test_a_track_that_is_no_track_of_the_corpus(source, tmp_path):
    shutil.copy(annotation_of(source, "Punk"), annotation_of(source, "Polka"))
    with pytest.raises(Refused, match=r"source holds 'Polka', no track of MDB Drums"):
        prepare("mdb", source=source, shards=tmp_path)


def test_a_full_disk_is_said_and_leaves_no_half_file(source, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data_prep.shards.ShardWriter.write", full)
    with pytest.raises(
        Refused, match=r"no space left on the disk that holds .*free some and run the same command again"
    ):
        prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    assert not [path for path in (tmp_path / "s" / "mdb").iterdir() if path.is_file()]


def test_performances_stay_in_one_split():
    track = CORPORA["demo"].tracks(None, PrepOptions(hours=0.01))
    first = next(iter(track))
    with pytest.raises(Refused, match="stands in train and in test"):
        check_splits([first, Track("other", "test", first.performance, first.recording)])


def test_layout_hangs_on_the_tracks_alone(tmp_path):
    tracks = list(CORPORA["demo"].tracks(None, PrepOptions(hours=0.5)))
    forwards, backwards = (plan_parts(order, tmp_path, ("kick",)) for order in (tracks, tracks[::-1]))
    assert forwards == backwards
    assert {track.id for part in forwards for track in part.tracks} == {track.id for track in tracks}
    assert all(len({track.split for track in part.tracks}) == 1 for part in forwards)


@pytest.fixture
def groove_folder(tmp_path):
    """A miniature of the Groove MIDI Dataset, its performances generated."""
    import mido

    from data_prep.grooves import generate_groove

    folder = tmp_path / "groove"
    rows = []
    for number, split in enumerate(("train", "train", "validation", "test")):
        name = f"drummer{number}/session1/{number}_rock_120_beat_4-4"
        notes = generate_groove("rock", seed=number, bars=20 if number == 0 else 6)
        track, now = mido.MidiTrack(), 0
        for time_s, pitch, velocity in zip(notes.times_s, notes.pitches, notes.velocities, strict=True):
            tick = round(time_s * 960)
            track.append(mido.Message("note_on", channel=9, note=int(pitch), velocity=int(velocity), time=tick - now))
            now = tick
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(folder / f"{name}.mid")
        row = {"drummer": f"drummer{number}", "id": name, "style": "rock", "midi_filename": f"{name}.mid"}
        rows.append({**row, "duration": float(notes.times_s[-1]), "split": split})
    with (folder / "info.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_groove_is_rendered_in_excerpts_for_training(groove_folder, tmp_path):
    manifest = prepare("groove", source=groove_folder, shards=tmp_path / "s", options=ONE)
    corpus = Corpus.open(tmp_path / "s" / "groove")
    assert not manifest.refused
    assert corpus.tracks.groupby("performance")["split"].nunique().max() == 1
    assert sum("+" in name for name in corpus.tracks["id"]) >= 1
    table = pd.read_parquet(tmp_path / "s" / "groove" / "onsets.parquet")
    assert table["velocity"].between(0, 1).all()


def test_groove_rendering_is_repeatable_and_hangs_on_the_seed(groove_folder, tmp_path):
    files = [
        prepare(
            "groove", source=groove_folder, shards=tmp_path / str(run), options=PrepOptions(workers=1, seed=seed)
        ).files
        for run, seed in enumerate((3, 3, 4))
    ]
    assert files[0] == files[1]
    shards = [{of for name, of in manifest.items() if name.endswith(".arrow")} for manifest in files]
    assert not shards[0] & shards[2]


@pytest.mark.parametrize(
    ("column", "value"), [("split", "spare"), ("duration", "long"), ("midi_filename", "../../a.mid")]
)
def test_groove_table_that_makes_no_sense(groove_folder, tmp_path, column, value):
    table = pd.read_csv(groove_folder / "info.csv", dtype=str)
    table.loc[1, column] = value
    table.to_csv(groove_folder / "info.csv", index=False)
    with pytest.raises(Refused, match=r"info\.csv line 3 does not describe a performance; expected id, midi_filename"):
        prepare("groove", source=groove_folder, shards=tmp_path / "s", options=ONE)


def test_part_of_a_corpus_takes_from_every_split(shared, tmp_path):
    options = PrepOptions(hours=0.3)
    tracks = list(CORPORA["groove"].tracks(shared / "data" / "groove", options))
    hours = {
        split: sum(t.seconds for t in tracks if t.split == split) / 3600 for split in ("train", "validation", "test")
    }
    assert hours["train"] == pytest.approx(0.3 * 10.8 / 13.6, rel=0.4)
    assert min(hours.values()) > 0.01


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_refuses_an_empty_folder_or_needs_none(name, tmp_path):
    described = CORPORA[name]
    assert described.name == name
    if described.needs_source:
        with pytest.raises(Refused, match=str(tmp_path)):
            list(described.tracks(tmp_path, PrepOptions()))
    else:
        tracks = list(described.tracks(None, PrepOptions(hours=0.02)))
        assert len({track.id for track in tracks}) == len(tracks)
        check_splits(tracks)
        framed = frame_track(tracks[0], 5)
        assert framed.targets.any() == (described.condition != MUSIC)  # in which there is nothing to find
        assert framed.bands.shape[1] == BANDS * described.stems
        json.dumps(framed.row)


def test_unknown_labels_are_listed_and_refused_above_a_share_of_all(source, tmp_path):
    _, labels = drum_hits(0)
    for name in ("Punk", "Disco", "Gospel"):
        lines = "".join(f"{time_s} KD\n" for time_s, _ in labels)
        annotation_of(source, name).write_text(f"{lines}8.2 bd\n8.3 bd\n8.4 hh\n")
    said = (
        r"9 of the \d+ labels of corpus 'mdb' \(2\.\d%\) are not in its class map; at most 1\.0% may be: bd \(6\), hh"
    )
    with pytest.raises(Refused, match=said):
        prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    with pytest.raises(Refused, match="not prepared"):
        Corpus.open(tmp_path / "s" / "mdb")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "mdb").glob("*.arrow")}
    allowed = PrepOptions(workers=1, unknown_labels=0.03)
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=allowed)
    assert manifest.unknown_labels == {"bd": 6, "hh": 3}
    assert not manifest.refused
    assert {path: path.stat().st_mtime_ns for path in written} == written  # nothing is done twice


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error", "Punk.wav")])
def test_what_may_pass_is_tried_again_by_the_next_run(source, tmp_path, monkeypatch, error):
    def fails(track, classes):
        if track.id == "Punk":
            raise error
        return frame_track(track, classes)

    with monkeypatch.context() as patched:
        patched.setattr("data_prep.parts.frame_track", fails)
        manifest = prepare("mdb", source=source, shards=tmp_path, options=ONE)
    assert [entry["id"] for entry in manifest.refused] == ["Punk"]
    seen = []
    manifest = prepare("mdb", source=source, shards=tmp_path, options=ONE, progress=lambda *news: seen.append(news))
    assert not manifest.refused
    assert seen[0][:2] == (7, 8)


def test_two_preparations_at_once_into_one_folder(source, tmp_path):
    again = []

    def meanwhile(done, total, what):
        if not again:
            again.append(done)
            with pytest.raises(Refused, match=r"another preparation is writing into .*s/mdb; wait for it to end"):
                prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)

    prepare("mdb", source=source, shards=tmp_path / "s", options=ONE, progress=meanwhile)
    assert again == [0]
    Corpus.open(tmp_path / "s" / "mdb", verify=True)
    prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)


def test_code_that_shapes_shards_is_none_of_what_stands_beside():
    asked = (
        "import sys, data_prep.parts as parts; print(*({f'data_prep.{of}' for of in parts.BESIDE} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_track_in_another_vocabulary_counts_though_it_is_left_out(source, tmp_path):
    _, labels = drum_hits(0)
    annotation_of(source, "Punk").write_text("".join(f"{time_s} bd\n" for time_s, _ in labels))
    with pytest.raises(Refused, match=rf"{len(labels)} of the \d+ labels of corpus 'mdb' .* bd \({len(labels)}\)"):
        prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    allowed = PrepOptions(workers=1, unknown_labels=0.2)
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=allowed)
    assert [entry["id"] for entry in manifest.refused] == ["Punk"]
    report = check("mdb", source=source, options=allowed)
    assert (report.labels, report.unknown_labels) == (manifest.labels, manifest.unknown_labels)


def test_a_name_that_another_corpus_has(source, tmp_path):
    prepare("demo", source=None, shards=tmp_path, options=PrepOptions(workers=1, hours=0.01, name="mine"))
    with pytest.raises(Refused, match=r"mine holds corpus 'demo' \(.*\), not 'mdb'; give another --name, or remove"):
        prepare("mdb", source=source, shards=tmp_path, options=PrepOptions(workers=1, name="mine"))
    assert Corpus.open(tmp_path / "mine", verify=True).manifest.adapter == "demo"


def test_options_that_mean_nothing_to_a_corpus_are_named_as_they_are_typed(source, tmp_path):
    for options, flag in ((PrepOptions(kit_maps=False), "--no-kit-maps"), (PrepOptions(hours=1.0), "--hours")):
        with pytest.raises(
            Refused, match=rf"^{flag} means nothing to corpus 'mdb' \(MDB Drums, full mixes\); leave it"
        ):
            prepare("mdb", source=source, shards=tmp_path / "s", options=options)
