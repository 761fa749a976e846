"""Drum notes of MIDI files made in the test."""

import mido
import pytest

from data_prep.midi import read_drum_notes
from data_prep.refused import Refused


def write(path, messages, **options):
    track = mido.MidiTrack(mido.Message("note_on", **message) for message in messages)
    mido.MidiFile(ticks_per_beat=500, tracks=[track], **options).save(path)  # 500 ticks a beat, 120 bpm: 1 ms a tick
    return path


def test_every_note_on_with_velocity_counts(tmp_path):
    path = write(
        tmp_path / "a.mid",
        [
            {"channel": 9, "note": 36, "velocity": 100, "time": 100},
            {"channel": 9, "note": 36, "velocity": 90, "time": 50},  # struck again before its note-off
            {"channel": 9, "note": 36, "velocity": 0, "time": 50},  # a note-off in disguise
            {"channel": 9, "note": 42, "velocity": 1, "time": 300},
        ],
    )
    notes = read_drum_notes(path)
    assert notes.times_s.round(6).tolist() == [0.1, 0.15, 0.5]
    assert notes.pitches.tolist() == [36, 36, 42]
    assert notes.velocities.tolist() == [100, 90, 1]


def test_channel_ten_alone_where_it_is_used(tmp_path):
    melody, drum = ({"channel": of, "note": 40, "velocity": 64} for of in (0, 9))
    assert len(read_drum_notes(write(tmp_path / "both.mid", [melody, drum]))) == 1
    assert len(read_drum_notes(write(tmp_path / "other.mid", [melody, melody]))) == 2
    assert len(read_drum_notes(write(tmp_path / "none.mid", []))) == 0


def test_refusals(tmp_path):
    with pytest.raises(Refused, match=r"no MIDI file at .*a\.mid; check the path"):
        read_drum_notes(tmp_path / "a.mid")
    (tmp_path / "a.mid").write_bytes(b"MThd but nothing else")
    with pytest.raises(Refused, match=r"a\.mid cannot be read as a MIDI file"):
        read_drum_notes(tmp_path / "a.mid")
    late = write(tmp_path / "late.mid", [{"note": 36, "velocity": 1, "time": 90_000_000}])
    with pytest.raises(Refused, match="lasts 90000 s, longer than a day"):
        read_drum_notes(late)
