"""Music to mix under drums: from files, by every sound font, or made up; nothing in it is marked."""

import shutil

import mido
import numpy as np
import pytest

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.default_kits import default_sound_font
from data_prep.job import prepare
from data_prep.manifest import MUSIC
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS
from trainables.evaluation import check_scoring


def write_music(path, *, seed: int, drums: bool = True, melody: bool = True, seconds: float = 3.0) -> None:
    """A few notes of a piano and of drums."""
    track = mido.MidiTrack()
    generator = np.random.default_rng(seed)
    for _ in range(int(seconds * 4)):
        for channel, pitch, wanted in ((0, int(generator.integers(48, 72)), melody), (9, 38, drums)):
            if wanted:
                track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90, time=0))
        track.append(mido.Message("note_off", channel=0, note=0, time=240))
        for channel, wanted in ((0, melody), (9, drums)):
            if wanted:
                track.append(mido.Message("control_change", channel=channel, control=123, value=0, time=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)


def prepared(folder, **options):
    manifest = prepare("music", source=None, shards=folder, options=PrepOptions(workers=1, **options))
    return manifest, Corpus.open(folder / "music", verify=True)


def test_music_is_made_up_where_no_files_are_given(tmp_path):
    manifest, corpus = prepared(tmp_path, hours=0.02)
    assert (manifest.condition, manifest.bands, manifest.whole_tracks) == (MUSIC, BANDS, False)
    assert {name: split.tracks for name, split in manifest.splits.items()} == {"train": 2, "validation": 1, "test": 1}
    prints = corpus.table["fingerprint"].to_pylist()
    assert len(set(prints)) == len(prints)
    for row in corpus.rows("all").itertuples():
        bands, targets = corpus.frames(row)
        assert bands.max() > 0.1
        assert not targets.any()
    with pytest.raises(
        Refused, match=r"'music' is there for training to mix \(music\), and nothing in it can be scored"
    ):
        check_scoring(corpus, "test", None)


def test_files_are_rendered_without_their_drums(tmp_path):
    for name, drums in (("with", True), ("without", False)):
        for number in range(10):
            write_music(tmp_path / name / f"{number}.mid", seed=number, drums=drums)
    held = {}
    for name in ("with", "without"):
        manifest, corpus = prepared(tmp_path / f"{name}-shards", accompaniment=tmp_path / name)
        assert not manifest.refused
        assert not any(manifest.splits["train"].onsets.values())
        held[name] = {row.id.split("-", 1)[1]: corpus.frames(row)[0] for row in corpus.rows("all").itertuples()}
    font = default_sound_font().stem
    assert {f"{number}-{font}" for number in range(10)} <= set(held["with"])
    for number in range(10):
        one, other = (held[name][f"{number}-{font}"] for name in ("with", "without"))
        shared_frames = min(len(one), len(other))
        np.testing.assert_array_equal(one[: shared_frames - 10], other[: shared_frames - 10])


def test_a_file_stands_in_one_split_whatever_the_fonts(tmp_path):
    for number in range(30):
        write_music(tmp_path / "music" / f"{number}.mid", seed=number, seconds=1)
    tracks = list(CORPORA["music"].tracks(None, PrepOptions(accompaniment=tmp_path / "music")))
    splits = {}
    for track in tracks:
        assert splits.setdefault(track.performance, track.split) == track.split
    assert {"train"} < set(splits.values())
    assert all(track.recording.materials == (default_sound_font(),) for track in tracks)


def test_files_without_a_melody_are_left_out_with_a_reason(tmp_path):
    for number in range(4):
        write_music(tmp_path / "music" / f"{number}.mid", seed=number, seconds=1)
    write_music(tmp_path / "music" / "drums.mid", seed=9, melody=False)
    (tmp_path / "music" / "broken.mid").write_bytes(b"no MIDI")
    manifest, _ = prepared(tmp_path / "shards", accompaniment=tmp_path / "music")
    reasons = {of["id"].rsplit("/")[-1].split("-")[1]: of["reason"] for of in manifest.refused}
    assert set(reasons) == {"drums", "broken"}
    assert "has no melodic notes; expected General MIDI music: leave it out" in reasons["drums"]


def test_a_folder_without_music_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"holds no \.mid or \.midi file"):
        prepare("music", source=None, shards=tmp_path / "s", options=PrepOptions(accompaniment=tmp_path))
    with pytest.raises(Refused, match="--source means nothing to corpus 'music'"):
        prepare("music", source=tmp_path, shards=tmp_path / "s", options=PrepOptions())


@pytest.mark.parametrize("places", [("a/x/1.mid", "b/x/1.mid"), ("x/1.mid", "x/1.midi")])
def test_files_of_one_name_are_two_tracks(tmp_path, places):
    for seed, place in enumerate(places):
        write_music(tmp_path / "music" / place, seed=seed, seconds=1)
    tracks = list(CORPORA["music"].tracks(None, PrepOptions(accompaniment=tmp_path / "music")))
    ids = [track.id for track in tracks if track.recording.file]
    assert len(set(ids)) == len(ids) == 2


def test_what_cannot_be_is_refused_and_a_broken_font_is_passed_over(tmp_path, caplog):
    write_music(tmp_path / "midi" / "0.mid", seed=0)
    with pytest.raises(Refused, match=r"no folder of drum kits at .*/nowhere; check the path given to --kits"):
        list(CORPORA["music"].tracks(None, PrepOptions(kits=(tmp_path / "nowhere",))))
    for number in range(40):
        write_music(tmp_path / "many" / f"{number}.mid", seed=number, seconds=0.5)
    with pytest.raises(Refused, match=r"--hours 2 is of made-up music, and .* files for every split"):
        list(CORPORA["music"].tracks(None, PrepOptions(hours=2, accompaniment=tmp_path / "many")))
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "broken.sf2").write_bytes(b"RIFF")
    shutil.copy(default_sound_font(), tmp_path / "fonts" / "Another.sf2")
    options = PrepOptions(kits=(tmp_path / "fonts",), accompaniment=tmp_path / "midi")
    fonts = {track.recording.font.name for track in CORPORA["music"].tracks(None, options) if track.recording.file}
    assert fonts == {"Another.sf2", "TimGM6mb.sf2"}
    assert "broken.sf2" in caplog.text
