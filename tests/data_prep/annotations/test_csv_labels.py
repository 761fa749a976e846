"""Tables of times and labels: how columns are found, and every refusal."""

import numpy as np
import pytest

from data_prep.annotations import read_labels
from data_prep.annotations.csv import LABELS, TIMES
from data_prep.refused import Refused


def read(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_labels(path)


@pytest.mark.parametrize("time", [*TIMES, "Onset (s)", "START", " time "])
def test_names_of_times(tmp_path, time):
    labels = read(tmp_path, f"{time},label\n0.5,KD\n0.25,SD\n")
    assert labels.times_s.tolist() == [0.5, 0.25]
    assert labels.labels == ("KD", "SD")
    assert np.isnan(labels.velocities).all()


@pytest.mark.parametrize("label", [*LABELS, "Label", "MIDI pitch"])
def test_names_of_labels(tmp_path, label):
    assert read(tmp_path, f"x,{label},y,onset_s\n1,38,2,0.5\n").labels == ("38",)


def test_the_first_name_is_taken(tmp_path):
    labels = read(tmp_path, "value,end,label,start,time\n1,2,KD,3,4\n")
    assert (labels.times_s.tolist(), labels.labels) == ([4.0], ("KD",))


@pytest.mark.parametrize(
    "content",
    [
        "0.5,KD\n1.5,SD\n",
        "\ufeff# by hand\r\n\r\n0.5;KD\r\n1.5;SD",
        "time\tlabel\n0.5\tKD\n1.5\tSD\n",
        'time,label\n"0.5","KD"\n 1.5 , SD \n',
        "time;label;\n0,5;KD\n1,5;SD;;\n",
        ",time,label\n0,0.5,KD\n1,1.5,SD\n",  # pandas writes its index
    ],
)
def test_shapes_of_tables(tmp_path, content):
    labels = read(tmp_path, content)
    assert labels.times_s.tolist() == [0.5, 1.5]
    assert labels.labels == ("KD", "SD")


def test_words_of_labels(tmp_path):
    assert read(tmp_path, 'time,pitch\n1,36.0\n2,36\n3,36.5\n4,"a, b"\n').labels == ("36", "36", "36.5", "a, b")
    assert len(read(tmp_path, "")) == len(read(tmp_path, "time,label\n")) == 0


def test_velocities(tmp_path):
    assert read(tmp_path, "time,label,velocity\n0,a,127\n1,a,1\n").velocities.tolist() == pytest.approx([1, 1 / 127])
    assert read(tmp_path, "time,label,vel\n0,a,0.5\n1,a,1\n2,a,0\n").velocities.tolist() == [0.5, 1, 0]
    unknown = read(tmp_path, "time,label,Velocity\n0,a,\n1,a,64\n2,a\n").velocities
    np.testing.assert_array_equal(np.isnan(unknown), [True, False, True])
    for velocity in ("128", "0", "-0.1", "nan", "loud"):
        with pytest.raises(Refused, match=r"a\.csv line 3 has a velocity outside 1\.\.127; expected 0\.\.1 or 1"):
            read(tmp_path, f"time,label,velocity\n0,a,2\n1,a,{velocity}\n")


@pytest.mark.parametrize("line", ["x,KD", "-1,KD", "nan,KD", "1e9,KD", "1", "1,", ",KD", "0,5,KD", "1,KD,more"])
def test_broken_lines(tmp_path, line):
    with pytest.raises(Refused, match=r"a\.csv line 3 is .*; expected a time in seconds and a label in their columns"):
        read(tmp_path, f"time,label\n0,SD\n{line}\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,KD\n", "has the columns 'a, b'; expected one of times in seconds"),
        ("time_ms,label\n1,KD\n", "has the columns 'time_ms, label'"),
        ("time\n1\n", "has the columns 'time'"),
        ("1,36,100\n", "has 3 columns and no header; expected a first line such as `time,label`"),
        ("1\n", "has 1 columns and no header"),
        ('time,label\n1,"KD\n2,SD"\n', "line 2 is no line of a table"),
        ("time,label\n1," + "x" * 5000, "line 2 is longer than 4096 bytes"),
        (b"time,label\n1,\xff", r"line 2 is not UTF-8; expected a table of times in seconds and labels"),
        ("time,label\n1,a\0b", r"has the label 'a\\x00b'"),
    ],
)
def test_broken_tables(tmp_path, content, reason):
    with pytest.raises(Refused, match=reason):
        read(tmp_path, content)


def test_written_by_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "onset_s": draw.uniform(0, 300, 500),
            "label": draw.choice(['kick, "big"', "ä", "36", "hi-hat;open"], 500),
            "velocity": draw.uniform(0, 1, 500),
        }
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    labels = read_labels(tmp_path / "a.csv")
    assert labels.times_s.tolist() == table.onset_s.tolist()
    assert list(labels.labels) == table.label.tolist()
    np.testing.assert_array_equal(labels.velocities, table.velocity.to_numpy(np.float32))
