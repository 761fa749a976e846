"""`mirtune errors` as a person runs it."""

import csv
import json
import re

import pytest
from matplotlib.image import imread

from trainables.coincidence import ALARM_KINDS, MISS_KINDS
from trainables.config import Settings, TrainingConfig
from trainables.loop import train
from tuner.cli import COMMANDS, main
from tuner.commands import errors
from tuner.error_pictures import draw_errors
from tuner.error_report import as_csv, as_markdown

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
FILES = ["errors.csv", "errors.json", "errors.md", "errors.png"]


@pytest.fixture(scope="module")
def checkpoint(shards, tmp_path_factory):
    """Half trained, so that it errs."""
    settings = Settings(batch_size=4, max_epochs=5, learning_rate=1e-2, precision="fp32")
    *_, last = train(TrainingConfig(("mdb",), "vit", SMALL, settings), shards, device="cpu")
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    last.checkpoint.save(folder)
    return folder


@pytest.fixture
def line(shards, checkpoint, tmp_path):
    return ["errors", str(checkpoint), "--on", "mdb", "--shards", str(shards), "--out", str(tmp_path / "out")]


def test_it_is_a_command():
    assert errors in COMMANDS


def test_four_files_say_the_same(line, checkpoint, tmp_path, capsys, document):
    line += ["--split", "all", "--thresholds", "0.05"]
    assert main([*line, "--json"]) == 0
    shown = document()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    files = shown.pop("files")
    assert sorted(files.values()) == [str(tmp_path / "out" / name) for name in FILES]
    assert json.loads((tmp_path / "out" / "errors.json").read_text()) == shown
    (of,) = shown["corpora"]
    assert (of["corpus"], of["split"], of["protocol"], of["tracks"], of["calibrated"]) == (
        "mdb",
        "all",
        "tracks",
        8,
        False,
    )
    with (tmp_path / "out" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, each in of["classes"].items():
        for error, words in (("false_alarms", "false alarm"), ("misses", "miss")):
            own = [int(row["count"]) for row in rows if (row["class"], row["error"]) == (name, words)]
            assert sum(own) == each[error]["count"]
    text = (tmp_path / "out" / "errors.md").read_text()
    assert {kind for kind in [*ALARM_KINDS, *MISS_KINDS] if f"**{kind}**" in text} == {*ALARM_KINDS, *MISS_KINDS}
    for name, each in of["classes"].items():
        alarms, misses = re.findall(rf"^\| {name} +\| +([\d,]+) \| +([\d,]+) \|", text, re.MULTILINE)
        assert [int(number.replace(",", "")) for number in alarms] == [each["onsets"], each["false_alarms"]["count"]]
        assert [int(number.replace(",", "")) for number in misses] == [each["onsets"], each["misses"]["count"]]
    height, width, _ = imread(tmp_path / "out" / "errors.png").shape
    assert width > 1500
    assert height > 300

    assert main(line) == 0  # written anew
    shown = capsys.readouterr().out
    assert "mdb, split all: false alarms within 50 ms" in shown
    assert all(path in shown for path in files.values())


def test_several_corpora_stand_in_one_report(line, shards, tmp_path, document):
    assert main([*line[:3], "mdb", "mdb", *line[4:], "--json"]) == 0
    assert [of["corpus"] for of in document()["corpora"]] == ["mdb", "mdb"]
    assert (tmp_path / "out" / "errors.md").read_text().count("## mdb, split test") == 2


def nothing(classes, onsets=0):
    """Errors of classes without any, and without velocities but for the first."""

    def counted(kinds, own):
        others = {name: 0 for name in classes if name != own}
        return {"count": 0} | {kind: others if kind in ("confused", "along", "masked") else 0 for kind in kinds}

    each = {
        name: {
            "onsets": onsets,
            "false_alarms": counted(ALARM_KINDS, name),
            "misses": counted(MISS_KINDS, name),
            "loudness": [{"from": 0.1, "to": 0.2, "onsets": 3, "misses": 1}] if name == classes[0] else None,
        }
        for name in classes
    }
    about = {"corpus": "$none$", "split": "test", "protocol": "tracks", "tolerance_ms": 50, "tracks": 1}
    return {**about, "calibrated": True, "rise_by_chance": 0.0, "classes": each}


@pytest.mark.parametrize("classes", [("kick",), ("kick", "snare", "hi-hat"), tuple(f"class {n}" for n in range(8))])
def test_a_report_without_errors_and_of_other_classes(classes, tmp_path, recwarn):
    found = [nothing(classes)]
    draw_errors(tmp_path / "errors.png", found)
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")
    assert not [str(of.message) for of in recwarn if "matplotlib" in str(of.filename) + str(of.message)]
    assert len(as_csv(found).splitlines()) == 1 + len(classes) * (5 + 6 - 4 + 4 * (len(classes) - 1))
    text = as_markdown("mine", found)
    assert "33% (0.10–0.20)" in text
    tables = [row.count("|") for row in text.splitlines() if row.startswith("|")]
    assert set(tables) == {len(ALARM_KINDS) + 4, len(MISS_KINDS) + 4, 6}


REFUSALS = [
    ("--split dev", "unknown split 'dev'; choose from train, validation, test, all"),
    ("--protocol frames", "unknown protocol 'frames'; choose from tracks, segments"),
    ("--thresholds bass=0.3", "unknown class 'bass'; choose from kick, snare"),
    ("--average-gains 0", "--average-gains 0; expected 1 to"),
    ("--on nope", "unknown corpus 'nope' .*choose from .*mdb"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_it_refuses_and_writes_nothing(line, arguments, sentence, tmp_path, capsys):
    assert main([*line, *arguments.split()]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(f"mirtune: {sentence}.*\n", output.err), output.err
    assert not (tmp_path / "out").exists()
