"""Files of transcriptions, read back by readers that know nothing of how they were written."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import jams
import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import read_labels
from data_prep.classes import VOCABULARIES
from data_prep.onsets import Onsets
from data_prep.refused import Refused
from trainables.notation import (
    NOTE_MAPS,
    WRITERS,
    NotationOptions,
    NoteMap,
    Transcribed,
    beats,
    has_beats,
    read_note_map,
)

BEAT_S = 60 / 96
IN_BARS = NotationOptions(tempo="estimate", align_downbeat=True)
OPTIONS = (NotationOptions(), NotationOptions(tempo=97.3, beats_per_bar=3), IN_BARS)


def groove(bars: int = 8, from_s: float = 0.83, classes: int = 5) -> Transcribed:
    """Kick on 1 and 3, snare on 2 and 4, hi-hat on eighths, a crash at the beginning; at 96 beats a minute."""
    names = VOCABULARIES[classes]
    hits = [(0.0, names.index("cymbals" if classes == 5 else "hi-hat"))]
    for beat in range(4 * bars):
        hits += [(beat, names.index("snare" if beat % 2 else "kick"))]
        hits += [(beat + eighth, names.index("hi-hat")) for eighth in (0, 0.5)]
    positions, of = np.array(hits).T
    strengths = np.linspace(0.3, 1, len(hits))
    onsets = Onsets.of(from_s + positions * BEAT_S, of, strengths).merged()
    return Transcribed(onsets, names, from_s + 4 * bars * BEAT_S + 1, "a groove & <more> $x$ ☃")


def played(path) -> list[tuple[float, int, int]]:
    """Seconds, pitch and velocity of what mido plays."""
    now_s, found = 0.0, []
    for message in mido.MidiFile(path):
        now_s += message.time
        if message.type == "note_on" and message.velocity:
            assert message.channel == 9
            found.append((now_s, message.note, message.velocity))
    return found


@pytest.mark.parametrize("options", OPTIONS)
def test_midi_sounds_when_it_was_heard(tmp_path, options):
    transcribed = groove()
    WRITERS["midi"].write(transcribed, tmp_path / "a.mid", options)
    found = sorted(played(tmp_path / "a.mid"))
    assert len(found) == len(transcribed.onsets)
    assert np.abs(np.array([of[0] for of in found]) - transcribed.onsets.times_s).max() < 1e-3
    gm = NOTE_MAPS["gm"]
    assert Counter(of[1] for of in found) == Counter(gm[transcribed.classes[of]] for of in transcribed.onsets.classes)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 40), st.integers(0, 4), st.floats(0, 1)), max_size=60),
    st.sampled_from([None, 20.0, 61.7, 400.0, "estimate"]),
    st.booleans(),
    st.sampled_from([1, 3, 4, 7]),
)
def test_times_stand_through_any_tempo_map(tmp_path_factory, hits, tempo, align, beats_per_bar):
    columns = np.array(hits, float).reshape(-1, 3).T
    onsets = Onsets.of(columns[0], columns[1], columns[2]).merged()
    transcribed = Transcribed(onsets, VOCABULARIES[5], 10.0)
    path = tmp_path_factory.getbasetemp() / "any.mid"
    options = NotationOptions(tempo=tempo, align_downbeat=align, beats_per_bar=beats_per_bar)
    WRITERS["midi"].write(transcribed, path, options)
    found = np.sort([of[0] for of in played(path)])
    assert len(found) == len(onsets)
    assert not len(found) or np.abs(found - onsets.times_s).max() < 1e-3


def test_bars_of_a_midi_file_stand_on_downbeats(tmp_path):
    transcribed = groove()
    WRITERS["midi"].write(transcribed, tmp_path / "a.mid", IN_BARS)
    file = mido.MidiFile(tmp_path / "a.mid")
    tick, signs, kicks = 0, [], []
    for message in file.tracks[0]:
        tick += message.time
        if message.type == "time_signature":
            signs.append((tick, message.numerator, message.denominator))
        if message.type == "note_on" and message.velocity and message.note == 36:
            kicks.append(tick)
    assert [of[1:] for of in signs] in ([(1, 4), (4, 4)], [(2, 4), (4, 4)])  # 0.83 s are 1.3 beats
    bar = 4 * file.ticks_per_beat
    into_bars = np.array([(tick - signs[-1][0]) % bar / file.ticks_per_beat for tick in kicks])
    assert np.abs(into_bars - np.rint(into_bars)).max() < 0.04  # a beat is known to a frame
    assert Counter(np.rint(into_bars).astype(int) % 4) == {0: 8, 2: 8}


def test_velocity_rises_with_strength_or_is_fixed(tmp_path):
    transcribed = Transcribed(Onsets.of(np.arange(11.0), np.zeros(11), np.linspace(0, 1, 11)), ("kick",), 12.0)
    WRITERS["midi"].write(transcribed, tmp_path / "a.mid", NotationOptions())
    loud = [of[2] for of in played(tmp_path / "a.mid")]
    assert all(before < after for before, after in pairwise(loud))
    assert (loud[0], loud[5], loud[10]) == (1, 68, 118)
    WRITERS["midi"].write(transcribed, tmp_path / "a.mid", NotationOptions(velocity=77))
    assert {of[2] for of in played(tmp_path / "a.mid")} == {77}


def test_the_table_has_what_was_heard(tmp_path):
    transcribed = groove()
    WRITERS["csv"].write(transcribed, tmp_path / "a.csv", NotationOptions())
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert list(rows[0]) == ["time_s", "class", "strength", "velocity", "pitch"]
    first = {"time_s": "0.830", "class": "kick", "strength": "0.3073", "velocity": "47", "pitch": "36"}
    assert rows[0] == first
    assert [float(row["time_s"]) for row in rows] == pytest.approx(transcribed.onsets.times_s, abs=6e-4)
    WRITERS["csv"].write(transcribed, tmp_path / "a.csv", IN_BARS)
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    snares = [(int(row["bar"]), float(row["beat"])) for row in rows if row["class"] == "snare"]
    assert [bar for bar, _ in snares] == [bar for bar in range(1, 9) for _ in range(2)]
    assert [beat for _, beat in snares] == pytest.approx([2, 4] * 8, abs=0.04)


@pytest.mark.parametrize("options", OPTIONS)
def test_jams_holds_classes_pitches_and_beats(tmp_path, options):
    transcribed = groove()
    WRITERS["jams"].write(transcribed, tmp_path / "a.jams", options)
    jam = jams.load(str(tmp_path / "a.jams"), validate=True, strict=True)
    assert jam.file_metadata.duration == pytest.approx(transcribed.seconds)
    tags, notes = jam.search(namespace="tag_open")[0].data, jam.search(namespace="note_midi")[0].data
    assert [of.time for of in tags] == pytest.approx(transcribed.onsets.times_s)
    names = [transcribed.classes[of] for of in transcribed.onsets.classes]
    assert Counter(of.value for of in tags) == Counter(names)
    assert [of.confidence for of in notes] == pytest.approx(transcribed.onsets.velocities, abs=1e-4)
    assert bool(jam.search(namespace="beat")) == bool(jam.search(namespace="tempo")) == (options.tempo is not None)
    if options is IN_BARS:
        found = [(of.time, of.value) for of in jam.search(namespace="beat")[0].data]
        ones = np.array([time for time, value in found if value == 1])
        assert [value for _, value in found] == [at % 4 + 1 for at in range(len(found))]
        assert found[0][0] == pytest.approx(0.83, abs=0.02)  # what is before it is no whole beat
        into_bars = (ones - 0.83 + 2 * BEAT_S) % (4 * BEAT_S) - 2 * BEAT_S
        assert np.abs(into_bars).max() < 0.02
        assert jam.search(namespace="tempo")[0].data[0].value == pytest.approx(96, rel=0.02)
    for of in jam.search(namespace="tempo"):
        assert (of.data[0].confidence == 1) == (options.tempo == 97.3)


def kicks(times_s: list[float], seconds: float) -> Transcribed:
    return Transcribed(Onsets.of(np.array(times_s), np.zeros(len(times_s))), VOCABULARIES[5], seconds)


def beats_in(path) -> list[tuple[float, float]]:
    return [(round(of.time, 3), of.value) for of in jams.load(str(path)).search(namespace="beat")[0].data]


@pytest.mark.parametrize(
    ("from_s", "align", "told"),
    [
        (0.2, True, [(0.2, 1), (0.7, 2), (1.2, 3), (1.7, 4), (2.2, 1)]),  # the beginning is no beat
        (0.2, False, [(0.0, 1), (0.5, 2), (1.0, 3), (1.5, 4), (2.0, 1)]),  # the tempo is taken as given
        (1.0, True, [(0.0, 3), (0.5, 4), (1.0, 1), (1.5, 2), (2.0, 3)]),
        (0.4, True, [(0.4, 1), (0.9, 2), (1.4, 3), (1.9, 4), (2.4, 1)]),
    ],
)
def test_beats_are_beats_and_not_where_the_recording_begins(tmp_path, from_s, align, told):
    transcribed = kicks([from_s + 2 * bar for bar in range(6)], 12.0)
    options = NotationOptions(tempo=120.0, align_downbeat=align)
    WRITERS["jams"].write(transcribed, tmp_path / "a.jams", options)
    assert beats_in(tmp_path / "a.jams")[:5] == told
    timeline = beats.timeline_of(transcribed, options)
    assert timeline is not None
    _, in_bars = timeline.bars_of(timeline.positions_of(np.array([at for at, _ in told])))  # tables count alike
    assert in_bars == pytest.approx([value for _, value in told])


def test_where_no_tempo_is_found_none_is_told(tmp_path):
    transcribed, options = kicks([1.0, 2.0, 20.0], 30.0), NotationOptions(tempo="estimate")
    assert not has_beats(transcribed, options)
    for name in ("jams", "csv", "midi", "roll", "staff"):
        WRITERS[name].write(transcribed, tmp_path / name, options)
    jam = jams.load(str(tmp_path / "jams"), strict=True, fmt="json")
    assert {of.namespace for of in jam.annotations} == {"tag_open", "note_midi"}
    rows = list(csv.DictReader((tmp_path / "csv").open()))
    assert [(row["time_s"], row["bar"], row["beat"]) for row in rows] == [
        (at, "", "") for at in ("1.000", "2.000", "20.000")
    ]
    assert tempos(tmp_path / "midi") == [500_000]
    plain = tmp_path / "plain"
    WRITERS["roll"].write(transcribed, plain, NotationOptions())
    assert (tmp_path / "roll").read_bytes() == plain.read_bytes()  # no bar lines


def tempos(path) -> list[int]:
    return [of.tempo for of in mido.MidiFile(path) if of.type == "set_tempo"]


@pytest.mark.parametrize(("tempo", "us"), [(None, 500_000), (120.0, 500_000), (96.0, 625_000), (240.0, 250_000)])
@pytest.mark.parametrize("seconds", [0.0, 21.37, 3601.234])
def test_a_given_tempo_is_the_only_one(tmp_path, tempo, us, seconds):
    WRITERS["midi"].write(kicks([0.37, 0.9, 5.11], seconds), tmp_path / "a.mid", NotationOptions(tempo=tempo))
    assert tempos(tmp_path / "a.mid") == [us]


def test_beats_are_looked_for_once_for_all_writers(tmp_path, monkeypatch):
    looked: list[str] = []

    def counted(find: Callable[..., Any]) -> Callable[..., Any]:
        def count(*given: Any) -> Any:
            looked.append(find.__name__)
            return find(*given)

        return count

    for name in ("estimated_beats", "steady_beats"):
        monkeypatch.setattr(beats, name, counted(getattr(beats, name)))
    transcribed = groove()
    for options in (IN_BARS, NotationOptions(), NotationOptions(tempo=96.0, align_downbeat=True)):
        for name, writer in WRITERS.items():
            writer.write(transcribed, tmp_path / name, options)
    assert looked == ["estimated_beats", "steady_beats"]
    WRITERS["csv"].write(groove(bars=7), tmp_path / "csv", IN_BARS)
    assert len(looked) == 3


def test_two_classes_of_one_pitch_do_not_cut_each_other(tmp_path):
    onsets = Onsets.of(
        np.array([1.0, 1.05, 2.0, 2.0, 3.0, 3.01]), np.array([3, 4, 3, 4, 4, 3]), np.array([0.5] * 5 + [1])
    )
    options = NotationOptions(NoteMap("own", {"kick": 36, "snare": 38, "toms": 45, "hi-hat": 42, "cymbals": 42}))
    WRITERS["midi"].write(Transcribed(onsets, VOCABULARIES[5], 4.0), tmp_path / "a.mid", options)
    now_s, told = 0.0, []
    for message in mido.MidiFile(tmp_path / "a.mid"):
        now_s += message.time
        if message.type in ("note_on", "note_off"):
            told.append((round(now_s, 3), message.type == "note_on", message.velocity))
    assert told == [
        *((1.0, True, 68), (1.05, False, 0), (1.05, True, 68), (1.15, False, 0)),
        *((2.0, True, 68), (2.1, False, 0), (3.0, True, 118), (3.1, False, 0)),
    ]


@pytest.mark.parametrize("suffix", [".mid", ".csv", ".jams"])
def test_the_readers_of_corpora_read_it(tmp_path, suffix):
    transcribed = groove()
    writer = next(of for of in WRITERS.values() if of.suffix == suffix)
    path = tmp_path / f"a{suffix}"
    writer.write(transcribed, path, IN_BARS)
    assert sorted(read_labels(path).times_s) == pytest.approx(transcribed.onsets.times_s, abs=1e-3)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_silence_is_a_file(tmp_path, name, options, seconds):
    nothing = Transcribed(Onsets.of(np.array([]), np.array([])), VOCABULARIES[8], seconds)
    path = tmp_path / f"a{WRITERS[name].suffix}"
    WRITERS[name].write(nothing, path, options)
    content = path.read_bytes()
    if name == "midi":
        assert played(path) == []
    elif name == "csv":
        assert len(content.splitlines()) == 1
    elif name == "jams":
        assert not jams.load(str(path), strict=True).search(namespace="tag_open")[0].data
    elif name in ("musicxml", "staff"):
        ElementTree.fromstring(content)
    else:
        assert content.startswith(b"\x89PNG")
    assert [of.name for of in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("classes", VOCABULARIES)
def test_every_vocabulary_and_map_has_files(tmp_path, name, classes):
    names = VOCABULARIES[classes]
    onsets = Onsets.of(0.5 + np.arange(3 * len(names)) / 4, np.tile(np.arange(len(names)), 3))  # strengths unknown
    for map_name in NOTE_MAPS:
        options = NotationOptions(read_note_map(map_name), tempo=120.0)
        path = tmp_path / f"{map_name}{WRITERS[name].suffix}"
        WRITERS[name].write(Transcribed(onsets, names, 8.0), path, options)
        assert path.stat().st_size
        if name == "midi":
            assert [of[1] for of in played(path)] == [NOTE_MAPS[map_name][of] for of in names] * 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"kick": 36, "gong": 52}', "unknown class 'gong'; choose from kick"),
        ('{"kick": 128}', "gives kick the pitch '128'; expected a whole number 0 to 127"),
        ('{"kick": -1}', "gives kick the pitch '-1'"),
        ('{"kick": true}', "gives kick the pitch 'True'"),
        ('{"kick": 36.5}', "gives kick the pitch '36.5'"),
        ('{"kick": 36, "kick": 35}', "a class is there twice"),
        ("kick: 36", "no JSON in UTF-8"),
        ("[" * 60_000, "no JSON in UTF-8"),
        ("[36]", "holds no classes"),
        ("{}", "holds no classes"),
        ('"' + " " * 70_000 + '"', "at most 65,536 are read"),
    ],
)
def test_note_maps_that_are_none_are_refused(tmp_path, content, sentence):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(Refused, match=sentence):
        read_note_map(str(tmp_path / "map.json"))


def test_a_note_map_of_ones_own(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"kick": 35, "snare": 40, "hi-hat": 44}))
    options = NotationOptions(read_note_map(str(tmp_path / "map.json")))
    WRITERS["midi"].write(groove(classes=3), tmp_path / "a.mid", options)
    assert {of[1] for of in played(tmp_path / "a.mid")} == {35, 40, 44}
    with pytest.raises(Refused, match="has no pitch for class 'toms', which the checkpoint hears"):
        WRITERS["midi"].write(groove(), tmp_path / "b.mid", options)
    assert not (tmp_path / "b.mid").exists()
    with pytest.raises(Refused, match="no note map yamaha; choose from gm, roland, or give a JSON file that there is"):
        read_note_map("yamaha")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tempo": 7.0}, "a tempo of 7 beats a minute; expected 20 to 400, or 'estimate'"),
        ({"tempo": float("nan")}, "a tempo of nan"),
        ({"tempo": "fast"}, "a tempo of 'fast'"),
        ({"beats_per_bar": 0}, "0 beats in a bar; expected 1 to 16"),
        ({"velocity": 128}, "a velocity of 128; expected 1 to 127"),
        ({"steps_per_beat": 5}, "a grid of 5 steps a beat; choose from 1, 2, 3, 4, 6, 8"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(Refused, match=sentence):
        NotationOptions(**options)
