"""Drum classes apart: together they are the drums; prepared in bands of their own, for training alone."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.corpora import CORPORA, PrepOptions
from data_prep.job import prepare
from data_prep.kits import default_kits, load_kit
from data_prep.manifest import STEMS, TO_MIX
from data_prep.midi import Notes
from data_prep.onsets import ONSET
from data_prep.pieces import PIECE_CLASS, PITCHES, piece_for
from data_prep.refused import Refused
from data_prep.render import STEMS as ROWS
from data_prep.render import render_drums, render_stems
from data_prep.shards import Corpus
from data_prep.show import show_track, together
from data_prep.spectrogram import BANDS, log_spectrogram
from trainables.evaluation import check_scoring
from tuner.cli import main

KITS = default_kits()


@st.composite
def played(draw):
    """Notes of any pitch, close to each other or far apart."""
    count = draw(st.integers(1, 25))
    times_s = np.sort(draw(st.lists(st.floats(0, 3), min_size=count, max_size=count)))
    pitches, velocities = (
        np.array(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))
        for low, high in ((35, 59), (1, 127))
    )
    return Notes(times_s, pitches, velocities)


@settings(max_examples=40, deadline=None)
@given(played(), st.integers(0, 2**32 - 1), st.integers(0, 11), st.one_of(st.none(), st.floats(0.5, 4)))
def test_stems_together_are_the_drums(notes, seed, kit_number, seconds):
    kit = load_kit(KITS[kit_number])
    whole, apart = (of(notes, kit, seed=seed, seconds=seconds) for of in (render_drums, render_stems))
    assert apart.samples.shape == (len(ROWS), len(whole.samples))
    assert apart.samples.dtype == np.float32
    np.testing.assert_array_equal(apart.sounded, whole.sounded)
    np.testing.assert_allclose(apart.samples.sum(axis=0), whole.samples, atol=2e-6)


@given(st.sampled_from(sorted(PIECE_CLASS)), st.integers(0, 11), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_hit_sounds_in_the_row_of_its_class_alone(piece, kit_number, seed):
    kit = load_kit(KITS[kit_number])
    pitch = next((pitch for pitch, found in PITCHES.items() if found == piece), None)
    if pitch is None or (sounds := piece_for(pitch, kit.pieces)) is None:
        return
    samples = render_stems(Notes(np.array([0.1]), np.array([pitch]), np.array([100])), kit, seed=seed).samples
    loud = [row for row, of in zip(ROWS, samples, strict=True) if np.abs(of).max() > 0]
    assert loud == [PIECE_CLASS[sounds]]


def run(*words: object) -> int:
    """The command line's exit status."""
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """demo_stems, by the command line."""
    folder = tmp_path_factory.mktemp("stems")
    assert run("prep", "demo_stems", "--hours", 0.0005, "--workers", 1, "--shards", folder) == 0
    return folder


def test_each_class_has_bands_of_its_own_and_rises_there_where_it_is_marked(prepared):
    corpus = Corpus.open(prepared / "demo_stems", verify=True)
    manifest = corpus.manifest
    assert (manifest.condition, manifest.bands, manifest.whole_tracks) == (STEMS, len(ROWS) * BANDS, False)
    assert [name for name, split in manifest.splits.items() if split.tracks] == ["train"]
    assert not manifest.refused
    off = []
    for row in corpus.rows("train").itertuples():
        bands, targets = corpus.frames(row)
        flux = np.diff(10 ** bands.reshape(len(bands), len(ROWS), BANDS).astype(np.float32), axis=0).clip(0).sum(axis=2)
        for frame, of in np.argwhere(targets == ONSET):
            around = flux[max(frame - 4, 0) : frame + 4, ROWS.index(manifest.classes[of])]
            if len(around) == 8 and around.max() > 1:
                off.append(int(around.argmax()) - 3)
    assert len(off) > 300
    assert np.mean(np.abs(off) <= 1) > 0.97


def test_a_second_run_redoes_nothing(prepared):
    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in (prepared / "demo_stems").glob("*.arrow")}

    before = stamps()
    seen = []
    options = PrepOptions(hours=0.0005, workers=1)
    prepare("demo_stems", source=None, shards=prepared, options=options, progress=lambda *news: seen.append(news))
    assert stamps() == before
    assert seen[0][0] == seen[0][1]


def test_they_are_shown_together_and_never_scored(prepared, tmp_path, capsys):
    corpus = Corpus.open(prepared / "demo_stems")
    shown = show_track(corpus, "first", tmp_path)
    assert shown["onsets"] > 0
    assert (tmp_path / shown["picture"]).is_file()
    with pytest.raises(Refused, match="is there for training to mix and holds spectrograms without audio"):
        show_track(corpus, "first", tmp_path, click=True)
    for protocol in (None, "tracks", "segments"):
        with pytest.raises(
            Refused, match=r"'demo_stems' is there for training to mix \(stems\), and nothing in it can"
        ):
            check_scoring(corpus, "test", protocol)
    assert run("show", "demo_stems", "--shards", prepared, "--out", tmp_path) == 0
    assert TO_MIX in "".join(capsys.readouterr())
    assert run("evaluate", "nothing", "--on", "demo_stems", "--split", "train", "--shards", prepared) == 2
    said = capsys.readouterr().err
    assert "nothing in it can be scored" in said
    assert len(said.strip().splitlines()) == 1


def test_bands_of_stems_together_are_about_those_of_the_drums():
    notes = Notes(np.arange(1, 20) / 5, np.resize([36, 42, 38, 42, 45, 49], 19), np.full(19, 100))
    kit = load_kit(KITS[0])
    stems = render_stems(notes, kit, seed=1, seconds=5.0).samples
    drums = render_drums(notes, kit, seed=1, seconds=5.0).samples
    found = together(np.concatenate([log_spectrogram(of) for of in stems], axis=1).astype(np.float16))
    assert np.abs(found - log_spectrogram(drums)).mean() < 0.03
    plain = log_spectrogram(drums)
    assert together(plain) is plain


def test_groove_stems_are_the_training_performances_cut(shared, tmp_path):
    source = shared / "data" / "groove"
    options = PrepOptions(hours=0.01, workers=1)
    manifest = prepare("groove_stems", source=source, shards=tmp_path, options=options)
    table = pd.read_csv(source / "info.csv")
    training = set(table[table["split"] == "train"]["id"])
    tracks = Corpus.open(tmp_path / "groove_stems").tracks
    assert set(tracks["performance"]) <= training
    assert set(tracks["split"]) == {"train"}
    assert not manifest.refused
    assert manifest.bands == len(ROWS) * BANDS
    assert sum(manifest.splits["train"].onsets.values()) > 0


@pytest.mark.parametrize(("hours", "takes"), [(0.5, 1), (None, 1), (25.0, 3)])
def test_hours_beyond_the_corpus_play_it_again_on_other_kits(shared, hours, takes):
    tracks = list(CORPORA["groove_stems"].tracks(shared / "data" / "groove", PrepOptions(hours=hours)))
    assert {track.id.rsplit("-take", 1)[1] for track in tracks} == {str(take) for take in range(takes)}
    assert len({track.id for track in tracks}) == len(tracks)
    assert len({track.recording.seed for track in tracks}) > 0.999 * len(tracks)
    seconds = sum(track.seconds for track in tracks)
    there_s = sum(track.seconds for track in tracks if track.id.endswith("-take0"))
    assert seconds == pytest.approx(there_s if hours is None else hours * 3600, rel=0.1)


def groove_table(folder, *splits: str) -> None:
    rows = [f"id{number},a.mid,60,{split}\n" for number, split in enumerate(splits)]
    (folder / "info.csv").write_text("".join(["id,midi_filename,duration,split\n", *rows]))


def test_a_table_without_training_performances_is_refused(tmp_path):
    groove_table(tmp_path, "test", "validation")
    with pytest.raises(Refused, match=r"info.csv lists no training performance; expected the top folder of the Groove"):
        list(CORPORA["groove_stems"].tracks(tmp_path, PrepOptions()))


@pytest.mark.parametrize("name", ["groove_stems", "demo_stems", "music"])
def test_hours_without_end_are_as_good_as_too_many(name, tmp_path):
    """Too many for the job, which counts; no number is too large to begin with."""
    groove_table(tmp_path, "train")
    tracks = CORPORA[name].tracks(tmp_path, PrepOptions(hours=1e308))
    assert len(list(islice(tracks, 1000))) == 1000


def test_options_that_mean_nothing_to_stems(tmp_path):
    with pytest.raises(Refused, match="--accompaniment means nothing to corpus 'demo_stems'"):
        prepare("demo_stems", source=None, shards=tmp_path, options=PrepOptions(accompaniment=tmp_path))
