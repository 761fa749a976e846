"""JAMS files: which annotation is read, both layouts, every refusal, and the jams library as another reader."""

import json

import numpy as np
import pytest

from data_prep.annotations import read_labels
from data_prep.refused import Refused


def annotation(namespace, *observations):
    return {
        "namespace": namespace,
        "data": [{"time": time, "duration": 0.0, "value": value, "confidence": 1} for time, value in observations],
    }


def read(tmp_path, *annotations):
    path = tmp_path / "a.jams"
    path.write_text(json.dumps({"annotations": annotations, "file_metadata": {"duration": 9}, "sandbox": {}}))
    return read_labels(path)


@pytest.mark.parametrize("namespace", ["tag_open", "onset", "note_midi", "segment_open", "drum_onset", "my_drums"])
def test_namespaces(tmp_path, namespace):
    labels = read(tmp_path, annotation("beat", (0, 1)), annotation(namespace, (0.5, "KD"), (0.25, 38.0), (1, 36)))
    assert labels.times_s.tolist() == [0.5, 0.25, 1]
    assert labels.labels == ("KD", "38", "36")
    assert np.isnan(labels.velocities).all()


def test_columns(tmp_path):
    labels = read(tmp_path, {"namespace": "onset", "data": {"time": [1, 0.5], "duration": [0, 0], "value": ["a", 42]}})
    assert (labels.times_s.tolist(), labels.labels) == ([1, 0.5], ("a", "42"))


def test_which_annotation(tmp_path):
    sections = annotation("segment_open", (0, "verse"))
    first, second = annotation("onset", (1, "KD")), annotation("onset", (2, "SD"))
    assert read(tmp_path, sections, first, second).labels == ("KD",)
    unlabelled, empty = annotation("onset", (1, None), (2, "x")), annotation("onset")
    assert read(tmp_path, unlabelled, empty, sections, second).labels == ("SD",)
    assert read(tmp_path, first, annotation("drums", (1, "36"))).labels == ("36",)
    assert len(read(tmp_path, annotation("beat", (1, 1)), empty)) == 0


@pytest.mark.parametrize(
    "annotations",
    [
        (),
        (None, 1, "onset"),
        (annotation("beat", (1, 1)),),
        (annotation("onset", (1, None)),),
        (annotation("onset", (1, True)),),
        (annotation("onset", (1, {"label": "KD"})),),
        ({"namespace": "onset"},),
        ({"namespace": "\ud800"},),  # found by fuzzing: the sentence could not be printed
        ({"namespace": "a\nb"},),
        ({"namespace": ["onset"], "data": []},),
        ({"namespace": "onset", "data": [1]},),
        ({"namespace": "onset", "data": {"time": [1], "value": []}},),
        ({"namespace": "onset", "data": {"time": 1, "value": "a"}},),
    ],
)
def test_nothing_to_read(tmp_path, annotations):
    with pytest.raises(
        Refused, match=r"a\.jams has annotations in the namespaces .*; expected a JAMS file with labelled"
    ):
        read(tmp_path, *annotations)


@pytest.mark.parametrize("time", [-0.1, float("nan"), float("inf"), 1e9, 10**400, "1", None, True, [1]])
def test_no_time(tmp_path, time):
    with pytest.raises(Refused, match=r"has the time .* in annotation 2, observation 2; expected seconds from 0 to a"):
        read(tmp_path, annotation("beat", (0, 1)), annotation("onset", (0, "a"), (time, "b")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"1" * 10_000, "is no JSON"),
        (b"[" * 1_000_000, "is nested too deep"),
        (b'{"a":' * 1_000_000, "is nested too deep"),
        (b"[]", "has no list of annotations"),
        (b'{"annotations": {}}', "has no list of annotations"),
        (
            b'{"annotations": [{"namespace": "onset", "data": [{"time": 0, "value": "\\ud800"}]}]}',
            r"the label '\\ud800'",
        ),
        (b'{"annotations": [{"namespace": "onset", "data": [{"time": 0, "value": " "}]}]}', "has the label ''"),
    ],
)
def test_broken_files(tmp_path, content, reason):
    (tmp_path / "a.jams").write_bytes(content)
    with pytest.raises(Refused, match=reason):
        read_labels(tmp_path / "a.jams")


@pytest.mark.parametrize(
    ("namespace", "values"),
    [("tag_open", ["KD", "ä b"]), ("note_midi", [36, 38.5]), ("onset", ["KD", 42]), ("segment_open", ["x", "y"])],
)
def test_written_and_read_by_jams(tmp_path, namespace, values):
    jams = pytest.importorskip("jams")
    draw = np.random.default_rng(0)
    document = jams.JAMS()
    document.file_metadata.duration = 60
    for _ in range(2):
        made = jams.Annotation(namespace, duration=60)
        for time in np.sort(draw.uniform(0, 60, 50)):
            made.append(time=float(time), duration=0.1, value=values[draw.integers(2)], confidence=0.5)
        document.annotations.append(made)
    document.save(str(tmp_path / "a.jams"))
    labels = read_labels(tmp_path / "a.jams")
    expected = jams.load(str(tmp_path / "a.jams")).annotations[0]
    assert labels.times_s.tolist() == [observation.time for observation in expected]
    assert labels.labels == tuple(str(observation.value) for observation in expected)
