"""Pictures and clicks: what is drawn and heard stands where the labels say."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from miniature import drum_hits, write_mdb_track

from data_prep.audio import read_audio
from data_prep.classes import VOCABULARIES
from data_prep.clicks import CLICK_S, click_levels, click_sounds, with_clicks, write_clicks
from data_prep.colours import BLUE, VERMILION, colours_of
from data_prep.corpora import CORPORA, PrepOptions
from data_prep.job import prepare
from data_prep.manifest import MANIFEST
from data_prep.onsets import Onsets, target_grid
from data_prep.pictures import draw_corpus, draw_track
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.show import excerpt, file_stem, find_track, onsets_of, show_corpus, show_track, summarise

RINGING_OUT = round(CLICK_S * SAMPLE_RATE_HZ)


@pytest.fixture
def corpus(shards):
    return Corpus.open(shards / "mdb")


@pytest.fixture
def own(mdb_folder, tmp_path):
    """A miniature of one's own to change: its source folder, and how to prepare it."""
    source = shutil.copytree(mdb_folder, tmp_path / "source")

    def prepared(**options):
        prepare("mdb", source=source, shards=tmp_path / "shards", options=PrepOptions(workers=1, **options))
        return Corpus.open(tmp_path / "shards" / options.get("name", "mdb"))

    return source, prepared


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Two rendered tracks a style, at least: with velocities, and without audio files."""
    folder = tmp_path_factory.mktemp("demo")
    prepare("demo_unseen", source=None, shards=folder, options=PrepOptions(workers=1, hours=0.01))
    return folder


def clicks_of(corpus, track, path, **more):
    row = find_track(corpus, track)
    onsets = onsets_of(corpus, row.id)
    remarks = write_clicks(corpus, row, onsets, path, **more)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    assert soundfile.info(path).subtype == "PCM_16"
    return samples[:, 0], samples[:, 1], onsets, remarks


def heard_at(clicks, starts, sound, within=300):
    """Where each click is, by correlation with its sound: its distance in samples from where it should be."""
    padded = np.pad(clicks, within + len(sound))
    found = []
    for start in starts + len(sound):  # the window begins ``within`` before it
        found.append(np.correlate(padded[start : start + 2 * within + len(sound)], sound, "valid").argmax() - within)
    return np.array(found)


def test_clicks_stand_on_the_samples_of_the_onsets_and_the_music_is_the_track(corpus, mdb_folder, tmp_path):
    music, clicks, onsets, remarks = clicks_of(corpus, "Punk", tmp_path / "a" / "clicks.wav")
    of_track = read_audio(mdb_folder / "audio" / "full_mix" / "MusicDelta_Punk_MIX.wav")
    np.testing.assert_allclose(music[: len(of_track)], of_track, atol=1e-4)
    assert len(music) == len(of_track) + RINGING_OUT
    starts = np.rint(onsets.times_s * SAMPLE_RATE_HZ).astype(int)
    for index, sound in enumerate(click_sounds(5)):
        assert not heard_at(clicks, starts[onsets.classes == index], sound).any()
    assert not clicks[starts - 1].any()  # the miniature's hits are 0.2 s apart
    assert (np.abs(clicks[starts]) > 0.1).all()
    assert remarks == []
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["clicks.wav"]


@pytest.mark.parametrize("classes", [3, 5, 8])
def test_each_class_has_a_pitch_of_its_own(classes):
    spectra = np.abs(np.fft.rfft(click_sounds(classes), SAMPLE_RATE_HZ))
    pitches_hz = spectra.argmax(axis=1)
    assert (np.diff(pitches_hz) > 0.2 * pitches_hz[:-1]).all()
    assert pitches_hz[-1] < 4_000


def test_clicks_are_as_loud_as_the_onsets():
    soft, middling, loud, unknown = click_levels(np.array([0.0, 0.5, 1.0, np.nan]))
    assert 0.05 * loud < soft < middling < unknown < loud


@pytest.mark.parametrize("sizes", [[4410], [1] * 100 + [4310], [441] * 10, [0, 100, 0, 4000, 310]])
def test_clicks_do_not_hang_on_the_size_of_blocks(sizes):
    onsets = Onsets.of(np.array([0.0, 0.0, 0.002, 0.05, 0.0995]), np.array([0, 2, 1, 1, 0]), np.linspace(0.2, 1, 5))
    music = np.linspace(-1, 1, 4410, dtype=np.float32)
    ends = np.cumsum(sizes)
    blocks = [music[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    made = np.concatenate(list(with_clicks(blocks, onsets, 3)))
    expected = np.zeros(4410 + 2 * RINGING_OUT)
    for time_s, of, velocity in zip(onsets.times_s, onsets.classes, onsets.velocities, strict=True):
        start = round(time_s * SAMPLE_RATE_HZ)
        expected[start : start + RINGING_OUT] += click_levels(velocity) * click_sounds(3)[of]
    np.testing.assert_allclose(made[:, 1], expected[: 4410 + RINGING_OUT], atol=1e-6)
    np.testing.assert_array_equal(made[:4410, 0], music)


def test_floats_beyond_full_scale_are_made_quieter_not_clipped(own, tmp_path):
    source, prepared = own
    path = source / "audio" / "full_mix" / "MusicDelta_Punk_MIX.wav"
    loud = 4 * read_audio(path)
    soundfile.write(path, loud, SAMPLE_RATE_HZ, "FLOAT")
    music, clicks, _, _ = clicks_of(prepared(), "Punk", tmp_path / "clicks.wav")
    np.testing.assert_allclose(music[: len(loud)], loud / np.abs(loud).max(), atol=1e-4)
    assert np.abs(clicks).max() > 0.1


def test_chords_of_clicks_do_not_clip(corpus, tmp_path):
    row = find_track(corpus, "Punk")
    chord = Onsets.of(np.full(5, 1.0), np.arange(5), np.ones(5))
    write_clicks(corpus, row, chord, tmp_path / "clicks.wav")
    samples, _ = soundfile.read(tmp_path / "clicks.wav", dtype="float32")
    expected = click_sounds(5).sum(axis=0) / 5
    np.testing.assert_allclose(samples[SAMPLE_RATE_HZ:, 1][:RINGING_OUT], expected, atol=1e-3)


def test_what_is_rendered_is_rendered_again_the_same(demo, tmp_path):
    corpus = Corpus.open(demo / "demo_unseen")
    music, clicks, onsets, _ = clicks_of(corpus, "first", tmp_path / "clicks.wav")
    starts = np.rint(onsets.times_s * SAMPLE_RATE_HZ).astype(int)
    alone = np.flatnonzero((np.diff(starts, prepend=-SAMPLE_RATE_HZ) > RINGING_OUT) & (starts > 0))
    assert len(alone) > 10
    assert not clicks[starts[alone] - 1].any()
    assert (np.abs(clicks[starts[alone]]) > 0.01).all()
    assert np.abs(music).max() > 0.1


def test_what_would_be_rendered_otherwise_is_refused(demo, tmp_path):
    corpus = Corpus.open(demo / "demo_unseen")
    corpus.manifest = replace(corpus.manifest, options={**corpus.manifest.options, "seed": 1})
    with pytest.raises(Refused, match=r"sounds otherwise now than when corpus 'demo_unseen' was prepared .* again"):
        clicks_of(corpus, "first", tmp_path / "clicks.wav")
    assert list(tmp_path.iterdir()) == []


def test_audio_that_changed_is_refused_and_labels_that_changed_are_told(own, tmp_path):
    source, prepared = own
    corpus = prepared()
    annotation = source / "annotations" / "subclass" / "MusicDelta_Punk_subclass.txt"
    lines = annotation.read_text().splitlines()
    annotation.write_text("\n".join(lines[:-1]))
    _, _, onsets, (remark,) = clicks_of(corpus, "Punk", tmp_path / "clicks.wav")
    assert len(onsets) == len(lines)
    assert "has changed since" in remark
    assert str(annotation) in remark
    write_mdb_track(source, "Punk", *drum_hits(99))
    with pytest.raises(Refused, match=r"MusicDelta_Punk_MIX.wav is not the audio .* was prepared from"):
        clicks_of(corpus, "Punk", tmp_path / "clicks.wav")


def test_a_folder_that_moved_is_asked_for_and_taken(own, tmp_path):
    source, prepared = own
    corpus = prepared()
    source.rename(tmp_path / "moved")
    with pytest.raises(Refused, match=r"was prepared from .*source, which is no folder here; .* --source DIR"):
        clicks_of(corpus, "Punk", tmp_path / "clicks.wav")
    clicks_of(corpus, "Punk", tmp_path / "clicks.wav", source=tmp_path / "moved")
    (tmp_path / "moved" / "audio" / "full_mix" / "MusicDelta_Rock_MIX.wav").unlink()
    with pytest.raises(Refused, match=r"no file .*MusicDelta_Rock_MIX.wav"):
        clicks_of(corpus, "Rock", tmp_path / "clicks.wav", source=tmp_path / "moved")
    corpus.tracks.loc[0, "id"] = "Polka"
    with pytest.raises(Refused, match="moved no longer holds track Polka"):
        clicks_of(corpus, "Polka", tmp_path / "clicks.wav", source=tmp_path / "moved")


def test_a_corpus_without_audio_is_refused(corpus, tmp_path):
    corpus.manifest = replace(corpus.manifest, whole_tracks=False)
    with pytest.raises(Refused, match="published as spectrograms without audio"):
        clicks_of(corpus, "Punk", tmp_path / "clicks.wav")
    corpus.manifest = replace(corpus.manifest, whole_tracks=True, adapter="vinyl")
    with pytest.raises(Refused, match=f"was read as 'vinyl', .* {sorted(CORPORA)[0]}"):
        clicks_of(corpus, "Punk", tmp_path / "clicks.wav")


def test_a_track_is_found_by_its_id_its_beginning_or_as_the_first(corpus):
    assert find_track(corpus, "Punk").id == "Punk"
    assert find_track(corpus, "Gos").id == "Gospel"
    assert find_track(corpus, "first").id == corpus.tracks["id"].iloc[0]
    corpus.tracks.loc[3, "id"] = "Pun"
    assert find_track(corpus, "Pun").id == "Pun"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("gospl", "no track 'gospl' in corpus 'mdb' with its 8 tracks; give an id, .* closest are Gospel"),
        ("ROCK", "no track 'ROCK' .* closest are Rock"),
        ("xyzzy", r"no track 'xyzzy' .* closest are \w+, \w+, \w+, \w+, \w+$"),
        ("G", "2 tracks of corpus 'mdb' .* begin with 'G'; give more of the id: Gospel, Grunge"),
        ("", "8 tracks .* begin with ''"),
        ("Silence", "track 'Silence' was left out of .*, because nobody plays; correct"),
    ],
)
def test_a_track_that_is_not_there_is_refused_with_the_closest(corpus, asked, sentence):
    left_out = {"id": "Silence", "split": "test", "reason": "nobody plays"}
    corpus.manifest = replace(corpus.manifest, refused=(left_out,))
    with pytest.raises(Refused, match=sentence):
        find_track(corpus, asked)


def test_an_excerpt_begins_where_the_onsets_do(corpus):
    row = next(corpus.tracks.iloc[[0]].itertuples())._replace(frames=10_001, seconds=100.01)
    early, late = (Onsets.of(np.array([first_s, 70.0]), np.array([0, 1])) for first_s in (3.0, 64.5))
    assert excerpt(row, early) == slice(0, 2000)
    assert excerpt(row, late) == slice(6300, 8300)
    assert excerpt(row, late, 90.0) == slice(9000, 10_001)
    assert excerpt(row, early, 2.5, 0.5) == slice(250, 300)
    assert excerpt(row, early, seconds=1000) == slice(0, 10_001)
    assert excerpt(row, early, 100.0, 1e-9) == slice(10_000, 10_001)
    for wrong in ({"from_s": 200.0}, {"from_s": -1.0}, {"from_s": float("nan")}):
        with pytest.raises(Refused, match=r"--from .*: track \w+ lasts 100.01 s; expected a time from 0"):
            excerpt(row, early, **wrong)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(Refused, match=r"--seconds .*: expected a number above 0"):
            excerpt(row, early, seconds=seconds)


@pytest.mark.parametrize(
    ("track_id", "stem"),
    [
        ("a/b c", "groove-a_b_c"),
        ("../../x", "groove-.._.._x"),
        ("Größe+1", "groove-Größe+1"),
        ("a\0\n:b", "groove-a_b"),
    ],
)
def test_names_of_files_are_safe(track_id, stem):
    assert file_stem("groove", track_id) == stem


def test_long_names_stay_apart():
    one, other = (file_stem("groove", "ü" * 300 + end) for end in "ab")
    assert one != other
    assert len(one.encode()) <= 120


def columns_of(path, colour, within=0.01):
    """The middle of each run of columns of a picture in which a colour stands."""
    pixels = imread(path)[..., :3]
    there = np.flatnonzero((np.abs(pixels - to_rgb(colour)).max(axis=2) < within).any(axis=0))
    return [float(run.mean()) for run in np.split(there, np.flatnonzero(np.diff(there) > 12) + 1)]


def test_targets_and_onsets_are_drawn_where_they_are(tmp_path):
    onsets = Onsets.of(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 0]), np.array([1, 0.2, 0.7]))
    targets = target_grid(onsets, 400, 5)
    bands = np.zeros((400, 84), np.float16)
    none = Onsets.of(np.zeros(0), np.zeros(0))
    empty = np.zeros_like(targets)
    for name, shown, grid in (("onsets", onsets, empty), ("targets", none, targets), ("both", onsets, targets)):
        draw_track(tmp_path / f"{name}.png", "title", bands, grid, shown, VOCABULARIES[5], 0)
        first, last = columns_of(tmp_path / f"{name}.png", BLUE)
        (middle,) = columns_of(tmp_path / f"{name}.png", VERMILION)
        assert last - first > 400
        assert middle == pytest.approx((first + last) / 2, abs=2)
    pale = np.array(to_rgb(BLUE)) * 0.35 + 0.65
    left, right = np.sort(columns_of(tmp_path / "targets.png", pale))
    assert (left, right) == pytest.approx((first, last), abs=2)  # on both sides of each
    draw_track(tmp_path / "later.png", "title", bands[:200], targets[200:], onsets[1:], VOCABULARIES[5], 200)
    assert columns_of(tmp_path / "later.png", BLUE)[0] > columns_of(tmp_path / "later.png", VERMILION)[0] + 400


def test_an_hour_keeps_each_onset_in_its_picture(tmp_path):
    onsets = Onsets.of(np.array([20.0, 1800.0, 3580.0]), np.zeros(3))
    targets = target_grid(onsets, 360_000, 3)
    bands = np.zeros((360_000, 84), np.float16)
    none = Onsets.of(np.zeros(0), np.zeros(0))
    draw_track(tmp_path / "hour.png", "an hour", bands, targets, none, VOCABULARIES[3], 0)
    first, middle, last = columns_of(tmp_path / "hour.png", BLUE, within=0.3)
    assert middle == pytest.approx((first + last) / 2, abs=2)
    assert imread(tmp_path / "hour.png").shape[1] <= 24 * 110


def test_a_class_has_one_colour_in_every_vocabulary():
    for classes in (*VOCABULARIES.values(), tuple("abcdefgh")):
        assert len(set(colours_of(classes))) == len(classes)
    for name in VOCABULARIES[3]:
        assert len({colours_of(classes)[classes.index(name)] for classes in VOCABULARIES.values()}) == 1


@pytest.mark.parametrize("classes", [3, 8])
def test_other_vocabularies_and_odd_names_are_drawn(own, tmp_path, classes):
    _, prepared = own
    corpus = prepared(classes=classes, name="other")
    corpus.manifest = replace(corpus.manifest, title="$\\frac$")
    show_corpus(corpus, tmp_path)
    corpus.tracks.loc[0, "id"] = "a $x_{$ " + "long/" * 60
    shown = show_track(corpus, "Gospel", tmp_path)
    assert len(shown["classes"]) == classes
    assert imread(shown["picture"]).shape[0] > 500
    row = find_track(corpus, "a $x")
    bands, targets = corpus.frames(row)
    draw_track(tmp_path / "odd.png", row.id, bands, targets, onsets_of(corpus, row.id), corpus.manifest.classes, 0)


def test_a_corpus_is_summarised_from_its_tables(corpus, tmp_path):
    described = show_corpus(corpus, tmp_path)
    json.dumps(described, allow_nan=False)
    assert {split: of["tracks"] for split, of in described["splits"].items()} == {
        **{"train": 4, "validation": 2, "test": 2}
    }
    train, everything = described["splits"]["train"], described["all"]
    onsets = [onsets_of(corpus, track_id) for track_id in corpus.rows("train")["id"]]
    counts = np.bincount(np.concatenate([of.classes for of in onsets]), minlength=5)
    assert [of["onsets"] for of in train["classes"].values()] == counts.tolist()
    assert sum(of["share"] for of in train["classes"].values()) == pytest.approx(1)
    assert train["classes"]["kick"]["per_minute"] == pytest.approx(counts[0] / (train["seconds"] / 60))
    assert everything["tracks"] == 8
    assert everything["track_seconds"] == dict.fromkeys(("shortest", "median", "longest"), 9.01)
    assert train["velocity_percentiles"] == {}
    pixels = imread(described["picture"])
    assert pixels.shape[0] > 500
    for colour in colours_of(corpus.manifest.classes):
        assert columns_of(described["picture"], colour)


def test_velocities_and_a_corpus_of_only_a_test_split(demo, tmp_path):
    corpus = Corpus.open(demo / "demo_unseen")
    described = show_corpus(corpus, tmp_path)
    assert list(described["splits"]) == ["test"]
    for percentiles in described["splits"]["test"]["velocity_percentiles"].values():
        assert percentiles == sorted(percentiles)
        assert 0 < percentiles[0] < percentiles[-1] <= 1
    corpus.tracks["seconds"] = 5.0  # all the same length
    draw_corpus(tmp_path / "same.png", summarise(corpus), corpus.tracks)


def test_a_track_of_a_second(own, tmp_path):
    source, prepared = own
    write_mdb_track(source, "Punk", drum_hits(0)[0][: SAMPLE_RATE_HZ + 10], [(0.5, "KD"), (1.0, "SD")])
    shown = show_track(prepared(), "Punk", tmp_path, click=True)
    assert (shown["onsets"], shown["excerpt"]) == (2, {"from_s": 0.0, "seconds": 1.01, "onsets": 2})
    clicks = soundfile.read(shown["clicks"])[0][:, 1]
    assert abs(clicks[SAMPLE_RATE_HZ]) > 0.1  # with ten samples of music left it rings out all the same


def test_a_damaged_table_of_onsets_is_refused(own, tmp_path):
    _, prepared = own
    corpus = prepared()
    (corpus.folder / "onsets.parquet").write_bytes(b"PAR1")
    for show in (lambda: show_track(corpus, "first", tmp_path), lambda: show_corpus(corpus, tmp_path)):
        with pytest.raises(Refused, match=r"onsets.parquet is damaged: .*manifest.json; run `mirtune prep mdb"):
            show()
    assert (corpus.folder / MANIFEST).is_file()
