"""Transcriptions of drums as files: one table of writers, with what they are given.

Each writes one file, atomically. A file without onsets is a valid one.
"""

from trainables.notation.annotation import write_jams
from trainables.notation.beats import has_beats
from trainables.notation.midi import write_midi
from trainables.notation.note_maps import NOTE_MAPS, NoteMap, read_note_map
from trainables.notation.roll import write_roll
from trainables.notation.score import write_musicxml
from trainables.notation.staff import write_staff
from trainables.notation.table import write_table
from trainables.notation.transcribed import NotationOptions, Transcribed, Writer

__all__ = ["NOTE_MAPS", "WRITERS", "NotationOptions", "NoteMap", "Transcribed", "Writer", "has_beats", "read_note_map"]

WRITERS = {
    "midi": Writer(".mid", "MIDI file of one drum track", write_midi),
    "csv": Writer(".csv", "table of onsets", write_table),
    "jams": Writer(".jams", "annotation of onsets and beats", write_jams),
    "musicxml": Writer(".musicxml", "score with a drum staff", write_musicxml, True),
    "roll": Writer(".roll.png", "picture of the onsets over time", write_roll),
    "staff": Writer(".staff.svg", "picture of the score", write_staff, True),
}
