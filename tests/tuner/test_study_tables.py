"""Tables and figures of studies from made-up results: what is marked, said and left empty."""

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from rich.console import Console

from tuner.options import SweepOptions
from tuner.studies import ARCHITECTURE, CORPORA, Studied, Study, StudyOptions
from tuner.study_cells import DONE, FAILED, TO_DO, UNFINISHED, Entry, cells_of
from tuner.study_files import write_study
from tuner.study_grid import grid_of
from tuner.study_page import as_csv, document, markdown
from tuner.study_pictures import bars, heat_map
from tuner.study_reference import ARCHITECTURES, ZERO_SHOT
from tuner.study_tables import tables

SWEEPS = SweepOptions((), "", trials=3, tracking_uri="sqlite:///x.db")


def score(value: float, corpus: str, interval=None, split: str = "test") -> dict:
    return {
        "corpus": corpus, "split": split, "protocol": "tracks", "tracks": 9, "micro_f1": value,
        "interval": interval,
    }  # fmt: skip


def studied(kind: str, unions, architectures, wanted, scores, **changes) -> Studied:
    """``scores``: by union and architecture, what the cell has been scored."""
    named = tuple(tuple(of.split("+")) for of in unions)
    options = StudyOptions(kind, named, tuple(architectures), SWEEPS, command="mirtune study x", **changes)
    cells = tuple(cells_of(options.title, named, architectures, SWEEPS))
    study = Study(options, cells, "micro_f1", "max", wanted, dict.fromkeys(wanted, "sum"), {})
    entries = []
    for cell in cells:
        known = scores.get((cell.union, cell.architecture))
        entry = Entry(list(cell.options.corpora), cell.architecture, cell.name, asked=3)
        if known is not None:
            entry.state, entry.scores, entry.trials, entry.epochs = DONE, known, 3, 24
            entry.gpu_hours, entry.trial_hours, entry.parameters, entry.validation = 0.5, 1.0, 565_877, 0.5741
            entry.hyperparameters = {"hidden": 72, "learning_rate": 0.00403123, "unit": "lstm"}
        entries.append(entry)
    return Studied(study, entries)


@pytest.fixture
def architectures() -> Studied:
    scores = {
        ("demo", "rnn"): {"demo": score(0.5512, "demo", [0.4, 0.62])},
        ("demo", "crnn"): {"demo": score(0.7134, "demo", [0.6, 0.8])},
        ("enst_mdb", "rnn"): {"enst_mdb": score(0.61, "enst_mdb")},
    }
    how = ("test", "tracks")
    found = studied(
        ARCHITECTURE, ("demo", "enst_mdb"), ("rnn", "crnn"), {"demo": how, "enst_mdb": how}, scores, reference=True
    )
    found.entries[3].state, found.entries[3].error = FAILED, "all 3 trials | of it failed"
    return found


@pytest.fixture
def unions() -> Studied:
    values = {"demo": (0.7, 0.3, 0.25), "groove": (0.5, 0.8, 0.45), "demo+groove": (0.69, 0.81, 0.4)}
    scores = {
        (union, "crnn"): {
            corpus: score(value, corpus, [value - 0.1, value + 0.1], "all" if corpus == "mdb" else "test")
            for corpus, value in zip(("demo", "groove", "mdb"), of, strict=True)
        }
        for union, of in values.items()
    }
    wanted = {"demo": ("test", "tracks"), "groove": ("test", "tracks"), "mdb": ("all", "tracks")}
    return studied(CORPORA, tuple(values), ("crnn",), wanted, scores)


def shown(found: Studied, width: int = 100) -> str:
    text = StringIO()
    console = Console(file=text, width=width)
    for table in tables(found):
        console.print(table)
    return text.getvalue()


def test_the_best_of_each_column_is_bold_and_the_best_zero_shot_underlined(unions):
    lines = markdown(unions, []).splitlines()
    assert lines[2:7] == [
        "| trained on | demo | groove | mdb |",
        "| --- | --- | --- | --- |",
        "| demo | **0.700** (0.60–0.80) | 0.300° (0.20–0.40) | 0.250° (0.15–0.35) |".replace("0.300°", "<u>0.300</u>°"),
        "| groove | <u>0.500</u>° (0.40–0.60) | 0.800 (0.70–0.90) | **<u>0.450</u>**° (0.35–0.55) |",
        "| demo+groove | 0.690 (0.59–0.79) | **0.810** (0.71–0.91) | 0.400° (0.30–0.50) |",
    ]


def test_a_terminal_shows_styles_and_fits_it(unions, architectures):
    text = StringIO()
    console = Console(file=text, width=100, force_terminal=True, color_system="standard")
    console.print(tables(unions)[0])
    assert re.search(r"\x1b\[1;4m0\.450\x1b\[0m°", text.getvalue())
    assert re.search(r"\x1b\[1m0\.810\x1b\[0m ", text.getvalue())
    for found in (unions, architectures):
        assert max(map(len, shown(found).splitlines())) <= 100
    assert "demo (9 tracks), groove (9 tracks): test split, protocol tracks" in shown(unions)
    assert "mdb (9 tracks): all tracks, as it has no test split, protocol tracks" in shown(unions)


def test_equal_scores_are_best_together_and_less_is_better_where_the_metric_says_so(unions):
    unions.entries[1].scores["demo"]["micro_f1"] = 0.7
    grid = grid_of(unions)
    assert [grid.values[row, "demo"].best for row in grid.rows] == [True, True, False]
    turned = Studied(replace(unions.study, mode="min"), unions.entries)
    grid = grid_of(turned)
    assert [grid.values[row, "groove"].best for row in grid.rows] == [True, False, False]


def test_what_is_missing_is_said(architectures):
    grid = grid_of(architectures)
    assert [grid.values[place].text for place in (("crnn", "demo"), ("crnn", "enst_mdb"))] == ["0.713", "failed"]
    page = markdown(architectures, [("a.png", "bars")])
    assert "| crnn | **0.713** (0.60–0.80) | failed |" in page
    assert r"crnn on enst_mdb failed: all 3 trials \| of it failed" in page
    assert "![bars](a.png)" in page
    architectures.entries[0].state, architectures.entries[0].trials = UNFINISHED, 1
    architectures.entries[2].state, architectures.entries[2].scores = TO_DO, {}
    page = markdown(architectures, [])
    assert "| rnn | 0.551 (0.40–0.62, 1 of 3 trials) | to do |" in page
    assert "rnn on demo: 1 of 3 trials" in page


def test_published_tables_stand_beside_ours_with_their_protocol(architectures, unions):
    page = markdown(architectures, [])
    assert "| architecture | demo | enst\\_mdb |".replace("\\_", "_") in page
    assert re.search(r"\| rnn \| 0\.551 .* \| \*\*0\.610\*\* \| 0\.668 \| 0\.901 \| 0\.864 \| 0\.964 \|", page)
    assert re.search(r"\| vit \|  \|  \| 0\.543 \| 0\.886 \| 0\.879 \| 0\.964 \|", page)
    assert "scored by the protocol segments" in page
    assert "scored by the protocol segments" in " ".join(shown(architectures).split())
    published = Studied(replace(unions.study, options=replace(unions.study.options, reference=True)), unions.entries)
    page = markdown(published, [])
    assert "| ADTOF-YT + Slakh | 0.86° |" in page
    assert "| E-GMD | 0.55° | 0.902 |" in page
    assert "0.62" in shown(published)
    assert "published" not in document(unions)


def test_what_was_published_is_as_evidence_has_it(shared):
    text = (shared / "evidence.md").read_text(encoding="utf-8")
    titles = ("RNN", "CNN", "CRNN", "Conv. transformer", "Vision transformer")
    for title, scores in zip(titles, ARCHITECTURES.values(), strict=True):
        assert f"| {title} | {' | '.join(f'{of:.3f}' for of in scores.values())} |" in text
    for name, of in (
        ("E-GMD", "egmd"),
        ("Slakh", "slakh"),
        ("ADTOF-YT", "adtof_yt"),
        ("Slakh+ADTOF-YT", "adtof_yt+slakh"),
    ):
        assert f"{name} -> ENST+MDB {ZERO_SHOT[of]['enst_mdb']:.2f}" in text


def test_a_row_of_csv_a_score(unions, architectures):
    rows = list(csv.DictReader(StringIO(as_csv(unions))))
    assert len(rows) == 9
    (row,) = [of for of in rows if (of["trained_on"], of["scored_on"]) == ("groove", "mdb")]
    assert (row["micro_f1"], row["split"], row["zero_shot"], row["best"], row["best_zero_shot"]) == (
        *("0.45", "all"),
        *("True", "True", "True"),
    )
    assert json.loads(row["hyperparameters"]) == {"hidden": 72, "learning_rate": 0.00403123, "unit": "lstm"}
    rows = list(csv.DictReader(StringIO(as_csv(architectures))))
    assert [of["state"] for of in rows] == ["done", "done", "done", "failed"]
    assert rows[3]["micro_f1"] == rows[3]["parameters"] == ""
    assert rows[0]["gpu_hours"] == "0.5000"


@pytest.mark.parametrize("kind", ["architectures", "unions"])
def test_all_of_it_is_written(kind, request, tmp_path):
    found = request.getfixturevalue(kind)
    there = Studied(replace(found.study, options=replace(found.study.options, out=tmp_path)), found.entries)
    files = write_study(there)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files}
    assert len(files) == {"architectures": 5, "unions": 4}[kind]
    for path in files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.name in (tmp_path / f"{found.study.options.kind}_study.md").read_text()
    content = json.loads((tmp_path / f"{found.study.options.kind}_study.json").read_text())
    flags = ("zero_shot", "best", "best_zero_shot")
    told = [{of: score.pop(of) for of in flags} for cell in content["cells"] for score in cell["scores"].values()]
    assert content["cells"] == [entry.to_dict() for entry in found.entries]
    rows = [row for row in csv.DictReader(StringIO(as_csv(there))) if row["micro_f1"]]
    assert [[str(of[flag]) for flag in flags] for of in told] == [[row[flag] for flag in flags] for row in rows]


def test_a_union_has_the_mean_of_its_corpora_and_each_of_them_its_own_best():
    how = ("test", "tracks")
    scores = {
        ("a+b", "rnn"): {"a": score(0.9, "a"), "b": score(0.2, "b")},
        ("a+b", "crnn"): {"a": score(0.7, "a"), "b": score(0.6, "b")},
    }
    found = studied(ARCHITECTURE, ("a+b",), ("rnn", "crnn"), {"a": how, "b": how}, scores)
    assert "| rnn | 0.550 |" in markdown(found, [])
    assert "| crnn | **0.650** |" in markdown(found, [])
    assert grid_of(found).notes.count("a+b: the mean of the scores on the test splits of a and b") == 1
    rows = list(csv.DictReader(StringIO(as_csv(found))))
    assert [(row["architecture"], row["scored_on"]) for row in rows if row["best"] == "True"] == [
        *(("rnn", "a"), ("crnn", "b"))
    ]
    alone = studied(ARCHITECTURE, ("a+b",), ("rnn",), {"a": how}, {("a+b", "rnn"): {"a": score(0.9, "a")}})
    assert "a+b: the score on the test split of a alone" in grid_of(alone).notes


def test_what_is_unfinished_wins_nothing_and_is_marked_in_figures(unions, architectures, monkeypatch):
    unions.entries[1].state, unions.entries[1].trials = UNFINISHED, 1
    grid = grid_of(unions)
    assert [grid.values[row, "mdb"].best for row in grid.rows] == [False, False, True]
    assert [grid.values[row, "demo"].best_zero_shot for row in grid.rows] == [False, False, False]
    assert "of the cells that are finished" in markdown(unions, [])
    texts: list[str] = []
    real = Axes.text

    def text(axes, x, y, shown, **how):
        texts.append(shown)
        return real(axes, x, y, shown, **how)

    monkeypatch.setattr(Axes, "text", text)
    heat_map(grid, "x")
    assert {"0.500*", "0.800*", "0.450*", "0.700"} <= set(texts)
    architectures.entries[0].state, architectures.entries[0].trials = UNFINISHED, 1
    bars(grid_of(architectures), "x", within_columns=True)
    assert {"0.55*", "0.71"} <= set(texts)


def test_names_are_no_formulas(unions):
    unions.entries[0].sweep = unions.entries[0].hyperparameters["unit"] = "=1+1"
    for number in range(3):
        unions.entries[number].error = "@boom"
    found = Studied(replace(unions.study, metric="micro_f1"), unions.entries)
    rows = list(csv.DictReader(StringIO(as_csv(found))))
    assert {row["error"] for row in rows} == {"'@boom"}
    assert rows[0]["sweep"] == "'=1+1"
    assert rows[3]["micro_f1"] == "0.5"  # numbers are as they are


def test_what_others_named_is_shown_and_not_obeyed(architectures):
    architectures.entries[0].hyperparameters = {"unit": "[red]gru[/]\x1b[31m|<b>"}
    text = shown(architectures, 200)
    assert r"[red]gru[/]\x1b[31m|<b>" in text
    assert r"unit \[red\]gru\[/\]\\x1b\[31m\|&lt;b&gt;" in markdown(architectures, [])


def test_a_study_without_a_score_yet_has_no_figures(architectures, tmp_path):
    for entry in architectures.entries:
        entry.state, entry.scores, entry.error = TO_DO, {}, ""
    there = Studied(
        replace(architectures.study, options=replace(architectures.study.options, out=tmp_path)), architectures.entries
    )
    assert [Path(of).suffix for of in write_study(there)] == [".md", ".csv", ".json"]
