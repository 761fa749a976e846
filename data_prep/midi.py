"""Drum notes of a MIDI file: every note-on with velocity above 0. E events, N notes.

Parsed here rather than by a library: partitura loses notes that are struck again before their note-off (4.7 % of
Groove's); mido needs sixteen times as long, takes frames a second for negative beats, loses the time before messages
that it does not know, and two broken megabytes keep it busy for ten minutes.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.bounded import read_bounded
from data_prep.refused import Refused

DRUM_CHANNEL = 9  # "channel 10" in General MIDI, counted from 0
MAX_SECONDS = 24 * 3600.0
MAX_BYTES = 2 * 2**20  # some 350,000 notes
DEFAULT_TEMPO_US = 500_000  # a beat
SET_TEMPO, END_OF_TRACK = 0x51, 0x2F
# data bytes of each message; what is not here is no message that a file may hold
CHANNEL_LENGTHS = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}


@dataclass(frozen=True)
class Notes:
    """Note-ons in time order: times_s (N,) float64 seconds, pitches (N,) int64, velocities (N,) int64 in 1..127."""

    times_s: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass
class _Events:
    """What the tracks hold, in ticks from the start."""

    ticks: list[int] = field(default_factory=list)  # (E,) of all events but the ends of tracks
    notes: list[tuple[int, int, int, int]] = field(default_factory=list)  # tick, pitch, velocity, channel
    tempos: list[tuple[int, int]] = field(default_factory=list)  # tick, microseconds a beat
    last_tick: int = 0


class _Broken(Exception):
    """What is wrong with the bytes."""


def read_drum_notes(path: Path) -> Notes:
    """Note-ons with velocity above 0 on channel 10, or on all channels where channel 10 is empty.

    Raises Refused where the file is missing, larger than 2 MiB, no MIDI file, or lasts longer than a day.
    """
    data = read_bounded(path, MAX_BYTES, "MIDI file", "check the path or download the corpus again")
    try:
        events, ticks_per_beat = _parse(data)
    except _Broken as error:
        raise Refused(
            f"{path} cannot be read as a MIDI file ({error}); replace it or remove it from the corpus"
        ) from error
    moments, moments_s = _clock(events, ticks_per_beat)
    if moments_s[-1] > MAX_SECONDS:
        raise Refused(f"{path} lasts {moments_s[-1]:.0f} s, longer than a day; its tempo or delta times are damaged")
    table = np.array(events.notes, np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0], kind="stable")]  # as the tracks play together
    drums = table[:, 3] == DRUM_CHANNEL
    if drums.any():
        table = table[drums]
    return Notes(moments_s[np.searchsorted(moments, table[:, 0])], table[:, 1], table[:, 2])


def check_midi(path: Path) -> bytes:
    """The bytes of a file that other readers may have: a MIDI file of at most 2 MiB without a broken byte, or Refused.

    mido can take minutes over broken ones.
    """
    data = read_bounded(path, MAX_BYTES, "MIDI file", "check the path or download it again")
    try:
        _parse(data)
    except _Broken as error:
        raise Refused(f"{path} cannot be read as a MIDI file ({error}); replace it or remove it") from error
    return data


def _parse(data: bytes) -> tuple[_Events, float]:
    """The events of all tracks, and ticks a beat; raises _Broken."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise _Broken("it does not begin with an MThd header")
    header = int.from_bytes(data[4:8])
    kind, tracks, division = (int.from_bytes(data[at : at + 2]) for at in (8, 10, 12))
    if header < 6 or kind > 2 or division == 0:
        raise _Broken("its header makes no sense")
    if kind == 2:
        raise _Broken("its tracks are songs of their own, format 2; expected format 0 or 1")
    events = _Events()
    at = 8 + header
    while tracks:
        name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8])
        if len(data) < max(end, at + 8):
            raise _Broken("it ends within a track")
        if name == b"MTrk":
            try:
                _read_track(data, at + 8, end, events)
            except IndexError as error:  # at the end of the data
                raise _Broken("it ends within an event") from error
            tracks -= 1
        at = end  # the standard asks to pass over chunks of other names
    if division < 0x8000:
        return events, division
    # frames a second (29 means 29.97) times ticks a frame: as beats of a second that no tempo changes
    frames_per_s = {24: 24.0, 25: 25.0, 29: 29.97, 30: 30.0}.get(0x100 - (division >> 8))
    if frames_per_s is None or division & 0xFF == 0:
        raise _Broken("its header makes no sense")
    events.tempos = [(0, 1_000_000)]
    return events, frames_per_s * (division & 0xFF)


def _read_track(data: bytes, at: int, end: int, events: _Events) -> None:
    """Add the events of the track in ``data[at:end]``."""
    tick = status = 0
    while at < end:
        delta, at = _variable_length(data, at)
        tick += delta
        byte = data[at]
        if byte == 0xFF:
            kind = data[at + 1]
            length, at = _variable_length(data, at + 2)
            if kind == SET_TEMPO:
                tempo_us = int.from_bytes(data[at : at + 3])
                if length < 3 or tempo_us == 0:
                    raise _Broken("it has a tempo of 0 microseconds a beat")
                events.tempos.append((tick, tempo_us))
            if kind != END_OF_TRACK:
                events.ticks.append(tick)
            at += length
        else:
            if byte & 0x80:
                status = byte
                at += 1
            if status < 0xF0:
                size = CHANNEL_LENGTHS.get(status & 0xF0)
                if size is None:
                    raise _Broken(f"byte {at} is data of no message")
                if status & 0xF0 == 0x90 and data[at + 1]:
                    note, velocity = min(data[at], 127), min(data[at + 1], 127)
                    events.notes.append((tick, note, velocity, status & 0x0F))
                at += size
            else:
                if status in (0xF0, 0xF7):
                    length, at = _variable_length(data, at)
                    at += length
                elif status in SYSTEM_LENGTHS:
                    at += SYSTEM_LENGTHS[status]
                else:
                    raise _Broken(f"byte {at - 1} is no message")
                status = 0
            events.ticks.append(tick)
    if at > end:
        raise _Broken("a track ends within an event")
    events.last_tick = max(events.last_tick, tick)


def _variable_length(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, of seven bits a byte, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value = 0
    for after in range(at + 1, at + 5):
        byte = data[after - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, after
    raise _Broken(f"byte {at} begins a number of more than four bytes")


def _clock(events: _Events, ticks_per_beat: float) -> tuple[np.ndarray, np.ndarray]:
    """Ticks at which something happens (M,) int64, the last one at the end, and their times (M,) in seconds."""
    moments = np.unique(np.array([0, events.last_tick, *events.ticks], np.int64))
    tempos = np.array([(0, DEFAULT_TEMPO_US), *sorted(events.tempos, key=lambda tempo: tempo[0])], np.int64)
    current = tempos[np.searchsorted(tempos[:, 0], moments[:-1], side="right") - 1, 1]
    steps_s = np.diff(moments) * (current * 1e-6 / ticks_per_beat)
    return moments, np.concatenate([[0.0], np.cumsum(steps_s)])
