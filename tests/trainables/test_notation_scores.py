"""Scores: what stands in the MusicXML, and what other readers make of it."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import read_labels
from data_prep.classes import VOCABULARIES
from data_prep.onsets import Onsets
from trainables.notation import WRITERS, NotationOptions, Transcribed
from trainables.notation.beats import timeline_of
from trainables.notation.quantised import quantise
from trainables.notation.score import DIVISIONS, score_of
from trainables.notation.timeline import Timeline

NAMES = VOCABULARIES[5]
KICK, SNARE, TOMS, HAT, CYMBALS = range(5)


def at_positions(hits: list[tuple[float, int]], beats: float) -> Transcribed:
    """Hits at 120 beats a minute, by beats from the beginning."""
    positions, classes = np.array(hits, float).reshape(-1, 2).T
    return Transcribed(Onsets.of(positions / 2, classes, np.full(len(hits), 0.9)), NAMES, beats / 2, "a title")


def told(measure: ElementTree.Element) -> list[str]:
    """Each note in a word: place or rest, type with dots, head, + in a chord, 3 in a tuplet, and its beams."""
    words = []
    for note in measure.iter("note"):
        place = "rest"
        if note.find("unpitched") is not None:
            place = f"{note.findtext('unpitched/display-step')}{note.findtext('unpitched/display-octave')}"
        kind = (note.findtext("type") or "whole-bar") + "." * len(note.findall("dot"))
        word = f"{'+' if note.find('chord') is not None else ''}{place} {kind}"
        word += f" {note.findtext('notehead')}" if note.find("notehead") is not None else ""
        word += (
            f" of {note.findtext('time-modification/actual-notes')}"
            if note.find("time-modification") is not None
            else ""
        )
        words.append(" ".join([word, *(of.text or "" for of in note.iter("beam"))]))
    return words


# beats 0 and 1 sixteenths, 2 triplets, 3 empty; then an empty bar
BAR = [(0, KICK), (0, HAT), (0.5, HAT), (0.75, KICK), (1.25, SNARE), (2, TOMS), (2 + 1 / 3, TOMS), (2 + 2 / 3, CYMBALS)]
WRITTEN = [
    ["F4 eighth begin", "+G5 eighth x", "G5 16th x continue begin", "F4 16th end end"],
    ["rest 16th", "C5 eighth."],
    ["D5 eighth of 3 begin", "D5 eighth of 3 continue", "A5 eighth x of 3 end"],
    ["rest quarter"],
]


def test_a_bar_as_a_drummer_writes_it():
    root = score_of(at_positions(BAR, 8), NotationOptions(tempo=120.0))
    measures = root.findall("part/measure")
    assert told(measures[0]) == [word for beat in WRITTEN for word in beat]
    assert told(measures[1]) == ["rest whole-bar"]
    assert len(measures) == 2
    assert root.findtext("work/work-title") == "a title"
    attributes = measures[0].find("attributes")
    assert attributes is not None
    assert [attributes.findtext(of) for of in ("time/beats", "time/beat-type", "clef/sign")] == ["4", "4", "percussion"]
    assert measures[0].findtext(".//per-minute") == "120"
    sounds = {of.get("id"): of.findtext("midi-unpitched") for of in root.iter("midi-instrument")}
    names = {of.get("id"): of.findtext("instrument-name") for of in root.iter("score-instrument")}
    assert {names[of]: sounds[of] for of in names} == dict(
        zip(NAMES, ("37", "39", "46", "43", "50"), strict=True)  # counted from 1
    )
    assert {of.get("id") for of in root.iter("instrument")} <= set(sounds)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 24), st.integers(0, 4)), max_size=80),
    st.sampled_from([None, 1, 2, 3, 4, 6, 8]),
    st.sampled_from([2, 3, 4, 5]),
    st.booleans(),
)
def test_bars_are_full_and_no_hit_is_lost(hits, steps_per_beat, beats_per_bar, align):
    transcribed = at_positions(hits, 24)
    options = NotationOptions(
        tempo=120.0, beats_per_bar=beats_per_bar, align_downbeat=align, steps_per_beat=steps_per_beat
    )
    root = score_of(transcribed, options)
    struck = 0
    for measure in root.findall("part/measure"):
        notes = list(measure.iter("note"))
        length = sum(int(of.findtext("duration") or 0) for of in notes if of.find("chord") is None)
        if measure.get("number") == "0":
            assert length % DIVISIONS == 0
        else:
            assert length == beats_per_bar * DIVISIONS
        struck += sum(of.find("unpitched") is not None for of in notes)
        for level in "123":
            beams = [of.text for of in measure.iter("beam") if of.get("number") == level]
            assert beams.count("begin") == beams.count("end")
        tuplets = [of.get("type") for of in measure.iter("tuplet")]
        assert tuplets == ["start", "stop"] * (len(tuplets) // 2)
    timeline = timeline_of(transcribed, options, always=True)
    grid = quantise(transcribed, timeline, steps_per_beat)
    assert len(grid.beats) + grid.merged == len(transcribed.onsets)
    assert struck == len(grid.beats)


def test_hits_on_one_place_become_one_and_are_counted():
    transcribed = at_positions([(0, KICK), (0.02, KICK), (0.02, SNARE), (1, KICK)], 4)
    grid = quantise(transcribed, Timeline.steady(2.0))
    assert grid.merged == 1
    assert grid.beats.tolist() == [0, 0, 1]


def test_the_reader_of_corpora_hears_what_was_written(tmp_path):
    """Through partitura: times, as quantised, and pieces of the kit."""
    hits = [(beat / 2, HAT) for beat in range(32)] + [(beat, SNARE if beat % 2 else KICK) for beat in range(16)]
    path = tmp_path / "a.musicxml"
    WRITERS["musicxml"].write(at_positions(hits, 16), path, NotationOptions(tempo=120.0))
    labels = read_labels(path)
    pitches = {KICK: "36", SNARE: "38", HAT: "42"}
    found = sorted(zip(np.round(labels.times_s, 3).tolist(), labels.labels, strict=True))
    assert found == sorted((round(at / 2, 3), pitches[of]) for at, of in hits)


def test_the_engraver_draws_every_hit(tmp_path):
    path = tmp_path / "a.svg"
    transcribed = at_positions(BAR, 8)
    WRITERS["staff"].write(transcribed, path, NotationOptions(tempo=120.0))
    root = ElementTree.fromstring(path.read_text())
    kinds = [of for element in root.iter() for of in element.get("class", "").split()]
    assert kinds.count("notehead") == len(BAR)
    assert kinds.count("measure") == 2
    assert kinds.count("tuplet") == 1
    assert kinds.count("beam") == 2
    assert "script" not in {element.tag.rsplit("}")[-1] for element in root.iter()}


@pytest.mark.parametrize("name", ["musicxml", "staff"])
def test_a_title_is_text(tmp_path, name):
    transcribed = Transcribed(Onsets.of(np.ones(1), np.zeros(1)), NAMES, 3.0, "<script>alert(1)</script> & \x1b[31m")
    path = tmp_path / "a"
    WRITERS[name].write(transcribed, path, NotationOptions())
    content = path.read_text()
    assert "<script" not in content
    assert "\x1b" not in content
    ElementTree.fromstring(content)


def test_triplets_where_they_fit_and_given_grids():
    transcribed = at_positions([(0, HAT), (0.66, HAT), (1, HAT), (1.5, HAT), (2.05, HAT)], 4)
    counts = dict(zip((of := quantise(transcribed, Timeline.steady(2.0))).beats, of.steps_per_beat, strict=True))
    assert counts == {0: 3, 1: 4, 2: 4}
    given_one = quantise(transcribed, Timeline.steady(2.0), 8)
    assert set(given_one.steps_per_beat) == {8}
    assert given_one.steps.tolist() == [0, 5, 0, 4, 0]
