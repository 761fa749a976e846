"""MIDI annotations, `.mid` and `.midi`: every drum note-on with velocity above 0, labelled with its pitch."""

from pathlib import Path

import numpy as np

from data_prep.annotations.labels import MAX_VELOCITY, Labels
from data_prep.midi import read_drum_notes


def read_midi(path: Path) -> Labels:
    """The drum notes of a MIDI file in time order; labels are pitches in digits.

    Raises Refused where ``data_prep.midi.read_drum_notes`` does.
    """
    notes = read_drum_notes(path)
    velocities = notes.velocities.astype(np.float32) / MAX_VELOCITY
    return Labels(notes.times_s, tuple(map(str, notes.pitches.tolist())), velocities)
