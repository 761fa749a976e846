"""Drum notes of a MIDI file: every note-on with velocity above 0.

Read with mido: partitura loses notes that are struck again before their note-off (4.7 % of Groove's).
"""

from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from data_prep.refused import Refused

DRUM_CHANNEL = 9  # "channel 10" in General MIDI, counted from 0
MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Notes:
    """Note-ons in time order: times_s (N,) float64 seconds, pitches (N,) int64, velocities (N,) int64 in 1..127."""

    times_s: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray

    def __len__(self) -> int:
        return len(self.times_s)


def read_drum_notes(path: Path) -> Notes:
    """Note-ons with velocity above 0 on channel 10, or on all channels where channel 10 is empty.

    Raises Refused where the file is missing, is no MIDI file, or lasts longer than a day.
    """
    if not path.is_file():
        raise Refused(f"no MIDI file at {path}; check the path or download the corpus again")
    try:
        file = mido.MidiFile(path, clip=True)
        rows, time_s = [], 0.0
        for message in file:
            time_s += message.time
            if message.type == "note_on" and message.velocity > 0:
                rows.append((time_s, message.note, message.velocity, message.channel))
    except Exception as error:  # mido raises many kinds on broken bytes
        raise Refused(
            f"{path} cannot be read as a MIDI file ({error}); replace it or remove it from the corpus"
        ) from error
    if time_s > MAX_SECONDS:
        raise Refused(f"{path} lasts {time_s:.0f} s, longer than a day; its tempo or delta times are damaged")
    if any(row[3] == DRUM_CHANNEL for row in rows):
        rows = [row for row in rows if row[3] == DRUM_CHANNEL]
    table = np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)
    return Notes(table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64))
