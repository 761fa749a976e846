"""Drum notes of MIDI files made in the test, message by message or byte by byte, and of real performances."""

import struct
import time
from contextlib import suppress

import mido
import numpy as np
import pytest

from data_prep.midi import MAX_BYTES, read_drum_notes
from data_prep.refused import Refused

HIT = b"\x99\x24\x64"  # channel 10, kick, velocity 100
END = b"\x00\xff\x2f\x00"


def write(path, messages, **options):
    track = mido.MidiTrack(mido.Message("note_on", **message) for message in messages)
    mido.MidiFile(ticks_per_beat=500, tracks=[track], **options).save(path)  # 500 ticks a beat, 120 bpm: 1 ms a tick
    return path


def raw(path, *tracks, kind=1, division=500, count=None):
    """A file of these bytes."""
    header = b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks) if count is None else count, division)
    path.write_bytes(header + b"".join(b"MTrk" + struct.pack(">L", len(track)) + track for track in tracks))
    return path


def by_mido(path):
    """Times, pitches and velocities as mido plays the file."""
    rows, time_s = [], 0.0
    for message in mido.MidiFile(path, clip=True):
        time_s += message.time
        if message.type == "note_on" and message.velocity > 0:
            rows.append((time_s, message.note, message.velocity))
    return np.array(rows).reshape(-1, 3)


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


def test_as_mido_plays_tracks_and_tempos(tmp_path):
    draw = np.random.default_rng(1)
    for number in range(30):
        tracks = []
        for _ in range(draw.integers(1, 5)):
            track = mido.MidiTrack()
            for _ in range(draw.integers(0, 40)):
                ticks = int(draw.choice([0, 0, 1, 120, 100_000]))
                if draw.random() < 0.2:
                    track.append(mido.MetaMessage("set_tempo", tempo=int(draw.integers(1, 2**24)), time=ticks))
                elif draw.random() < 0.1:
                    track.append(mido.Message("sysex", data=[1] * int(draw.integers(0, 300)), time=ticks))
                elif draw.random() < 0.1:
                    track.append(mido.MetaMessage("text", text="x", time=ticks))
                elif draw.random() < 0.2:
                    track.append(mido.Message("program_change", program=3, time=ticks))
                else:
                    note, velocity = (int(value) for value in draw.integers(0, 128, 2))
                    track.append(mido.Message("note_on", channel=9, note=note, velocity=velocity, time=ticks))
            tracks.append(track)
        path = tmp_path / f"{number}.mid"
        mido.MidiFile(ticks_per_beat=int(draw.integers(1, 2**15)), tracks=tracks).save(path)
        expected = by_mido(path)
        if len(expected) and expected[-1, 0] > 80_000:
            continue
        notes = read_drum_notes(path)
        assert notes.times_s.tolist() == expected[:, 0].tolist()  # to the last bit
        assert np.stack([notes.pitches, notes.velocities], 1).tolist() == expected[:, 1:].astype(int).tolist()


def test_running_status_clipping_and_stray_data(tmp_path):
    path = tmp_path / "a.mid"
    text = b"\x00\xff\x01\x01x"  # running status goes on after it, as many writers have it
    unknown = b"\x64\xff\x60\x00"  # 100 ticks before a message of no known kind
    body = b"\x00" + HIT + b"\x64\x26\x00" + text + b"\x64\x26\x7f" + unknown + b"\x00\x99\x90\xff" + END
    notes = read_drum_notes(raw(path, body))
    assert notes.times_s.round(9).tolist() == [0, 0.2, 0.3]
    assert notes.pitches.tolist() == [36, 38, 127]
    assert notes.velocities.tolist() == [100, 127, 127]
    system = b"\x00\xf1\x01\x00\xf8\x0a\xf0\x02\x01\xf7\x00\xf7\x01\x01\x00" + HIT
    path.write_bytes(raw(path, system).read_bytes() + b"anything")
    assert read_drum_notes(path).times_s.round(9).tolist() == [0.01]
    middle = raw(path, b"\x00" + HIT).read_bytes()
    path.write_bytes(middle[:14] + b"XFIH\x00\x00\x00\x02ab" + middle[14:])  # a chunk of another name
    assert len(read_drum_notes(path)) == 1


@pytest.mark.parametrize(("division", "ticks_per_s"), [(0xE728, 1000), (0xE250, 2400), (0xE804, 96), (0xE364, 2997)])
def test_frames_a_second(tmp_path, division, ticks_per_s):
    tempo = b"\x00\xff\x51\x03\x01\x00\x00"  # means nothing here
    path = raw(tmp_path / "a.mid", tempo + b"\x64" + HIT + END, division=division)
    assert read_drum_notes(path).times_s.tolist() == pytest.approx([100 / ticks_per_s])


@pytest.mark.parametrize(
    ("track", "options", "reason"),
    [
        (b"\x00\xff\x51\x03\x00\x00\x00\x00" + HIT, {}, "a tempo of 0 microseconds"),
        (b"\x00\xff\x51\x01\x05\x00" + HIT, {}, "a tempo of 0 microseconds"),
        (b"\x00\x24\x64", {}, "data of no message"),
        (b"\x00\xf0\x00\x00\x24\x64", {}, "data of no message"),
        (b"\x00\xf4", {}, "is no message"),
        (b"\xff" * 5 + HIT, {}, "a number of more than four bytes"),
        (b"\x00\x99\x24", {}, "it ends within an event"),
        (b"\x00\xff\x01\xff\xff\xff\x7f", {}, "a track ends within an event"),
        (b"\x00\xf0\x8f\xff\x7fx", {}, "a track ends within an event"),
        (b"\x00" + HIT, {"count": 2}, "it ends within a track"),
        (b"\x00" + HIT, {"kind": 2}, "format 2; expected format 0 or 1"),
        (b"\x00" + HIT, {"kind": 3}, "its header makes no sense"),
        (b"\x00" + HIT, {"division": 0}, "its header makes no sense"),
        (b"\x00" + HIT, {"division": 0xE700}, "its header makes no sense"),
        (b"\x00" + HIT, {"division": 0xF028}, "its header makes no sense"),
    ],
)
def test_broken_bytes(tmp_path, track, options, reason):
    with pytest.raises(Refused, match=rf"a\.mid cannot be read as a MIDI file \(.*{reason}.*\); replace it or remove"):
        read_drum_notes(raw(tmp_path / "a.mid", track, **options))


def test_cut_anywhere(tmp_path):
    whole = raw(tmp_path / "whole.mid", b"\x00" + HIT + b"\x81\x00\x24\x64" + END, b"\x00" + HIT + END).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.mid").write_bytes(whole[:length])
        with pytest.raises(Refused, match="cannot be read as a MIDI file"):
            read_drum_notes(tmp_path / "cut.mid")


def test_bounded(tmp_path):
    path = tmp_path / "a.mid"
    began = time.process_time()
    for filler in (b"\xff", b"\x00\x24\x64", b"\x00\xf0\x00", b"\x00\xc9\x00", b"\x80", b"\x7f\x24\x64"):
        body = b"\x00" + HIT + (filler * ((MAX_BYTES - 40) // len(filler)))
        with suppress(Refused):
            assert len(read_drum_notes(raw(path, body))) > 0
    body = b"\x00\xf0\x84\x80\x00" + bytes(2**16) + b"\x00\xff\x01\xbf\xff\x7f" + bytes(2**20 - 1) + b"\x64" + HIT
    assert read_drum_notes(raw(path, body)).times_s.tolist() == [0.1]
    assert time.process_time() - began < 30  # seconds are enough
    days = raw(path, b"\xff\xff\xff\x7f" + HIT * 1 + b"\xff\xff\xff\x7f\x24\x64" * 20)
    with pytest.raises(Refused, match=r"lasts .* s, longer than a day"):
        read_drum_notes(days)
    path.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(Refused, match=r"a\.mid holds 2,097,153 bytes, and at most 2,097,152 are read; check the path"):
        read_drum_notes(path)


def test_real_performances(shared):
    pretty_midi = pytest.importorskip("pretty_midi")
    paths = sorted((shared / "data" / "groove").rglob("*.mid"))[::25]
    for path in paths:
        notes = read_drum_notes(path)
        expected = by_mido(path)
        assert notes.times_s.tolist() == expected[:, 0].tolist()
        assert np.stack([notes.pitches, notes.velocities], 1).tolist() == expected[:, 1:].astype(int).tolist()
        # another library, with a clock of its own; it drops notes that end where they begin
        song = pretty_midi.PrettyMIDI(str(path))
        others = [note for instrument in song.instruments for note in instrument.notes]
        assert 0.97 * len(notes) - 1 <= len(others) <= len(notes)
        for note in others:
            same = (notes.pitches == note.pitch) & (notes.velocities == note.velocity)
            assert np.abs(notes.times_s[same] - note.start).min() < 1e-6
    assert paths
