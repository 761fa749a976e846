"""Melodic notes of General MIDI to sound, with a SoundFont's bank 0. N notes, S samples at 44.1 kHz.

A pitched recording is worked out once per key and kept (bounded); a note then is its envelope times that tone, added in
place.
"""

import io
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mido
import numpy as np

from data_prep.midi import DRUM_CHANNEL, MAX_SECONDS, check_midi
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.sound_font_notes import envelope, tone
from data_prep.sound_font_zones import RELEASE, Zone
from data_prep.sound_fonts import LEFT, RIGHT, open_sound_font

LONGEST_NOTE_S = 8.0
LONGEST_RELEASE_S = 1.0
TONES_KEPT_BYTES = 64 << 20
FIRST_EFFECT_PROGRAM = (
    112  # from here on General MIDI has percussion and noises, which would sound like unlabelled drums
)
VOLUME, EXPRESSION = 7, 11  # control changes
MOST_ZONES_A_NOTE = 2


@dataclass(frozen=True)
class MelodicNotes:
    """Notes in time order: starts_s and lengths_s in seconds, pitches, loudness 0..1 as amplitude, programs 0..127;
    each (N,).
    """

    starts_s: np.ndarray
    lengths_s: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    volumes: np.ndarray
    programs: np.ndarray

    def __len__(self) -> int:
        return len(self.starts_s)

    @property
    def seconds(self) -> float:
        """When the last note has ended."""
        return float((self.starts_s + self.lengths_s).max(initial=0.0))

    @staticmethod
    def of(rows: list[tuple[float, float, int, int, float, int]]) -> "MelodicNotes":
        """From rows (start, length, pitch, velocity, volume, program), put in order."""
        table = np.array(sorted(rows), dtype=np.float64).reshape(-1, 6)
        whole = table[:, [2, 3, 5]].astype(np.int64)
        return MelodicNotes(table[:, 0], table[:, 1], whole[:, 0], whole[:, 1], table[:, 4], whole[:, 2])

    def between(self, start_s: float, end_s: float) -> "MelodicNotes":
        """Notes that sound somewhere in a stretch of time, counted from its start (their starts may be negative)."""
        inside = (self.starts_s < end_s) & (self.starts_s + self.lengths_s > start_s)
        rest = (self.lengths_s, self.pitches, self.velocities, self.volumes, self.programs)
        return MelodicNotes(self.starts_s[inside] - start_s, *(column[inside] for column in rest))


@lru_cache(maxsize=64)
def read_melodic_notes(path: Path) -> MelodicNotes:
    """The notes of a MIDI file without channel 10 and without percussive programs; Refused where it is no MIDI file."""
    content = check_midi(path)
    try:
        messages = list(mido.MidiFile(file=io.BytesIO(content), clip=True))
    except Exception as error:  # mido raises many kinds on broken bytes
        raise Refused(
            f"{path} cannot be read as a MIDI file ({error}); replace it or remove it from the folder"
        ) from error
    programs, volumes, expressions = [0] * 16, [100] * 16, [127] * 16
    open_notes: dict[tuple[int, int], tuple[float, int, float, int]] = {}
    rows: list[tuple[float, float, int, int, float, int]] = []
    time_s = 0.0

    def close(key: tuple[int, int]) -> None:
        started = open_notes.pop(key, None)
        if started is not None and time_s > started[0]:
            rows.append((started[0], time_s - started[0], key[1], *started[1:]))

    for message in messages:
        time_s += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "control_change" and message.control == VOLUME:
            volumes[message.channel] = message.value
        elif message.type == "control_change" and message.control == EXPRESSION:
            expressions[message.channel] = message.value
        elif message.type in ("note_on", "note_off") and message.channel != DRUM_CHANNEL:
            key = (message.channel, message.note)
            close(key)
            program = programs[message.channel]
            if message.type == "note_on" and message.velocity > 0 and program < FIRST_EFFECT_PROGRAM:
                volume = (volumes[message.channel] * expressions[message.channel] / 127**2) ** 2
                open_notes[key] = (time_s, message.velocity, volume, program)
    for key in list(open_notes):
        close(key)
    if time_s > MAX_SECONDS:
        raise Refused(f"{path} lasts {time_s:.0f} s, longer than a day; its tempo or delta times are damaged")
    return MelodicNotes.of(rows)


@lru_cache(maxsize=4096)
def _zones(font: Path, program: int, pitch: int, velocity: int) -> tuple[Zone, ...]:
    """The zones that answer to a note; of a program that the font lacks, the piano's."""
    sound_font = open_sound_font(font)
    zones = sound_font.zones(0, program if (0, program) in sound_font.presets else 0)
    answering = [
        zone
        for zone in zones
        if zone.keys[0] <= pitch <= zone.keys[1] and zone.velocities[0] <= velocity <= zone.velocities[1]
    ]
    return tuple(answering[:MOST_ZONES_A_NOTE])


class _Tones:
    """Tones already worked out, least recently used dropped first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[Path, Zone, int], np.ndarray] = OrderedDict()
        self.bytes = 0

    def get(self, font: Path, zone: Zone, pitch: int, count: int) -> np.ndarray:
        """The first ``count`` samples of a zone's tone, fewer where the recording ends."""
        key = (font, zone, pitch)
        found = self.kept.pop(key, None)
        if found is None or (len(found) < count and zone.looped):
            self.bytes -= found.nbytes if found is not None else 0
            seconds = 0.5 if zone.looped else LONGEST_NOTE_S
            while seconds * SAMPLE_RATE_HZ < count:
                seconds *= 2
            found = tone(open_sound_font(font), zone, pitch, seconds)
            self.bytes += found.nbytes
        self.kept[key] = found
        while self.bytes > TONES_KEPT_BYTES and len(self.kept) > 1:
            self.bytes -= self.kept.popitem(last=False)[1].nbytes
        return found[:count]


_TONES = _Tones()


def render_notes(notes: MelodicNotes, font: Path, seconds: float) -> np.ndarray:
    """Notes (starts may be negative: they have begun already) -> float32 (S,), peak at most 0.5."""
    samples = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)
    columns = (notes.starts_s, notes.lengths_s, notes.pitches, notes.velocities, notes.volumes, notes.programs)
    for start_s, length_s, pitch, velocity, volume, program in zip(*(c.tolist() for c in columns), strict=True):
        start = round(start_s * SAMPLE_RATE_HZ)
        for zone in _zones(font, program, pitch, velocity):
            held_s = min(length_s, LONGEST_NOTE_S - LONGEST_RELEASE_S)
            release_s = min(zone.seconds(RELEASE) * 0.6 + 0.02, LONGEST_RELEASE_S)
            sound = _TONES.get(font, zone, pitch, round((held_s + release_s) * SAMPLE_RATE_HZ))
            first, last = max(0, -start), min(len(sound), len(samples) - start)
            if first >= last:
                continue
            side = int(open_sound_font(font).recordings[zone.recording]["type"]) & (LEFT | RIGHT)
            gain = (velocity / 127) ** 1.5 * volume * zone.gain * (0.5 if side else 1.0)
            samples[start + first : start + last] += sound[first:last] * (
                envelope(zone, len(sound), held_s)[first:last] * np.float32(gain)
            )
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(0.5 / peak) if peak > 0.5 else samples
