"""Scores as MusicXML with a drum staff. N onsets, P beats.

Written here: partitura's exporter knows no beams, tuplets' brackets or drum instruments, so that nothing would sound.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np

from data_prep.files import write_atomically
from data_prep.midi import DRUM_CHANNEL
from data_prep.refused import printable
from trainables.notation.beats import timeline_of
from trainables.notation.quantised import Bar, bars_of
from trainables.notation.timeline import Timeline
from trainables.notation.transcribed import NotationOptions, Transcribed

DIVISIONS = 24  # of a quarter note: whole numbers for thirty-seconds and sextuplets
# class -> step, octave and note head on a staff with a percussion clef (Weinberg, Guide to Standardized Drumset
# Notation, 1998), as far as there are classes for it
PLACES = {"kick": ("F", 4, "normal"), "snare": ("C", 5, "normal"), "toms": ("D", 5, "normal")}
PLACES |= {"hi-hat": ("G", 5, "x"), "cymbals": ("A", 5, "x"), "crash": ("A", 5, "x"), "ride": ("F", 5, "x")}
PLACES |= {"bell": ("F", 5, "diamond"), "claves": ("E", 5, "triangle")}
ELSEWHERE = ("B", 4, "slash")
# thirty-seconds -> type and dots
VALUES = {1: ("32nd", 0), 2: ("16th", 0), 3: ("16th", 1), 4: ("eighth", 0), 6: ("eighth", 1), 8: ("quarter", 0)}
FLAGS = {"eighth": 1, "16th": 2, "32nd": 3}
CHANGED = 0.005  # of the tempo, between bars: more is told to whoever plays the score


def write_musicxml(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write a MusicXML 4.0 score of one drum staff, atomically: hits that sound together are chords of one voice.

    Onsets stand on a grid that is chosen beat by beat (sixteenths or triplets) or given; hits of one class that fall on
    one place of it become one.
    """
    with write_atomically(path) as temporary:
        ElementTree(score_of(transcribed, options)).write(temporary, encoding="UTF-8", xml_declaration=True)


def score_of(transcribed: Transcribed, options: NotationOptions) -> Element:
    """The score as a tree; beats are estimated where no tempo is given."""
    timeline = timeline_of(transcribed, options, always=True)
    assert timeline is not None
    score = Element("score-partwise", version="4.0")
    if transcribed.title:
        SubElement(SubElement(score, "work"), "work-title").text = printable(transcribed.title)
    SubElement(SubElement(SubElement(score, "identification"), "encoding"), "software").text = "mirtune"
    pitches = options.note_map.of(transcribed.classes)
    part_list = SubElement(SubElement(score, "part-list"), "score-part", id="P1")
    SubElement(part_list, "part-name").text = "Drums"
    for index, name in enumerate(transcribed.classes):
        SubElement(SubElement(part_list, "score-instrument", id=_instrument(index)), "instrument-name").text = name
    for index, pitch in enumerate(pitches):
        sounding = SubElement(part_list, "midi-instrument", id=_instrument(index))
        SubElement(sounding, "midi-channel").text = str(DRUM_CHANNEL + 1)
        SubElement(sounding, "midi-program").text = "1"
        SubElement(sounding, "midi-unpitched").text = str(pitch + 1)  # counted from 1 here
    part, told = SubElement(score, "part", id="P1"), 0.0
    for place, bar in enumerate(bars_of(transcribed, timeline, options.steps_per_beat)):
        pickup = bar.number == 0
        measure = SubElement(part, "measure", {"number": str(bar.number), **({"implicit": "yes"} if pickup else {})})
        if place == 0:
            _attributes(measure, options.beats_per_bar)
        bpm = _bpm(timeline, bar)
        if abs(bpm - told) > CHANGED * told:
            _tempo(measure, bpm, shown=round(timeline.bpm) if place == 0 else None)
            told = bpm
        _fill(measure, bar, transcribed.classes)
    return score


def _instrument(index: int) -> str:
    return f"P1-I{index + 1}"


def _attributes(measure: Element, beats_per_bar: int) -> None:
    of = SubElement(measure, "attributes")
    SubElement(of, "divisions").text = str(DIVISIONS)
    SubElement(SubElement(of, "key"), "fifths").text = "0"
    time = SubElement(of, "time")
    SubElement(time, "beats").text, SubElement(time, "beat-type").text = str(beats_per_bar), "4"
    clef = SubElement(of, "clef")
    SubElement(clef, "sign").text, SubElement(clef, "line").text = "percussion", "2"


def _bpm(timeline: Timeline, bar: Bar) -> float:
    """Beats a minute in a bar."""
    start_s, end_s = timeline.times_of(np.maximum(np.array([bar.start, bar.start + len(bar.beats)]), 0.0))
    return 60 * len(bar.beats) / max(float(end_s - start_s), 1e-3) if bar.start >= 0 else timeline.bpm


def _tempo(measure: Element, bpm: float, shown: int | None) -> None:
    """What plays the score is told a tempo; what reads it, at its beginning."""
    of = measure
    if shown is not None:
        of = SubElement(measure, "direction", placement="above")
        metronome = SubElement(SubElement(of, "direction-type"), "metronome")
        SubElement(metronome, "beat-unit").text, SubElement(metronome, "per-minute").text = "quarter", str(shown)
    SubElement(of, "sound", tempo=f"{bpm:.2f}")


def _fill(measure: Element, bar: Bar, classes: Sequence[str]) -> None:
    """The notes and rests of a bar."""
    if not any(beat.hits for beat in bar.beats):
        rest = SubElement(measure, "note")
        SubElement(rest, "rest", measure="yes")
        SubElement(rest, "duration").text = str(DIVISIONS * len(bar.beats))
        SubElement(rest, "voice").text = "1"
        return
    for beat in bar.beats:
        _fill_beat(measure, beat.hits, beat.steps, classes)


def _fill_beat(measure: Element, hits: Mapping[int, Sequence[int]], steps: int, classes: Sequence[str]) -> None:
    """A beat: what is struck at a step lasts to the next that is struck, or as far as one note goes; then there are
    rests.
    """
    tuplet = steps % 3 == 0 and set(hits) - {0}
    if not tuplet and steps % 3 == 0:
        steps = 1
    unit = {1: 8, 2: 4, 3: 4, 4: 2, 6: 2, 8: 1}[steps]  # thirty-seconds, as written
    written: list[tuple[int, Sequence[int]]] = []  # thirty-seconds, classes: none for a rest
    for start, end in pairwise([*([] if 0 in hits else [0]), *sorted(hits), steps]):
        left, struck = (end - start) * unit, hits.get(start, ())
        while left:
            value = max(value for value in VALUES if value <= left and value % unit == 0)
            written.append((value, struck))
            left, struck = left - value, ()
    beams = _beams([(FLAGS.get(VALUES[value][0], 0), bool(struck)) for value, struck in written])
    for place, (value, struck) in enumerate(written):
        kind, dots = VALUES[value]
        duration = value * DIVISIONS // 8 * 2 // 3 if tuplet else value * DIVISIONS // 8
        for nth, of in enumerate(struck or (None,)):
            note = SubElement(measure, "note")
            if nth:
                SubElement(note, "chord")
            if of is None:
                SubElement(note, "rest")
            else:
                step, octave, _ = PLACES.get(classes[of], ELSEWHERE)
                unpitched = SubElement(note, "unpitched")
                SubElement(unpitched, "display-step").text = step
                SubElement(unpitched, "display-octave").text = str(octave)
            SubElement(note, "duration").text = str(duration)
            if of is not None:
                SubElement(note, "instrument", id=_instrument(of))
            SubElement(note, "voice").text = "1"
            SubElement(note, "type").text = kind
            for _ in range(dots):
                SubElement(note, "dot")
            if tuplet:
                change = SubElement(note, "time-modification")
                SubElement(change, "actual-notes").text = str(steps)
                SubElement(change, "normal-notes").text = str(steps * 2 // 3)
            if of is not None:
                SubElement(note, "stem").text = "up"
                head = PLACES.get(classes[of], ELSEWHERE)[2]
                if head != "normal":
                    SubElement(note, "notehead").text = head
                if not nth:
                    for number, text in enumerate(beams[place], 1):
                        SubElement(note, "beam", number=str(number)).text = text
            if tuplet and not nth and place in (0, len(written) - 1):
                kind_of = "start" if place == 0 else "stop"
                SubElement(SubElement(note, "notations"), "tuplet", type=kind_of, bracket="yes")


def _beams(notes: Sequence[tuple[int, bool]]) -> list[list[str]]:
    """For flags and whether it is struck of each note or rest of a beat, what each beam of it does.

    A rest ends a beam; beams join neighbours that have flags.
    """

    def joined(place: int, level: int) -> bool:
        return 0 <= place < len(notes) and notes[place][1] and notes[place][0] >= level

    beams: list[list[str]] = []
    for place, (flags, struck) in enumerate(notes):
        beams.append([])
        for level in range(1, (flags if struck else 0) + 1):
            before, after = joined(place - 1, level), joined(place + 1, level)
            if before or after:
                beams[-1].append("continue" if before and after else "end" if before else "begin")
            elif level > 1 and beams[-1]:  # alone: a stub towards the note that it is beamed with
                beams[-1].append("backward hook" if joined(place - 1, 1) else "forward hook")
    return beams
