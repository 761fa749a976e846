"""Scores made in the test: labels, times, what is played how often, and every refusal."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import musicxml, read_labels, xml
from data_prep.annotations.playing_order import EndlessError, Marks, playing_order
from data_prep.annotations.staff import PITCHES
from data_prep.refused import Refused

ROOT = Path(__file__).parents[3]
INSTRUMENTS = """<score-instrument id="I1"><instrument-name>Kick</instrument-name></score-instrument>
<midi-instrument id="I1"><midi-channel>10</midi-channel><midi-unpitched>37</midi-unpitched></midi-instrument>
<midi-instrument id="I2"><midi-channel>10</midi-channel><midi-unpitched>39</midi-unpitched></midi-instrument>"""


def note(place="C5", duration=1, head="", more="", before="", attributes=""):
    head = f"<notehead>{head}</notehead>" if head else ""
    shown = f"<display-step>{place[0]}</display-step><display-octave>{place[1:]}</display-octave>" if place else ""
    length = "" if "<grace" in before else f"<duration>{duration}</duration>"
    return f"<note {attributes}>{before}<unpitched>{shown}</unpitched>{length}{more}{head}</note>"


def rest(duration):
    return f"<note><rest/><duration>{duration}</duration></note>"


def sound(**attributes):
    words = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<direction><direction-type><words>x</words></direction-type><sound {words}/></direction>"


def part(*measures, name="P1", divisions=1):
    first = f"<attributes><divisions>{divisions}</divisions></attributes>"
    body = "".join(
        f'<measure number="{number}">{first if number == 1 else ""}{measure}</measure>'
        for number, measure in enumerate(measures, start=1)
    )
    return f'<part id="{name}">{body}</part>'


def score(*parts, instruments=""):
    listed = "".join(
        f'<score-part id="P{number}"><part-name>x</part-name>{instruments if number == 1 else ""}</score-part>'
        for number in range(1, len(parts) + 1)
    )
    return f'<?xml version="1.0"?><score-partwise><part-list>{listed}</part-list>{"".join(parts)}</score-partwise>'


def read(tmp_path, content, suffix=".musicxml"):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path)


def test_times_and_places(tmp_path):
    labels = read(tmp_path, score(part(note("F4") + note("C5", 2) + rest(1), note("G5", 4, "x"))))
    assert labels.labels == ("36", "38", "42")
    assert labels.times_s.tolist() == [0, 0.5, 2]  # 120 quarters a minute where no mark says otherwise
    assert np.isnan(labels.velocities).all()


def test_voices_chords_grace_notes_ties(tmp_path):
    chord, grace = "<chord/>", '<grace slash="yes"/>'
    tied, end = '<tie type="start"/>', '<tie type="stop"/>'
    measure = (
        note("G5", 2, "x") + note("F4", 2, before=chord) + rest(1) + note("C5", 0, before=grace) + note("C5", 1)
        + "<backup><duration>3</duration></backup><forward><duration>1</duration></forward>"
        + note("D5", 2, more=tied)
    )  # fmt: skip
    labels = read(tmp_path, score(part(measure, note("D5", 2, more=end + tied), note("D5", 2, more=end) + note("D5"))))
    assert list(zip(labels.times_s.tolist(), labels.labels, strict=True)) == [
        (0, "42"),
        (0, "36"),
        (1, "47"),
        (1.5, "38"),
        (1.5, "38"),
        (4, "47"),
    ]


def test_places_of_the_table(tmp_path):
    heads = {"": "normal", "x": "x", "circle": "circle-x", "diamond": "diamond", "triangle": "triangle"}
    notes = "".join(note(place, 1, heads[head]) for place, head in PITCHES)
    assert read(tmp_path, score(part(notes))).labels == tuple(map(str, PITCHES.values()))
    assert read(tmp_path, score(part(note("C9", 1, "x") + note("")))).labels == ("C9 x", "unpitched normal")


def test_pitches_have_classes():
    from data_prep.classes import class_map

    known = class_map("general_midi")
    assert not {str(pitch) for pitch in PITCHES.values()} - set(known)


def test_instruments(tmp_path):
    kick, snare, other = (f'<instrument id="I{number}"/>' for number in (1, 2, 3))
    measure = note(more=kick) + note("F4", more=snare) + note("F4", more=other) + note("G5", head="x")
    assert read(tmp_path, score(part(measure), instruments=INSTRUMENTS)).labels == ("36", "38", "36", "42")
    one = INSTRUMENTS.splitlines()[1]  # the only instrument of a part plays all of it
    assert read(tmp_path, score(part(note("E5")), instruments=one)).labels == ("36",)
    broken = INSTRUMENTS.replace("37", "129").replace("39", "x")
    assert read(tmp_path, score(part(note("F4", more=snare)), instruments=broken)).labels == ("36",)


def test_pitched_drums_and_other_parts(tmp_path):
    pitched = "<note><pitch><step>D</step>{}<octave>2</octave></pitch><duration>1</duration></note>"
    drums = pitched.format("") + pitched.format("<alter>1</alter>")
    channel = "<midi-instrument><midi-channel>10</midi-channel></midi-instrument>"
    assert read(tmp_path, score(part(drums), instruments=channel)).labels == ("38", "39")
    both = score(part(drums), part(note("F4", 2), name="P2"), part(note("G5", 1, "x"), name="P3"))
    assert read(tmp_path, both).labels == ("36", "42")


def test_loudness_and_cues(tmp_path):
    measure = note(attributes='dynamics="100"') + note(attributes='dynamics="500"') + note(before="<cue/>") + note()
    labels = read(tmp_path, score(part(measure)))
    np.testing.assert_allclose(labels.velocities, [90 / 127, 1, np.nan], rtol=1e-6)
    assert labels.times_s.tolist() == [0, 0.5, 1.5]


def test_tempo_marks(tmp_path):
    metronome = (
        "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/>"
        "<per-minute>ca. 40</per-minute></metronome></direction-type></direction>"
    )
    drums = part(note() + sound(tempo="60") + note() + note(), note() + note() + note(), note())
    guitar = part(rest(3), rest(1) + metronome + rest(2), '<sound tempo="30"/>' + rest(3), name="P2")
    labels = read(tmp_path, score(drums, guitar))
    assert labels.times_s.tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    # where only a forward leads to the mark, and nothing is struck
    alone = (
        "<forward><duration>2</duration></forward>" + sound(tempo="60") + "<forward><duration>2</duration></forward>"
    )
    assert read(tmp_path, score(part(alone, note()))).times_s.tolist() == [3]


def test_a_mark_within_a_chord(tmp_path):
    chord = note("F4", 2) + sound(tempo="60") + note("G5", 2, "x", before="<chord/>") + note()
    assert read(tmp_path, score(part(chord))).times_s.tolist() == [0, 0, 1]


def test_marks_in_a_score_without_length(tmp_path):
    """Found by fuzzing: partitura's clock fails on single times there."""
    assert read(tmp_path, score(part(sound(tempo="90") + note(duration=0)))).times_s.tolist() == [0]


def test_divisions(tmp_path):
    change = "<attributes><divisions>4</divisions></attributes>"
    labels = read(tmp_path, score(part(note() + change + note(duration=2) + note(duration=2), note("F4"), divisions=2)))
    assert labels.times_s.tolist() == [0, 0.25, 0.5, 0.75]


def test_measures_are_as_long_as_the_longest_part(tmp_path):
    drums = part(note(duration=2), note())
    other = part(sound(tempo="60") + rest(4), rest(4), name="P2")
    assert read(tmp_path, score(drums, other)).times_s.tolist() == [0, 4]


def bar(repeat="", ending=None, location="right"):
    ended = "" if ending is None else f'<ending number="{ending[0]}" type="{ending[1]}"/>'
    return f'<barline location="{location}">{ended}{repeat}</barline>'


BACK, FORTH = '<repeat direction="backward"/>', '<repeat direction="forward"/>'


def ending(numbers, body, repeat=""):
    return bar(ending=(numbers, "start"), location="left") + body + bar(repeat, ending=(numbers, "stop"))


@pytest.mark.parametrize(
    ("measures", "played"),
    [
        (["A", "B"], "AB"),
        (["A", "B" + bar(BACK), "C"], "ABABC"),
        (["A", bar(FORTH, location="left") + "B", "C" + bar(BACK), "D"], "ABCBCD"),
        (["A" + bar(BACK), "B" + bar(BACK), "C"], "AABBC"),
        (["A" + bar(BACK.replace("/", ' times="4"/')), "B"], "AAAAB"),
        (["A", ending("1", "B", BACK), ending("2", "C"), "D"], "ABACD"),
        (["A", ending("1, 2", "B", BACK), ending("3", "C"), "D"], "ABABACD"),
        (["A", ending("1", "B", BACK), ending("2", "C", BACK), "D"], "ABACD"),
        (["A", ending("1", "B", BACK), ending("2", "C", BACK), ending("3", "D"), "A"], "ABACADA"),
        (["A", ending("1", "B", BACK), "C"], "ABAC"),
        (["A", ending("1", "B", BACK), ending("2", "C"), "D" + bar(BACK), "A"], "ABACDDA"),
        (["A", bar(ending=("1", "start"), location="left") + "B", "C" + bar(BACK, ("1", "stop")), "D"], "ABCAD"),
        (["A", "B" + sound(fine="yes"), "C" + sound(dacapo="yes"), "D"], "ABCAB"),
        (["A" + bar(BACK), "B" + sound(dacapo="yes")], "AABAB"),
        (["A", ending("1", "B", BACK), ending("2", "C"), "D" + sound(dacapo="yes")], "ABACDACD"),
        (
            ["A", sound(segno="a") + "B" + sound(tocoda="c"), "C" + sound(dalsegno="a"), sound(coda="c") + "D"],
            "ABCBD",
        ),
        (["A" + sound(dacapo="yes"), "B"], "AAB"),
    ],
)
def test_repeats(tmp_path, measures, played):
    places = {"A": "F4", "B": "C5", "C": "G4", "D": "F5"}
    letters = {"36": "A", "38": "B", "41": "C", "50": "D"}
    written = []
    for measure in measures:
        letter = next(letter for letter in measure.replace("BACK", "") if letter in places)
        written.append(measure.replace(letter, note(places[letter], 4), 1))
    labels = read(tmp_path, score(part(*written)))
    assert "".join(letters[label] for label in labels.labels) == played
    assert labels.times_s.tolist() == [2.0 * number for number in range(len(played))]


def test_tempo_of_a_repeat_is_that_of_its_place(tmp_path):
    labels = read(tmp_path, score(part(note(), sound(tempo="60") + note() + bar(BACK), note())))
    assert labels.times_s.tolist() == [0, 0.5, 1.5, 2, 3]


def test_repeats_without_end(tmp_path, monkeypatch):
    hundred = [Marks(times=100)] * 2000
    with pytest.raises(EndlessError):
        playing_order(hundred)
    monkeypatch.setattr(musicxml, "MAX_LABELS", 1000)
    with pytest.raises(Refused, match=r"its repeats come to more than 1,000 hits"):
        read(tmp_path, score(part(*[note() * 11 + bar(BACK.replace("/", ' times="100"/'))])))


def test_a_whole_song(tmp_path):
    """Times of a random song, against the arithmetic that wrote it."""
    draw = np.random.default_rng(3)
    measures, expected, now_s, tempo = [], [], 0.0, 120
    for _ in range(60):
        body = ""
        if draw.random() < 0.2:
            tempo = int(draw.integers(40, 240))
            body += sound(tempo=tempo)
        voices = []
        for place in ("G5", "F4"):
            at, voice = 0, ""
            while at < 16:
                duration = min(int(draw.integers(1, 6)), 16 - at)
                if draw.random() < 0.6:
                    voice += note(place, duration, "x" if place == "G5" else "")
                    expected.append((now_s + at / 4 * 60 / tempo, "42" if place == "G5" else "36"))
                else:
                    voice += rest(duration)
                at += duration
            voices.append(voice)
        measures.append(body + "<backup><duration>16</duration></backup>".join(voices))
        now_s += 4 * 60 / tempo
    labels = read(tmp_path, score(part(*measures, divisions=4)))
    by_label = sorted((label, time) for time, label in expected)
    found = sorted(zip(labels.labels, labels.times_s.tolist(), strict=True))
    assert [label for label, _ in found] == [label for label, _ in by_label]
    np.testing.assert_allclose([time for _, time in found], [time for _, time in by_label], atol=1e-9)
    assert (np.diff(labels.times_s) >= 0).all()


def zipped(*entries, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


CONTAINER = '<container><rootfiles><rootfile full-path="a.xml"/></rootfiles></container>'


def test_compressed(tmp_path):
    content = zipped(("META-INF/container.xml", CONTAINER), ("a.xml", score(part(note()))))
    assert read(tmp_path, content, ".mxl").labels == ("38",)
    assert read(tmp_path, score(part(note())), ".mxl").labels == ("38",)
    utf_16 = score(part(note())).replace("?>", ' encoding="UTF-16"?>').encode("utf-16")
    assert read(tmp_path, utf_16, ".xml").labels == ("38",)
    doctype = '?><!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://x/y.dtd">'
    assert read(tmp_path, score(part(note())).replace("?>", doctype), ".xml").labels == ("38",)


LAUGHS = "<!DOCTYPE a [" + '<!ENTITY a "ha">' + "]><score-partwise>&a;</score-partwise>"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is no XML"),
        ("<score-partwise>", "is no XML"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "is no XML"),
        (b"<a>\xff</a>", "is no XML"),
        ("<a>&b;</a>", "is no XML"),
        (LAUGHS, "has declarations of entities"),
        (LAUGHS.encode("utf-16"), "has declarations of entities"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "has declarations of entities"),
        ('<!DOCTYPE a [<!ENTITY % b SYSTEM "http://localhost/">%b;]><a/>', "has declarations of entities"),
        ("<a>" * 5000, "has more than 100 levels"),
        ("<a>" + "<b/>" * 2000 + "</a>", "has more than 2000 elements"),
        ("<html/>", r"cannot be played \(it is 'html', not 'score-partwise'\)"),
        (score(), "it has no unpitched notes"),
        (score(part(rest(4))), "it has no unpitched notes"),
        (score(part(note(duration="x"))), "it has a duration of 'x'"),
        (score(part(note(duration="0.5"))), "it has a duration of '0.5'"),
        (score(part(note(duration="-1"))), "it has a duration of '-1'"),
        (score(part(note(duration="9" * 400))), "it has a duration of"),
        (score(part(note() + sound(tempo="0"))), "it has a tempo of 0.0"),
        (score(part(note() + sound(tempo="nan"))), "it has a tempo of nan"),
        (score(part(note(duration=1_000_000))), "it lasts 500000 s, longer than a day"),
        (score(part(note() * 200)), "it has more than 200 notes"),
        (
            score(part('<attributes><measure-style><measure-repeat type="start">1</measure-repeat></measure-style>'
            "</attributes>" + note())),
            "it has a measure-repeat: write out what is to be played",
        ),
        (zipped(("a.xml", "x")), "cannot be unpacked"),
        (zipped(("META-INF/container.xml", CONTAINER)), "cannot be unpacked"),
        (zipped(("META-INF/container.xml", "<a/>")), "its container names no score"),
        (zipped(("META-INF/container.xml", CONTAINER), ("a.xml", bytes(17_000_000))), "a.xml is larger than 16,777"),
        (zipped(*((str(number), "") for number in range(1001))), "it has more than 1000 entries"),
        (b"PK\x03\x04 and nothing", "cannot be unpacked"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(xml, "MAX_ELEMENTS", 2000)
    monkeypatch.setattr("data_prep.annotations.score.MAX_EVENTS", 200)
    with pytest.raises(Refused, match=rf"a\.mxl .*{reason}.*; expected a partwise MusicXML score with a drum staff: "):
        read(tmp_path, content, ".mxl")


def test_a_zip_that_lies_about_its_size(tmp_path):
    content = bytearray(zipped(("META-INF/container.xml", CONTAINER), ("a.xml", bytes(17_000_000))))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.rindex(mark)
        content[at + offset : at + offset + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(Refused, match="cannot be unpacked"):
        read(tmp_path, bytes(content), ".mxl")


def test_nothing_to_hear(tmp_path):
    channel = "<midi-instrument><midi-channel>10</midi-channel></midi-instrument>"
    assert len(read(tmp_path, score(part(rest(4)), instruments=channel))) == 0
    assert len(read(tmp_path, score(part(), instruments=channel))) == 0
    assert len(read(tmp_path, score(part(""), instruments=channel))) == 0


def test_partitura_is_loaded_late_and_without_fluidsynth(tmp_path):
    """It takes two seconds, and next to pyfluidsynth it would download a sound font."""
    (tmp_path / "fluidsynth.py").write_text("print('fluidsynth'); Synth = object")
    (tmp_path / "a.xml").write_text(score(part(note())))
    code = (
        "import sys, pathlib, data_prep.annotations as annotations; print('partitura' in sys.modules)\n"
        f"print(annotations.read_labels(pathlib.Path({str(tmp_path / 'a.xml')!r})).labels)\n"
        "import fluidsynth"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n('38',)\nfluidsynth\n", done.stderr
