"""`mirtune prep CORPUS --check`: everything is read, everything wrong is found, nothing is written."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from miniature import annotation_of, audio_of, drum_hits, write_mdb_track

from data_prep.check import BEYOND, CLIPPED, LEAKED, REPEATED, SHARED, SILENT, UNKNOWN, UNUSABLE, check
from data_prep.corpora import PrepOptions
from data_prep.shards import Corpus
from tuner.cli import main

ONE = PrepOptions(workers=1)


def findings(report):
    return [(found.kind, found.track) for found in report.findings]


def test_a_whole_corpus_is_found_whole_and_as_the_preparation_finds_it(source, shards):
    report = check("mdb", source=source, options=ONE)
    assert findings(report) == []
    assert not report.serious
    assert report.missing == {
        f"of the {published} published {split} tracks missing in this copy": published - held
        for split, published, held in (("train", 15, 4), ("validation", 4, 2), ("test", 4, 2))
    }
    assert report.formats == {"44,100 Hz, mono": 8}
    manifest = Corpus.open(shards / "mdb").manifest
    for split, summary in manifest.splits.items():
        of = report.splits[split]
        assert (of.tracks, of.usable, of.windows) == (summary.tracks, summary.tracks, summary.windows)
        assert of.seconds == pytest.approx(summary.seconds, abs=0.02 * summary.tracks)
        assert of.onsets == summary.onsets
    assert check("mdb", source=source, options=PrepOptions(workers=2)) == report


def test_counts_are_those_of_the_preparation(source, tmp_path):
    from data_prep.job import prepare

    samples, labels = drum_hits(0)
    samples_22k = samples[::2][:22_050]  # a second of 22,050 Hz: 44,100 samples, 101 frames
    soundfile.write(audio_of(source, "Punk"), samples_22k, 22_050)
    annotation_of(source, "Punk").write_text("".join(f"{0.05 * i} KD\n" for i in range(20)) + "0.012 KD\n2.5 KD\n")
    soundfile.write(audio_of(source, "Disco"), np.resize(samples, 191_999), 48_000)  # just below four seconds
    annotation_of(source, "Disco").write_text("".join(f"{time_s} KD\n" for time_s, _ in labels if time_s < 3.9))
    report = check("mdb", source=source, options=ONE)
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    assert manifest.notes["onsets after the end"] == manifest.notes["onsets merged with their neighbour"] == 1
    for split, summary in manifest.splits.items():
        assert (report.splits[split].windows, report.splits[split].onsets) == (summary.windows, summary.onsets)


def test_every_kind_of_damage_is_found(source):
    samples, labels = drum_hits(50)
    audio_of(source, "Punk").write_bytes(b"broken")
    annotation_of(source, "Disco").unlink()
    soundfile.write(audio_of(source, "Gospel"), np.zeros(9 * 44100, np.float32), 44100)
    soundfile.write(audio_of(source, "Reggae"), np.clip(20 * samples, -1, 1), 44100)
    annotation_of(source, "Beatles").write_text("".join(f"{time_s} KD\n" for time_s, _ in [*labels, (10.0, "KD")]))
    shutil.copy(audio_of(source, "Rock"), audio_of(source, "Grunge"))
    shutil.copy(audio_of(source, "Rock"), audio_of(source, "Hendrix"))
    lines = [f"{time_s} KD\n" for time_s in np.arange(0.5, 8.5, 0.05)]
    annotation_of(source, "Rock").write_text("".join([*lines, "0.7 WHISTLE\n"]))
    report = check("mdb", source=source, options=ONE)
    assert findings(report) == [
        (UNUSABLE, "Disco"), (UNUSABLE, "Punk"),
        (LEAKED, "Hendrix"), (LEAKED, "Rock"),
        (SILENT, "Gospel"),
        (CLIPPED, "Reggae"),
        (BEYOND, "Beatles"),
        (UNKNOWN, "Rock"),
    ]  # fmt: skip
    said = {found.track: found.detail for found in report.findings}
    assert "cannot be decoded as audio" in said["Punk"]
    assert "no annotation at" in said["Disco"]
    assert "9.0 s of silence" in said["Gospel"]
    assert "at full scale (peak 1.00)" in said["Reggae"]
    assert f"1 of {len(labels) + 1}; the audio lasts 9.0 s, the last onset is at 10.0 s" in said["Beatles"]
    assert said["Hendrix"] == "sounds just like Grunge of validation"
    assert said["Rock"] == "WHISTLE (1)"
    assert report.serious == {UNUSABLE: 2, LEAKED: 2}
    assert (report.splits["train"].tracks, report.splits["train"].usable) == (4, 2)


def test_the_same_take_twice_in_a_split_is_only_remarked(source):
    shutil.copy(audio_of(source, "Rock"), audio_of(source, "Hendrix"))
    report = check("mdb", source=source, options=ONE)
    assert findings(report) == [(REPEATED, "Rock")]
    assert not report.serious


def test_a_file_that_is_mixed_into_tracks_of_two_splits(tmp_path):
    music, _ = drum_hits(7)
    for drummer in (1, 2, 3):
        for place in range(2 if drummer < 3 else 11):
            samples, labels = drum_hits(100 * drummer + place, seconds=2.0)
            folder, name = tmp_path / f"drummer_{drummer}", f"{place:03d}_minus-one_rock_sticks"
            for kind, audio in (("wet_mix", samples), ("accompaniment", music if place == 0 else samples)):
                (folder / "audio" / kind).mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / "audio" / kind / f"{name}.wav", audio, 44100)
            (folder / "annotation").mkdir(exist_ok=True)
            (folder / "annotation" / f"{name}.txt").write_text("".join(f"{time_s} bd\n" for time_s, _ in labels))
    report = check("enst", source=tmp_path, options=ONE)
    assert findings(report) == [(SHARED, "drummer_3-000_minus-one_rock_sticks")]
    assert not report.serious


def test_a_foreign_vocabulary_is_serious(source):
    for name in ("Punk", "Disco", "Gospel"):
        annotation_of(source, name).write_text("".join(f"{0.5 + i / 10} KD\n" for i in range(60)) + "0.4 bd\n7 sd\n")
    report = check("mdb", source=source, options=ONE)
    assert report.unknown_labels == {"bd": 3, "sd": 3}
    assert report.serious == {"more than 1.0% unknown labels": 1}


def test_the_command_reports_and_writes_nothing(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["prep", "mdb", "--source", str(source), "--check", "--workers", "1"]
    assert main(arguments) == 0
    assert "nothing is wrong with what is there" in capsys.readouterr().out
    audio_of(source, "Punk").unlink()
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert "cannot be used: 1 track" in shown.out
    assert "train Punk: no audio file at" in shown.out
    assert "is not as it should be: cannot be used; see the report" in shown.err
    assert main([*arguments, "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["serious"] == {UNUSABLE: 1}
    assert report["splits"]["train"]["usable"] == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_performances_that_are_rendered_are_checked_without_rendering(tmp_path):
    report = check("demo", source=None, options=PrepOptions(workers=1, hours=0.05))
    assert not report.findings
    assert not report.formats
    assert report.splits["train"].onsets["kick"] > 0


def test_audio_in_several_splits_is_noted_by_the_preparation_too(source, tmp_path):
    from data_prep.job import prepare

    samples, labels = drum_hits(3)
    write_mdb_track(source, "Rock", samples, labels)
    write_mdb_track(source, "Punk", samples, labels)
    manifest = prepare("mdb", source=source, shards=tmp_path / "s", options=ONE)
    assert manifest.notes["tracks whose audio stands in another split, too"] == 1
