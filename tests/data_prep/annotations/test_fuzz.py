"""Every reader on broken input: labels or one sentence, nothing else, and soon."""

import io
import json
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.annotations import READERS, Labels, read_labels
from data_prep.annotations.labels import MAX_SECONDS
from data_prep.annotations.mapping import read_mapping
from data_prep.annotations.playing_order import EndlessError, Marks, playing_order
from data_prep.refused import Refused

fuzz = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
TAGS = (
    *("measure", "note", "backup", "forward", "attributes", "divisions", "duration", "chord", "rest", "grace", "tie"),
    *("unpitched", "display-step", "pitch", "step", "octave", "alter", "direction", "sound", "barline", "repeat"),
    *("ending", "instrument", "notehead", "metronome", "per-minute"),
)
ATTRIBUTES = (
    *("number", "type", "tempo", "direction", "times", "location", "id", "dynamics"),
    *("segno", "tocoda", "dacapo", "dalsegno", "fine"),
)
LEAPS = ("segno", "coda", "to_coda", "fine", "da_capo", "dal_segno")
words = st.sampled_from(["KD", "0.5", "36", "-1", "nan", "1e999", "", "#", '"', "ä", "\0", "time", "label", "velocity"])
any_text = st.text(max_size=20)


def check(folder: Path, suffix: str, content: bytes) -> Labels | None:
    """The labels, whole and sound, or None where the file is refused with one line of text."""
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    try:
        labels = read_labels(path)
    except Refused as refused:
        sentence = str(refused)
        assert str(path) in sentence
        assert len(sentence.splitlines()) == 1, sentence
        assert len(sentence) < 1000
        sentence.encode()
        return None
    assert labels.times_s.shape == labels.velocities.shape == (len(labels.labels),)
    assert (labels.times_s.dtype, labels.velocities.dtype) == (np.float64, np.float32)
    assert ((labels.times_s >= 0) & (labels.times_s <= MAX_SECONDS)).all()
    assert ((labels.velocities >= 0) & (labels.velocities <= 1) | np.isnan(labels.velocities)).all()
    assert all(isinstance(label, str) and label and label.isprintable() for label in labels.labels)
    return labels


@pytest.mark.parametrize("suffix", sorted(READERS))
@given(content=st.binary(max_size=300))
@fuzz
def test_bytes(tmp_path, suffix, content):
    check(tmp_path, suffix, content)


@given(lines=st.lists(st.lists(words | any_text | st.floats().map(str), max_size=4)), mark=st.sampled_from(" \t,;"))
@fuzz
def test_lines(tmp_path, lines, mark):
    content = "\n".join(mark.join(line) for line in lines).encode(errors="replace")
    for suffix in (".txt", ".csv"):
        check(tmp_path, suffix, content)
        check(tmp_path, suffix, b"time,label,velocity\n" + content)


@given(rows=st.lists(st.tuples(st.floats(0, MAX_SECONDS), st.from_regex(r"[a-zA-Z][a-z -]{0,9}[a-z]", fullmatch=True))))
@fuzz
def test_sound_lines_are_read(tmp_path, rows):
    text = "".join(f"{time!r}\t{label.replace(' ', '_')}\n" for time, label in rows).encode()
    table = "".join(f"{time!r},{label}\n" for time, label in rows).encode()
    for suffix, content in ((".txt", text), (".csv", b"time,label\n" + table)):
        labels = check(tmp_path, suffix, content)
        assert labels is not None
        assert labels.times_s.tolist() == [time for time, _ in rows]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.sampled_from(["onset", "note_midi", "beat"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["annotations", "namespace", "data", "time", "value"]) | any_text, inner)
    ),
    max_leaves=20,
)
observations = st.lists(st.fixed_dictionaries({"time": st.floats() | json_values, "value": any_text | json_values}))
annotations = st.fixed_dictionaries({"namespace": st.sampled_from(["onset", "drums", "x"]), "data": observations})


@given(document=json_values | st.fixed_dictionaries({"annotations": st.lists(annotations | json_values)}))
@fuzz
def test_json(tmp_path, document):
    check(tmp_path, ".jams", json.dumps(document).encode())
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps(document))
    with suppress(Refused):
        assert set(read_mapping(mapping, ["kick"]).values()) <= {"kick", None}


numbers = st.sampled_from([0, 1, 127, 128, 0x3FFF, 0x0FFFFFFF]) | st.integers(0, 0x0FFFFFFF)


def variable_length(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


events = st.one_of(
    st.tuples(st.integers(0x80, 0xEF), st.binary(max_size=3)).map(lambda of: bytes([of[0]]) + of[1]),
    st.binary(min_size=3, max_size=3).map(lambda data: b"\xff\x51\x03" + data),
    st.tuples(st.sampled_from([b"\xf0", b"\xf7", b"\xff\x01", b"\xff\x2f"]), numbers, st.binary(max_size=9)).map(
        lambda of: of[0] + variable_length(of[1]) + of[2]
    ),
    st.binary(max_size=4),
)
tracks = st.lists(st.tuples(st.integers(0, 2**14) | numbers, events), max_size=12).map(
    lambda of: b"".join(variable_length(delta) + event for delta, event in of)
)


@given(
    tracks=st.lists(tracks, max_size=3),
    kind=st.integers(0, 3),
    count=st.integers(0, 4),
    division=st.sampled_from([0, 1, 480, 0x7FFF, 0xE728, 0xE250, 0xFFFF]),
    error=st.integers(-2, 2),
)
@fuzz
def test_midi(tmp_path, tracks, kind, count, division, error):
    content = b"MThd" + struct.pack(">LHHH", 6, kind, count, division)
    for track in tracks:
        content += b"MTrk" + struct.pack(">L", max(len(track) + error, 0)) + track
    check(tmp_path, ".mid", content)


tags = st.sampled_from(TAGS)
attributes = st.dictionaries(
    st.sampled_from(ATTRIBUTES),
    st.sampled_from(["1", "1, 2", "0", "-1", "start", "stop", "forward", "backward", "yes", "120", "1e9", "x", ""]),
    max_size=3,
)
texts = st.sampled_from(["", "1", "4", "0", "-3", "1.5", "C", "5", "x", "999999999"])
trees = st.recursive(
    texts,
    lambda inner: st.tuples(tags, attributes, st.lists(inner, max_size=5)).map(
        lambda of: (
            f"<{of[0]} {' '.join(f'{name}={value!r}' for name, value in of[1].items())}>{''.join(of[2])}</{of[0]}>"
        )
    ),
    max_leaves=25,
)
NOTE = "<note><unpitched><display-step>C</display-step><display-octave>5</display-octave></unpitched>{}</note>"
notes = st.tuples(texts, trees).map(lambda of: NOTE.format(f"<duration>{of[0]}</duration>{of[1]}")) | trees
measures = st.lists(notes, max_size=4).map(lambda of: f"<measure>{''.join(of)}</measure>")


@given(measures=st.lists(measures, max_size=4), part=trees)
@fuzz
def test_scores(tmp_path, measures, part):
    listed = f'<part-list><score-part id="P1">{part}<midi-instrument><midi-channel>10</midi-channel></midi-instrument>'
    parts = f'</score-part></part-list><part id="P1">{"".join(measures)}</part>'
    document = f"<score-partwise>{listed}{parts}</score-partwise>".encode()
    check(tmp_path, ".musicxml", document)


@given(
    entries=st.dictionaries(st.sampled_from(["META-INF/container.xml", "a.xml", "../b"]), st.binary(max_size=50)),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
@fuzz
def test_zips(tmp_path, entries, damage):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({"META-INF/container.xml": b'<a><rootfile full-path="a.xml"/></a>'} | entries).items():
            archive.writestr(name, content)
    content = bytearray(buffer.getvalue())
    for at, value in damage:
        content[at % len(content)] = value
    check(tmp_path, ".mxl", bytes(content))


marks = st.builds(
    Marks,
    forward=st.booleans(),
    times=st.sampled_from([1, 1, 2, 3, 100]),
    ending=st.frozensets(st.integers(0, 4), max_size=2),
    **{name: st.sampled_from([False, False, True]) for name in LEAPS},
)


@given(marks=st.lists(marks, max_size=20))
@fuzz
def test_every_order_ends(marks):
    try:
        order = playing_order(marks)
    except EndlessError:
        return
    assert all(0 <= measure < len(marks) for measure in order)
