"""The leaderboard's columns, filters and order, and its forms: on a terminal, as CSV, Markdown and JSON."""

import csv
import io
import json
import shlex
from dataclasses import replace

import pytest
from rich.console import Console

from data_prep.refused import Refused
from tuner import leaderboard as board
from tuner import leaderboard_store
from tuner.cli import main, parser
from tuner.commands.leaderboard import EXAMPLES
from tuner.leaderboard import Row, TrialRow, leaderboard, table
from tuner.leaderboard_columns import COLUMNS, among, at_least, chosen, columns_of, in_order, since
from tuner.leaderboard_entries import Run, Version
from tuner.leaderboard_tables import as_csv, as_markdown, tables

WHEN = "2026-11-21T19:27:03+00:00"
SCORE = {"split": "all", "protocol": "tracks", "tracks": 23, "interval": None, "when": WHEN}
BARE = Row("demo", "vit", "micro_f1", 0.452, None, "", 127_121, 3, "older", 1, "2026-11-20T19:25:00+00:00")
FULL = Row(
    "groove+groove_stems+music", "conv_transformer", "micro_f1", 0.7054321, 0.7512, "tracks", 12_565_877, 40,
    "groove+groove_stems+music.conv_transformer-20261121-160324", 12, WHEN, trial_hours=123.456, gpu_hours=30.9,
    windows_per_s=12_345.6, mirtune_version="0.2.0", epoch=7, task="drum_onsets", run="0f" * 16,
    zero_shot={"mdb": {"micro_f1": 0.779, **SCORE}, "enst": {"micro_f1": 0.1, **SCORE}},
    hyperparameters={"layers": 3, "unit": "gru"},
)  # fmt: skip
MIDDLE = replace(BARE, architecture="crnn", validation=0.574, parameters=565_877, windows_per_s=0.0, trial_hours=0.0281)
ROWS = [BARE, FULL, MIDDLE]
TRIAL = TrialRow("demo", "rnn", "micro_f1", 0.5, None, "", "ranks", "trial 3", "finished", WHEN, trial_hours=2.0)


@pytest.fixture
def stored(monkeypatch):
    """A store that has what it is given, without a database."""

    def put(versions=(), runs=()):
        monkeypatch.setattr(leaderboard_store, "versions", lambda uri, every=False: list(versions))
        monkeypatch.setattr(leaderboard_store, "runs", lambda uri: list(runs))

    return put


def version(number=1, *, corpora="demo", architecture="crnn", **more):
    tags = {
        "corpora": corpora,
        "architecture": architecture,
        "task": "drum_onsets",
        "metric": "micro_f1",
        "mode": "max",
    }
    tags |= {"validation": "0.5", "parameters": "10", "trials": "1", "sweep": "s", "command": "c", **more}
    return Version(f"{corpora}.{architecture}", number, "0f" * 16, 1_795_000_000_000, True, tags)


def printed(shown, width):
    console = Console(width=width, file=io.StringIO())
    for one in shown:
        console.print(one)
    return console.file.getvalue()


def named(rows, **more):
    return {column.name: column for column in columns_of(rows, type(rows[0]), **more)}


def test_every_field_of_a_row_is_a_column_or_on_purpose_none():
    for kind in (Row, TrialRow):
        fields = set(kind.__dataclass_fields__)
        assert fields - {column.name for column in COLUMNS} == {"mode"} | ({"zero_shot"} & fields)


def test_numbers_are_whole_at_every_width():
    for width in (60, 80, 100, 120, 140, 200, 400):
        shown, left = tables(ROWS, width=width)
        text = printed(shown, width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert {"0.705", "0.452", "0.574"} <= set(text.split())
        assert ("12,565,877" in text.split()) == ("parameters" not in [column.name for column in left])
    assert left == []
    assert {"0.779", "123.5", "30.9", "12,346", "0.0", "0.028", "2026-11-21", "19:27", "0.751"} <= set(text.split())


def test_at_80_columns_come_what_people_ask_for_first():
    shown, left = tables(ROWS, width=80)
    heads = ["corpus", "architecture", "validation\nmicro F1", "test\nmicro F1", "zero-shot\nenst"]
    assert [column.header for column in shown[0].columns] == heads
    assert {"zero_shot.mdb", "parameters", "when"} <= {column.name for column in left}
    text = printed(tables([BARE, MIDDLE], width=80)[0], 80)
    assert "2026-11-20 " in text
    assert "19:25" not in text


def test_columns_in_which_nothing_stands_are_left_out():
    names = [column.header for column in table([BARE]).columns]
    assert not {"by protocol", "trial\nhours", "GPU\nhours", "windows/s", "mirtune"} & set(names)


def test_scores_of_0_are_shown_and_hours_of_0_are_not():
    nothing = replace(BARE, validation=0.0, test=0.0, trial_hours=0.0)
    names = [column.header for column in table([nothing, nothing]).columns]
    assert {"validation\nmicro F1", "test\nmicro F1"} <= set(names)
    assert "trial\nhours" not in names


def test_columns_that_are_asked_for_are_all_there():
    columns = chosen(list(named(ROWS).values()), ["architecture", *named(ROWS)])
    shown, left = tables(ROWS, columns, 80, asked=True)
    assert left == []
    assert len(shown) > 2
    assert all(part.columns[0].header == "architecture" for part in shown)
    assert "continued" in str(shown[1].title)
    text = printed(shown, 80)
    assert {"12,565,877", "0.779", "0.100", "12,346"} <= set(text.split())
    assert '"gru"}' in text


def test_long_names_are_broken_where_they_are_joined():
    row = replace(FULL, corpus="groove+groove_stems+slakh+music")
    text = printed(tables([row], width=80)[0], 80)
    assert "│ groove+groove_stems+ │" in text
    assert "│ slakh+music " in text
    assert "│ groove+groove_stems+slakh+ │" in printed([table([row])], 300)


def test_zero_shot_columns_are_those_of_the_models_that_are_shown():
    assert [name for name in named(ROWS) if name.startswith("zero")] == ["zero_shot.enst", "zero_shot.mdb"]
    assert [name for name in named(ROWS, zero_shot=["mdb"]) if name.startswith("zero")] == ["zero_shot.mdb"]
    with pytest.raises(Refused, match=r"no model that is shown has a zero-shot score on 'demo'; choose from enst, mdb"):
        columns_of(ROWS, Row, ["demo"])
    with pytest.raises(Refused, match="no model has such a score yet; run `mirtune evaluate"):
        columns_of([BARE], Row, ["demo"])


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("validation", [FULL, MIDDLE, BARE]),
        ("-validation", [BARE, MIDDLE, FULL]),
        ("parameters", [BARE, MIDDLE, FULL]),
        ("trial_hours", [MIDDLE, FULL, BARE]),
        ("-trial_hours", [FULL, MIDDLE, BARE]),
        ("windows_per_s", [FULL, MIDDLE, BARE]),
        ("-windows_per_s", [MIDDLE, FULL, BARE]),
        ("when", [FULL, BARE, MIDDLE]),
        ("architecture", [FULL, MIDDLE, BARE]),
        ("zero_shot.mdb", [FULL, BARE, MIDDLE]),
        ("-zero_shot.mdb", [FULL, BARE, MIDDLE]),
        ("test", [FULL, BARE, MIDDLE]),
    ],
)
def test_each_column_sorts_its_own_way_and_empty_cells_come_last(column, order):
    assert in_order(ROWS, list(named(ROWS).values()), column) == order


def test_where_less_is_better_the_least_comes_first():
    rows = [replace(BARE, mode="min", metric="loss", validation=value) for value in (0.2, 0.1, 0.3)]
    columns = list(named(rows).values())
    assert [row.validation for row in in_order(rows, columns, "validation")] == [0.1, 0.2, 0.3]
    assert [row.validation for row in at_least(rows, 0.2)] == [0.2, 0.1]
    assert columns[4].heading == "validation loss"


def test_filters():
    assert among(ROWS, "architecture", ["crnn", "vit"]) == [BARE, MIDDLE]
    assert at_least(ROWS, 0.574) == [FULL, MIDDLE]
    assert at_least([replace(TRIAL, validation=None), TRIAL], 0.5) == [TRIAL]
    assert since(ROWS, "2026-11-21") == [FULL]
    assert since(ROWS, "2026-11-20T20:25:00+01:00") == ROWS
    assert since(ROWS, "2026-11-20T20:25:01+01:00") == [FULL]
    assert among([], "architecture", ["typo"]) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--architecture gan", "no model of architecture 'gan' is shown here; choose from crnn, rnn"),
        ("--task chords", "no model of task 'chords' is shown here; choose from drum_onsets"),
        ("--columns corpus,f1", "unknown column 'f1'; choose from corpus, architecture, version, sweep, validation, "),
        ("--sort size", "unknown column 'size'; choose from corpus"),
        ("--sort trial", "unknown column 'trial'"),
        ("--since yesterday", "--since 'yesterday' is no date; expected one such as 2026-11-21"),
        ("--limit -1", "--limit -1; expected a number of rows, or 0 for all"),
        ("--trials --zero-shot mdb", "--zero-shot and --max-parameters are about registered models"),
        ("--zero-shot mdb", "no model that is shown has a zero-shot score on 'mdb'"),
        (
            "--sort zero_shot.mdb",
            "no model that is shown has a zero-shot score on 'mdb'; no model has such a score yet",
        ),
        ("--columns corpus,zero_shot.mdb", "no model that is shown has a zero-shot score on 'mdb'"),
        ("--min-score nan", "--min-score nan; expected a score"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_choices(line, sentence, stored, capsys):
    stored([version(), version(architecture="rnn")])
    assert main(["leaderboard", *line.split()]) == 2
    assert capsys.readouterr().err.startswith(f"mirtune: {sentence}")


def test_forms_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["leaderboard", "--json", "--csv"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_csv_has_every_column_and_numbers_in_full():
    columns = list(named(ROWS).values())
    read = list(csv.DictReader(io.StringIO(as_csv(ROWS, columns))))
    assert [row["architecture"] for row in read] == ["vit", "conv_transformer", "crnn"]
    full, bare = read[1], read[0]
    assert (full["validation"], full["parameters"], full["when"]) == ("0.7054321", "12565877", WHEN)
    assert (full["zero_shot.mdb"], bare["zero_shot.mdb"], bare["test"]) == ("0.779", "", "")
    assert json.loads(full["hyperparameters"]) == {"layers": 3, "unit": "gru"}
    assert set(full) == set(named(ROWS))


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "＝", " ="])
def test_names_are_no_formulas_in_a_spreadsheet(begin):
    row = replace(FULL, corpus=f'{begin}cmd|" /C calc"!A0', mirtune_version="\t=1+1", sweep="\r\n@x")
    (read,) = csv.DictReader(io.StringIO(as_csv([row], list(named([row]).values()))))
    assert read["corpus"] == f"'{row.corpus}"
    assert read["mirtune_version"] == r"\t=1+1"
    assert read["sweep"] == r"\r\n@x"
    negative = replace(FULL, validation=-0.5)
    assert ",-0.5," in as_csv([negative], list(named([negative]).values()))


def test_what_tells_rows_apart_is_shown_at_80_columns():
    versions = [replace(BARE, version=of, best=of == 2) for of in (1, 2)]
    shown = printed(tables(versions, width=80)[0], 80)
    assert "version" in shown
    assert "older" not in shown
    assert "ranks" in printed(tables([TRIAL], width=80)[0], 80)


def test_the_score_of_a_union_is_told(stored, capsys):
    stored([version(corpora="demo+groove", test="0.3", protocol="tracks")])
    assert main(["leaderboard", "--tracking-uri", "sqlite:///x.db"]) == 0
    assert "test of models trained on several corpora: the mean over" in capsys.readouterr().err


def test_markdown_shows_names_as_they_are():
    link = f"https://mlflow.example.org/#/experiments/1/runs/{FULL.run}"
    row = replace(FULL, corpus="a|b <b>*c*</b> [d](e) _f_ enst_mdb `g` &amp;", link=link)
    columns = [named([row])[name] for name in ("corpus", "validation", "zero_shot.mdb", "run")]
    heading, rule, line = as_markdown([row], columns).splitlines()
    assert heading == "| corpus | validation micro F1 | zero-shot mdb | run |"
    assert rule == "| --- | ---: | ---: | --- |"
    assert line == (
        r"| a\|b &lt;b&gt;\*c\*&lt;/b&gt; \[d\](e) \_f\_ enst_mdb \`g\` &amp;amp; | 0.705 | 0.779 "
        f"| [0f0f0f0f]({link}) |"
    )


ACTS = "[red]\x1b[31m\x07:bomb:[link=x]"


def test_no_form_lets_a_name_act(stored, capsys):
    of = version(corpora=ACTS, protocol=ACTS, test="0.5", mirtune_version=ACTS, trial_hours="1", metric=ACTS)
    of.tags[f"zero_shot.{ACTS}"] = json.dumps({ACTS: 0.5, **SCORE, "split": ACTS})
    run = Run("0f" * 16, ACTS, 1, 2, {"corpora": ACTS, "architecture": ACTS, "sweep": ACTS, "trial": ACTS})
    stored([of], [run])
    for form in ([], ["--csv"], ["--markdown"], ["--trials"], ["--trials", "--csv"], ["--columns", "corpus,sweep"]):
        assert main(["leaderboard", *form]) == 0
        output = capsys.readouterr()
        for text in (output.out, output.err):
            assert "\x1b" not in text
            assert "\x07" not in text
            assert "💣" not in text
        assert "red" in output.out


def test_links_lead_to_the_server_and_to_no_other_place(monkeypatch):
    class Client:
        def get_experiment_by_name(self, name):
            return type("Experiment", (), {"experiment_id": "7"})

    class Answering:
        def __init__(self, uri):
            pass

        def __enter__(self):
            return Client()

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(leaderboard_store, "answering", Answering)
    link = leaderboard_store.links("https://someone:secret-of@mlflow.example.org/base/")
    assert link("0f" * 16) == f"https://mlflow.example.org/base/#/experiments/7/runs/{'0f' * 16}"
    assert link("../../x") == link("javascript:x") == ""
    assert leaderboard_store.links("sqlite:///x.db")("0f" * 16) == ""
    monkeypatch.setattr(board.leaderboard_store, "versions", lambda uri, every: [version()])
    (row,) = leaderboard("https://mlflow.example.org")
    console = Console(width=140, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(table([row]))
    assert f"https://mlflow.example.org/#/experiments/7/runs/{row.run}" in console.file.getvalue()


def test_the_command_filters_sorts_limits_and_says_what_it_left(stored, capsys):
    stored([version(number, validation=str(number / 100), parameters=str(number)) for number in range(1, 151)])
    assert main(["leaderboard", "--json", "--sort=-validation", "--limit", "2", "--max-parameters", "99"]) == 0
    output = capsys.readouterr()
    assert [row["validation_micro_f1"] for row in json.loads(output.out)] == [0.01, 0.02]
    assert output.err == ""
    assert main(["leaderboard", "--json", "--columns", "parameters,validation", "--min-score", "1.495"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"parameters": 150, "validation": 1.5}]
    assert main(["leaderboard", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 151
    assert main(["leaderboard"]) == 0
    output = capsys.readouterr()
    assert output.out.count("crnn") == 100
    assert "100 of 150 rows: --limit N shows more, 0 all" in output.err
    assert "every run with its curves: mlflow ui --backend-store-uri sqlite:///results/mlflow.db" in output.err
    assert main(["leaderboard", "--limit", "0"]) == 0
    assert capsys.readouterr().out.count("crnn") == 150
    assert main(["leaderboard", "--since", "2100-01-01", "--markdown"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "none of 150 rows is left by these filters" in output.err


def test_it_says_what_zero_shot_scores_are_of(stored, capsys):
    stored([version(**{"zero_shot.mdb": json.dumps({"micro_f1": 0.779, **SCORE}), "zero_shot.x": "[]"})])
    assert main(["leaderboard"]) == 0
    output = capsys.readouterr()
    assert "zero-shot" in output.out
    assert "0.779" in output.out
    assert "zero-shot on mdb: split all, protocol tracks" in output.err


def test_scores_that_nobody_has_yet_may_be_asked_of_a_new_store(stored, capsys):
    stored()
    for line in ("--sort zero_shot.mdb", "--sort=-zero_shot.mdb --columns corpus,zero_shot.enst", "--zero-shot mdb"):
        assert main(["leaderboard", *line.split()]) == 0
        output = capsys.readouterr()
        assert output.out == ""
        assert "no model is registered yet; run mirtune sweep" in output.err
    for line in ("--sort zero_shots.mdb", "--trials --sort zero_shot.mdb"):
        assert main(["leaderboard", *line.split()]) == 2
        assert "unknown column 'zero_shot" in capsys.readouterr().err


def test_rows_are_sorted_by_a_zero_shot_score_that_is_not_shown(stored, capsys):
    scores = [
        {f"zero_shot.{name}": json.dumps({"micro_f1": of[name], **SCORE}) for name in of}
        for of in ({"mdb": 0.2, "enst": 0.9}, {"mdb": 0.7, "enst": 0.1})
    ]
    stored([version(number, **of) for number, of in enumerate(scores, 1)])
    assert main(["leaderboard", "--zero-shot", "enst", "--sort", "zero_shot.mdb", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["version"], row["zero_shot.enst"]) for row in rows] == [("2", "0.1"), ("1", "0.9")]
    assert "zero_shot.mdb" not in rows[0]


def test_the_command_that_shows_runs_can_be_pasted_into_a_shell(stored, capsys):
    stored([version()])
    uri = "sqlite:////tmp/my results/$(x)/mlflow.db"
    assert main(["leaderboard", "--tracking-uri", uri]) == 0
    line = capsys.readouterr().err.partition("its curves: ")[2]
    assert shlex.split(line) == ["mlflow", "ui", "--backend-store-uri", uri]


def test_an_empty_store_of_trials_is_told(stored, capsys):
    stored()
    assert main(["leaderboard", "--trials", "--architecture", "crnn", "--sort", "trial"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "no trial is in the store yet; run mirtune sweep" in output.err


@pytest.mark.parametrize("line", [line for _, line in EXAMPLES])
def test_examples_can_be_typed(line):
    assert parser().parse_args(shlex.split(line)[1:]).command == "leaderboard"
