"""What of a MusicXML score says when drums sound: its hits, its marks, and a plain document that holds the time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from data_prep.annotations.labels import MAX_VELOCITY, number
from data_prep.annotations.playing_order import MAX_TIMES, Marks
from data_prep.annotations.staff import staff_label

DRUM_CHANNEL = 10
FORTE = 90  # MusicXML gives loudness in percent of it
MAX_EVENTS = (
    20_000  # forty minutes of sixteenths; partitura takes seconds for them, and minutes for three times as many
)
MAX_DURATION = 1_000_000_000
MAX_TEMPO = 10_000.0
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
QUARTERS = {"long": 16, "breve": 8, "whole": 4, "half": 2, "quarter": 1, "eighth": 1 / 2, "16th": 1 / 4, "32nd": 1 / 8}


class BrokenScoreError(ValueError):
    """What is wrong with a score."""


@dataclass(frozen=True)
class Hit:
    """A struck note: indices of its measure and of its event, its label, its velocity in 0..1, NaN where unknown."""

    measure: int
    event: int
    label: str
    velocity: float


@dataclass
class PlainScore:
    """A score without all that says nothing about time.

    document: MusicXML in which everything with a length is a rest; the one with the id `e7` is the eighth event at
    which something is struck; marks: of each measure; struck: how many such events; events: all that it holds.
    """

    document: bytes = b""
    hits: list[Hit] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    struck: int = 0
    events: int = 0


@dataclass(frozen=True)
class _Instruments:
    """Of a part: the pitches of its instruments by id, and whether it plays on the drum channel."""

    pitches: dict[str, str]
    drums: bool


def plain_score(root: Element) -> PlainScore:
    """The drum parts of a score, and those with tempo marks; raises BrokenScoreError."""
    if root.tag != "score-partwise":
        raise BrokenScoreError(f"it is {root.tag[:40]!r}, not 'score-partwise'")
    score = PlainScore()
    instruments = {part.get("id", ""): _instruments(part) for part in root.iterfind("part-list/score-part")}
    plain = Element("score-partwise")
    part_list = SubElement(plain, "part-list")
    drums = 0
    for position, part in enumerate(root.iterfind("part")):
        of_part = instruments.get(part.get("id", ""), _Instruments({}, False))
        measures = part.findall("measure")
        _read_marks(measures, score.marks)
        is_drums = of_part.drums or part.find("measure/note/unpitched") is not None
        drums += is_drums
        if measures and (is_drums or any(_tempo(element) for measure in measures for element in measure)):
            name = f"P{position}"
            SubElement(SubElement(part_list, "score-part", id=name), "part-name")
            _Part(score, of_part, is_drums).write(measures, SubElement(plain, "part", id=name))
    if not drums:
        raise BrokenScoreError("it has no unpitched notes, and nothing on MIDI channel 10")
    score.document = tostring(plain)
    return score


def _instruments(part: Element) -> _Instruments:
    """What the part list says about a part."""
    pitches = {}
    drums = False
    for instrument in part.iterfind("midi-instrument"):
        pitch = number(instrument.findtext("midi-unpitched", "").strip()) - 1  # it counts from 1
        if pitch in range(128):
            pitches[instrument.get("id", "")] = str(int(pitch))
        drums |= number(instrument.findtext("midi-channel", "").strip()) == DRUM_CHANNEL
    return _Instruments(pitches, drums)


def _tempo(element: Element) -> float | None:
    """Quarters a minute where a direction or a sound sets them."""
    if element.tag not in ("direction", "sound"):
        return None
    sound = element if element.tag == "sound" else element.find("sound")
    if sound is not None and "tempo" in sound.attrib:
        tempo = number(sound.get("tempo", "").strip())
    else:
        metronome = element.find("direction-type/metronome")
        minute = re.search(r"\d+\.?\d*", "" if metronome is None else metronome.findtext("per-minute", ""), re.ASCII)
        if metronome is None or minute is None:
            return None
        unit = QUARTERS.get(metronome.findtext("beat-unit", "quarter").strip(), 1)
        dots = min(len(metronome.findall("beat-unit-dot")), 4)
        tempo = float(minute[0]) * unit * (2 - 0.5**dots)
    if not 0 < tempo <= MAX_TEMPO:
        raise BrokenScoreError(f"it has a tempo of {tempo} quarters a minute")
    return tempo


def _read_marks(measures: list[Element], marks: list[Marks]) -> None:
    """Add what a part says about where to go on."""
    if len(measures) > MAX_EVENTS:
        raise BrokenScoreError(f"it has more than {MAX_EVENTS:,} measures")
    marks += [Marks() for _ in range(len(measures) - len(marks))]
    open_endings: dict[int, frozenset[int]] = {}
    for position, measure in enumerate(measures):
        here = marks[position]
        for sound in _sounds(measure):
            here.segno |= "segno" in sound.attrib
            here.coda |= "coda" in sound.attrib
            here.to_coda |= "tocoda" in sound.attrib
            here.fine |= "fine" in sound.attrib
            here.da_capo |= sound.get("dacapo") == "yes"
            here.dal_segno |= "dalsegno" in sound.attrib
        for barline in measure.iterfind("barline"):
            repeat, ending = barline.find("repeat"), barline.find("ending")
            if ending is not None and ending.get("type") == "start":
                words = re.findall("[0-9]{1,9}", ending.get("number", ""))
                here.ending = frozenset(min(int(word), MAX_TIMES) for word in words or "1")
                open_endings = {position: here.ending}
            elif ending is not None:
                for began, numbers in open_endings.items():
                    for inside in marks[began : position + 1]:
                        inside.ending = numbers
                open_endings = {}
            if repeat is not None and repeat.get("direction") == "forward":
                here.forward = True
            elif repeat is not None:
                times = number(repeat.get("times", "2"))
                here.times = max(here.times, int(times) if 2 <= times <= MAX_TIMES else 2)


def _sounds(measure: Element) -> Iterator[Element]:
    """What a measure says to who plays it."""
    yield from measure.iterfind("sound")
    yield from measure.iterfind("direction/sound")


class _Part:
    """Writes a part into the plain document, and its hits into the score."""

    def __init__(self, score: PlainScore, instruments: _Instruments, is_drums: bool):
        self.score, self.instruments, self.is_drums = score, instruments, is_drums

    def write(self, measures: list[Element], plain: Element) -> None:
        """Copy what has a length or sets a tempo."""
        for position, measure in enumerate(measures):
            into = SubElement(plain, "measure", number=str(position + 1))
            last: Element | None = None  # the rest that stands for the note before, whose onset a chord shares
            for element in measure:
                tempo = _tempo(element)
                if tempo is not None:
                    _rest(into, 0)  # partitura drops a tempo where nothing begins
                    SubElement(SubElement(into, "direction"), "sound", tempo=repr(tempo))
                elif element.tag == "attributes":
                    self._attributes(element, into)
                elif element.tag in ("backup", "forward"):
                    SubElement(SubElement(into, element.tag), "duration").text = str(_whole(element, "duration"))
                elif element.tag == "note":
                    if last is None or element.find("chord") is None:
                        last = _rest(into, 0 if element.find("grace") is not None else _whole(element, "duration"))
                    if self.is_drums and (label := self._label(element)) is not None:
                        self._strike(position, last, label, element)
            self.score.events += 1 + len(into)
            if self.score.events > MAX_EVENTS:
                raise BrokenScoreError(f"it has more than {MAX_EVENTS:,} notes")

    def _strike(self, measure: int, rest: Element, label: str, note: Element) -> None:
        """Add a hit where a rest of the plain document begins."""
        if "id" not in rest.attrib:
            rest.set("id", f"e{self.score.struck}")
            self.score.struck += 1
        velocity = number(note.get("dynamics", "").strip()) / 100 * FORTE / MAX_VELOCITY
        self.score.hits.append(Hit(measure, int(rest.attrib["id"][1:]), label, float(np.clip(velocity, 0, 1))))

    def _attributes(self, attributes: Element, into: Element) -> None:
        """Copy divisions; refuse a staff that leaves notes to the player."""
        if self.is_drums:
            for kind in ("measure-repeat", "beat-repeat", "slash"):
                if any(style.get("type") == "start" for style in attributes.iterfind(f"measure-style/{kind}")):
                    raise BrokenScoreError(f"it has a {kind}: write out what is to be played")
        if attributes.find("divisions") is not None:
            divisions = _whole(attributes, "divisions")
            if divisions:
                SubElement(SubElement(into, "attributes"), "divisions").text = str(divisions)

    def _label(self, note: Element) -> str | None:
        """The label of a note, None where nothing is struck."""
        unpitched, pitch = note.find("unpitched"), note.find("pitch")
        if unpitched is None and (pitch is None or not self.instruments.drums):
            return None
        if note.find("cue") is not None or any(tie.get("type") == "stop" for tie in note.iterfind("tie")):
            return None
        instrument = note.find("instrument")
        known = self.instruments.pitches
        if instrument is not None and instrument.get("id", "") in known:
            return known[instrument.get("id", "")]
        if instrument is None and len(known) == 1:
            return next(iter(known.values()))
        if unpitched is not None:
            place = unpitched.findtext("display-step", "").strip() + unpitched.findtext("display-octave", "").strip()
            return staff_label(place, note.findtext("notehead", "").strip())
        assert pitch is not None
        step = pitch.findtext("step", "").strip()
        key = SEMITONES.get(step, 1000) + number(pitch.findtext("alter", "0").strip())
        key += 12 * (number(pitch.findtext("octave", "").strip()) + 1)
        if key not in range(128):
            raise BrokenScoreError(f"it has the pitch {step[:10]!r} {pitch.findtext('octave', '')[:10]!r}")
        return str(int(key))


def _rest(into: Element, duration: int) -> Element:
    """Add something of this length."""
    note = SubElement(into, "note")
    SubElement(note, "rest")
    SubElement(note, "duration").text = str(duration)
    return note


def _whole(element: Element, tag: str) -> int:
    """A number of divisions; 0 where there is none, as in grace notes."""
    text = element.findtext(tag, "0").strip()
    value = number(text)
    if not 0 <= value <= MAX_DURATION or value != int(value):
        raise BrokenScoreError(f"it has a {tag} of {text[:40]!r}")
    return int(value)
