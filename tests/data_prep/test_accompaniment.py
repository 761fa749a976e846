import time
from pathlib import Path

import mido
import numpy as np
import pytest

from data_prep.accompaniment import SPLITS, generated_accompaniment, load_accompaniments
from data_prep.default_kits import default_sound_font
from data_prep.melodic import MelodicNotes, read_melodic_notes, render_notes
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused

SHARED = Path(__file__).parents[3] / "shared" / "data" / "accompaniment"


def midi_file(path, events, *, ticks=480):
    """events: (seconds, message); tempo 120, so a beat is half a second."""
    file, track = mido.MidiFile(ticks_per_beat=ticks), mido.MidiTrack()
    file.tracks.append(track)
    before = 0
    for seconds, message in sorted(events, key=lambda event: event[0]):
        tick = round(seconds * 2 * ticks)
        track.append(message.copy(time=tick - before))
        before = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def note(start_s, length_s, pitch, *, channel=0, velocity=100):
    return [
        (start_s, mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)),
        (start_s + length_s, mido.Message("note_on", note=pitch, velocity=0, channel=channel)),
    ]


def test_notes_of_a_file_without_its_drums(tmp_path):
    events: list[tuple[float, mido.Message]] = [
        (0.0, mido.Message("program_change", program=33, channel=1)),
        (0.0, mido.Message("program_change", program=118, channel=2)),
    ]
    events += (
        note(0.5, 1.0, 60) + note(1.0, 0.25, 40, channel=1) + note(0, 1, 36, channel=9) + note(0, 1, 50, channel=2)
    )
    events += [(2.0, mido.Message("control_change", control=7, value=0, channel=0)), *note(2.0, 0.5, 61)]
    events += [
        (3.0, mido.Message("note_on", note=62, velocity=90)),
        (3.5, mido.Message("note_on", note=62, velocity=90)),
    ]
    events += [(4.0, mido.Message("note_off", note=62))]
    notes = read_melodic_notes(midi_file(tmp_path / "a.mid", events))
    np.testing.assert_allclose(notes.starts_s, [0.5, 1.0, 2.0, 3.0, 3.5], atol=1e-3)
    np.testing.assert_allclose(notes.lengths_s, [1.0, 0.25, 0.5, 0.5, 0.5], atol=1e-3)
    assert notes.pitches.tolist() == [60, 40, 61, 62, 62]
    assert notes.programs.tolist() == [0, 33, 0, 0, 0]
    assert notes.volumes[2] == 0
    assert notes.seconds == pytest.approx(4.0)


def test_a_rendered_note_has_its_pitch_and_time():
    notes = MelodicNotes.of([(0.5, 1.0, 69, 100, 1.0, 73)])  # flute, A4
    samples = render_notes(notes, default_sound_font(), 3.0)
    assert len(samples) == 3 * SAMPLE_RATE_HZ
    assert not samples[: int(0.49 * SAMPLE_RATE_HZ)].any()
    assert np.abs(samples[int(0.6 * SAMPLE_RATE_HZ) : int(1.4 * SAMPLE_RATE_HZ)]).max() > 0.01
    assert np.abs(samples[int(2.6 * SAMPLE_RATE_HZ) :]).max() < 0.001
    stretch = samples[int(0.7 * SAMPLE_RATE_HZ) : int(1.4 * SAMPLE_RATE_HZ)]
    spectrum = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)), 1 << 17))
    near = slice(int(400 / SAMPLE_RATE_HZ * (1 << 17)), int(480 / SAMPLE_RATE_HZ * (1 << 17)))
    assert (near.start + spectrum[near].argmax()) * SAMPLE_RATE_HZ / (1 << 17) == pytest.approx(440, rel=0.01)


def test_a_note_that_began_before_goes_on():
    whole = render_notes(MelodicNotes.of([(0.0, 2.0, 60, 100, 1.0, 48)]), default_sound_font(), 2.0)
    late = render_notes(MelodicNotes.of([(-1.0, 2.0, 60, 100, 1.0, 48)]), default_sound_font(), 1.0)
    np.testing.assert_allclose(late, whole[SAMPLE_RATE_HZ:], atol=1e-6)


def test_excerpts_are_disjoint_repeatable_and_never_silent(tmp_path):
    for number in range(30):
        events = [event for step in range(8) for event in note(step / 2, 0.4, 40 + number + step)]
        midi_file(tmp_path / "deep" / f"{number}.mid", events)
    (tmp_path / "broken.mid").write_text("no music")
    midi_file(tmp_path / "drums.mid", note(0, 1, 36, channel=9))
    music = load_accompaniments(tmp_path)
    assert sum(len(music.files[split]) for split in SPLITS) == 32
    assert len({path for split in SPLITS for path in music.files[split]}) == 32
    assert len(music.files["train"]) > 15
    assert load_accompaniments(tmp_path) == music
    for split in SPLITS:
        a = music.excerpt(split, 6.0, 3)  # longer than a piece: repeated
        assert a.shape == (6 * SAMPLE_RATE_HZ,)
        assert a.dtype == np.float32
        assert 0.01 < np.abs(a).max() <= 0.5001
        assert np.abs(a[-SAMPLE_RATE_HZ:]).max() > 0.001
        assert a.tobytes() == music.excerpt(split, 6.0, 3).tobytes()
        assert a.tobytes() != music.excerpt(split, 6.0, 4).tobytes()


def test_the_same_music_under_two_names_is_in_one_split(tmp_path):
    for number in range(12):
        for copy in range(2):
            midi_file(tmp_path / f"{number}-{copy}.mid", note(0, 1, 40 + number))
    splits = load_accompaniments(tmp_path).files
    for number in range(12):
        assert sum(any(path.name.startswith(f"{number}-") for path in found) for found in splits.values()) == 1


def test_the_known_collections_keep_their_split(tmp_path):
    for number in range(10):
        midi_file(tmp_path / "freedoom" / f"{number}.mid", note(0, 1, 40 + number))
        midi_file(tmp_path / "openmsx" / f"{number}.mid", note(0, 1, 60 + number))
    splits = load_accompaniments(tmp_path).files
    assert {path.parent.name for path in splits["train"]} == {"freedoom"}
    assert {path.parent.name for path in splits["validation"] + splits["test"]} == {"openmsx"}
    assert len(splits["train"]) == 10


def test_made_up_music_needs_no_folder():
    music = load_accompaniments(None)
    assert music.excerpt("train", 4.0, 7).tobytes() == generated_accompaniment(4.0, 7).tobytes()
    lengths = {len(generated_accompaniment(seconds, 1)) for seconds in (0.0, 0.001, 1.5)}
    assert lengths == {0, 44, 66150}
    for seed in range(12):
        samples = generated_accompaniment(5.0, seed)
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() <= 0.5001


def test_bad_folders_files_and_lengths_are_refused(tmp_path):
    with pytest.raises(Refused, match="no folder of MIDI files at"):
        load_accompaniments(tmp_path / "none")
    with pytest.raises(Refused, match=r"holds no .mid or .midi file"):
        load_accompaniments(tmp_path)
    (tmp_path / "a.mid").write_text("no music")
    with pytest.raises(Refused, match="cannot be read as a MIDI file"):
        read_melodic_notes(tmp_path / "a.mid")
    for seconds in (-1.0, 1e5, float("nan")):
        with pytest.raises(Refused, match="choose between 0 and 3600 s"):
            generated_accompaniment(seconds, 0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared music is not beside this repository")
def test_the_shared_music_renders_faster_than_it_plays():
    music = load_accompaniments(SHARED)
    assert all(music.files.values())
    before = time.perf_counter()
    assert np.abs(music.excerpt("validation", 10.0, 1)).max() > 0.01
    assert time.perf_counter() - before < 10
