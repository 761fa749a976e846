"""The page of a sweep: what it says, what it refuses, and that nothing in the folder can be more than text on it."""

import json
import re
from dataclasses import asdict

import numpy as np
import optuna
import pytest

from data_prep.files import write_json
from tuner import cli
from tuner.records import FORMAT, RECORD, TrialRecord, trial_name
from tuner.report import report
from tuner.reporting import gather as gathering
from tuner.reporting import scores
from tuner.reporting.gather import command_of, curves_of, gather, states_of
from tuner.reporting.hyperparameters import axes_of, distributions_of, importances_of
from tuner.reporting.page import embedded
from tuner.sweep_folder import RESULT, SWEEP, ResultFile, SweepFile

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"><!--"
SPACE = {"learning_rate": None, "weight_decay": None, "layers": None, "hidden": None, "unit": None}


def made_trial(number, *, epochs=4, state="finished", score=None, **changes):
    """A trial of a CRNN whose best score depends on the learning rate alone, or is the one given."""
    generator = np.random.default_rng(number)
    rate = float(10 ** generator.uniform(-3.9, -2.4))
    chosen = {"learning_rate": rate, "weight_decay": float(10 ** generator.uniform(-5.9, -2.1))}
    chosen |= {"layers": int(generator.integers(2, 6)), "hidden": int(generator.choice([72, 144, 288, 576]))}
    chosen |= {"unit": str(generator.choice(["gru", "lstm"]))}
    record = TrialRecord(trial_name(number), number, chosen | changes.pop("chosen", {}), micro_batch=8)
    reached = 0.9 - 0.2 * abs(np.log10(rate / 1e-3)) if score is None else score
    for epoch in range(1, epochs + 1):
        value = float(reached * epoch / epochs)
        metrics = {"validation_micro_f1": value, "validation_loss": 1 - value, "train_loss": 1.1 - value}
        metrics |= {"validation_f1_bing": value, "validation_f1_bong": value / 2, "seconds": 2.0}
        record.take({"epoch": epoch, "is_best": True, "metrics": metrics}, value)
    record.state, record.seconds = state, 2.0 * epochs
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def write_sweep(storage, records, *, name="made", result=True, **options):
    """A sweep's folder of these trials, as a sweep leaves it."""
    folder = storage / name
    began = {
        "corpora": ["song"],
        "architecture": "crnn",
        "task": "drum_onsets",
        "recipe": "study",
        "trials": len(records),
    }
    began |= {"batch_size": 8, "max_epochs": 4, "seed": 0, "gpus_per_trial": 0.5, "narrow": {}, "shards": str(storage)}
    file = SweepFile(began | options, {"song": "0" * 64}, id="0" * 32)
    write_json(folder / SWEEP, {"format": FORMAT, **asdict(file)})
    for record in records:
        write_json(folder / record.id / RECORD, {"format": FORMAT, **asdict(record)})
    if result:
        rates = {"precision": 0.7, "recall": 0.6, "interval": [0.5, 0.7], "onsets": 12}
        test = {
            "corpus": "song",
            "split": "test",
            "protocol": "tracks",
            "tolerance_ms": 50,
            "micro_f1": 0.64,
            "tracks": 3,
        }
        test |= rates | {"classes": {"bing": {"f1": 0.75, **rates}, "bong": {"f1": 0.5, **rates, "interval": None}}}
        best = max(records, key=lambda of: of.best or 0)
        ended = ResultFile(
            file.id, "micro_f1", "max", best.id, best.checkpoint, best.best_epoch, best.best, {"song": test}, 1234,
            len(records), 0, sum(of.seconds for of in records), 1, 0.5, "9.8.7", "2026-11-22T11:43:51+00:00",
        )  # fmt: skip
        write_json(folder / RESULT, {"format": FORMAT, **asdict(ended)})
    return folder


def data_of(path):
    """The JSON that the page's charts are drawn from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found[1])


@pytest.fixture
def records():
    """Forty trials that finished, one that was stopped, one that failed, one that was lost and went on."""
    odd = made_trial(41, epochs=2, state="stopped"), made_trial(42, epochs=0, state="failed", error="ValueError: NaN")
    return [*map(made_trial, range(1, 41)), *odd, made_trial(43, attempts=3, micro_batch=4)]


def test_the_page_says_what_the_folder_knows(records, tmp_path, document):
    write_sweep(tmp_path, records)
    out = tmp_path / "page.html"
    assert cli.main(["report", "made", "--storage", str(tmp_path), "--out", str(out), "--json"]) == 0
    told = document()
    best = max(records, key=lambda of: of.best or 0)
    assert told["path"] == str(out)
    assert told["size_bytes"] == out.stat().st_size
    facts = told["facts"]
    assert (facts["best_trial"], facts["best"], facts["best_epoch"]) == (best.number, best.best, 4)
    assert facts["best_hyperparameters"] == best.hyperparameters
    assert facts["states"] == {"finished": 41, "stopped": 1, "failed": 1}
    assert facts["trials"] == 43
    seconds = sum(of.seconds for of in records)
    assert facts["trial_hours"] == pytest.approx(seconds / 3600, abs=1e-4)
    assert facts["gpu_hours"] == pytest.approx(seconds / 7200, abs=1e-4)
    [test] = facts["tests"]
    assert (test["corpus"], test["value"], test["low"], test["high"]) == ("song", 0.64, 0.5, 0.7)
    assert (told["examples"], told["note"]) == (0, "No trial has left a checkpoint yet.")
    page = out.read_text()
    assert "0.640" in page
    assert "0.500–0.700" in page
    assert "9.8.7" in page
    assert "2026-11-22 11:43 UTC" in page
    assert "mirtune sweep --corpus song --architecture crnn --trials 43" in page
    assert "ValueError: NaN" in page
    assert "4, as memory ran out" in page
    data = data_of(out)
    assert [of["name"] for of in data["classes"]] == ["bing", "bong"]
    assert data["tests"][0]["classes"]["bong"] == {
        **{"value": 0.5, "low": None, "high": None, "precision": 0.7, "recall": 0.6, "onsets": 12}
    }
    assert data["key"] == data["curves"]["metrics"][0] == "validation_micro_f1"
    row = data["trials"][best.number - 1]
    assert row["hyperparameters"] == best.hyperparameters
    assert row["best"] == best.best
    assert data["curves"]["epochs"][best.number - 1] == [1, 2, 3, 4]
    assert data["curves"]["values"][0][best.number - 1] == pytest.approx(
        [of["metrics"]["validation_micro_f1"] for of in best.history], rel=1e-4
    )


def test_importances_are_those_of_optuna_for_the_same_study(records, tmp_path):
    """Against a study that is built here, from the space as the design has it."""
    write_sweep(tmp_path, records)
    sweep = gather("made", str(tmp_path))
    found = importances_of(sweep, distributions_of(sweep))
    distributions = {
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 5e-3, log=True),
        "weight_decay": optuna.distributions.FloatDistribution(1e-6, 1e-2, log=True),
        "layers": optuna.distributions.IntDistribution(2, 5),
        "hidden": optuna.distributions.CategoricalDistribution([72, 144, 288, 576]),
        "unit": optuna.distributions.CategoricalDistribution(["gru", "lstm"]),
    }
    assert distributions_of(sweep) == distributions
    study = optuna.create_study(direction="maximize")
    for record in records:
        if record.state == "finished":
            study.add_trial(
                optuna.trial.create_trial(params=record.hyperparameters, distributions=distributions, value=record.best)
            )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(distributions))
    assert found.method == "fANOVA"
    assert found.trials == 41
    assert found.shares == pytest.approx({name: float(of) for name, of in expected.items()})
    assert next(iter(found.shares)) == "learning_rate"
    assert found.shares["learning_rate"] > 0.8


def test_axes_are_as_the_space_draws_them(records, tmp_path):
    write_sweep(tmp_path, records, narrow={"hidden": [72, 144, 288, 576]})
    sweep = gather("made", str(tmp_path))
    axes = {of["name"]: of for of in axes_of(sweep, distributions_of(sweep), {"layers": 0.6, "unit": 0.4})}
    assert list(axes)[:2] == ["layers", "unit"]
    kinds = {name: of["kind"] for name, of in axes.items()}
    assert kinds == {
        "learning_rate": "log",
        "weight_decay": "log",
        "layers": "linear",
        "hidden": "words",
        "unit": "words",
    }
    assert (axes["learning_rate"]["low"], axes["learning_rate"]["high"]) == (1e-4, 5e-3)
    assert axes["hidden"]["categories"] == [72, 144, 288, 576]
    assert axes["unit"]["categories"] == ["gru", "lstm"]
    assert not any(of["fixed"] for of in axes.values())


def test_a_space_that_is_not_known_is_told_from_the_values(records, tmp_path):
    for number, record in enumerate(records):
        record.hyperparameters |= {"learning_rate": 10.0 ** -(number % 5), "layers": [1, 2], "unit": "bi"}
    write_sweep(tmp_path, records, architecture="of another version")
    sweep = gather("made", str(tmp_path))
    axes = {of["name"]: of for of in axes_of(sweep, distributions_of(sweep), {})}
    assert axes["learning_rate"]["kind"] == "log"
    assert axes["learning_rate"]["low"] == 1e-4
    assert axes["layers"]["fixed"]
    assert axes["layers"]["categories"] == ["[1, 2]"]
    assert axes["unit"]["fixed"]
    assert not axes["hidden"]["fixed"]


@pytest.mark.parametrize(
    ("records", "note"),
    [
        ([made_trial(of) for of in range(1, 6)], "Too few trials: 5 finished"),
        ([made_trial(of, score=0.5) for of in range(1, 12)], "reached the same score"),
        ([made_trial(of, chosen=dict.fromkeys(SPACE, 3)) for of in range(1, 12)], "no hyperparameter was varied"),
    ],
)
def test_where_importances_say_nothing_the_page_says_so(records, note, tmp_path):
    write_sweep(tmp_path, records, architecture="of another version")
    made = report("made", storage=str(tmp_path), examples=False)
    assert made.importances == {}
    assert note in made.path.read_text()
    assert made.path == tmp_path / "made" / "report.html"


def test_a_sweep_that_runs_has_its_page(tmp_path):
    running = [made_trial(1), made_trial(2, epochs=1, state="running"), made_trial(3, epochs=0, state="running")]
    write_sweep(tmp_path, running, result=False, trials=9)
    made = report("made", storage=str(tmp_path), examples=False)
    page = made.path.read_text()
    assert "has not come to its end" in page
    assert "comes with the sweep’s end" in page
    assert made.facts["ended"] is None
    assert made.facts["planned"] == 9
    assert made.facts["states"] == {"finished": 1, "running": 2}


def test_a_failed_trial_is_not_the_best(tmp_path):
    records = [made_trial(1, score=0.5), made_trial(2, score=0.95, state="failed", error="OSError: gone")]
    write_sweep(tmp_path, records)
    made = report("made", storage=str(tmp_path), examples=False)
    assert (made.facts["best_trial"], made.facts["best"]) == (1, 0.5)
    assert data_of(made.path)["best"] == 1


def goes_on(records):
    records[1].state = "running"


def has_a_better_one(records):
    records.append(made_trial(3, score=0.95))


def has_a_better_epoch(records):
    records[0].take({"epoch": 5, "is_best": True, "metrics": {"validation_micro_f1": 0.9}}, 0.9)


def took_longer(records):
    records[1].seconds += 3.0


@pytest.mark.parametrize("change", [goes_on, has_a_better_one, has_a_better_epoch, took_longer])
def test_a_sweep_that_goes_on_has_not_ended(change, tmp_path):
    records = [made_trial(1, score=0.7), made_trial(2, score=0.5)]
    folder = write_sweep(tmp_path, records)
    made = report("made", storage=str(tmp_path), examples=False)
    assert made.facts["ended"] == "2026-11-22 11:43 UTC"
    assert "before it went on" not in made.path.read_text()
    change(records)
    for record in records:
        write_json(folder / record.id / RECORD, {"format": FORMAT, **asdict(record)})
    made = report("made", storage=str(tmp_path), examples=False)
    assert (made.facts["ended"], made.facts["parameters"]) == (None, None)
    page = made.path.read_text()
    assert "has not come to its end" in page
    assert "<b>of trial 1, before it went on</b>" in page
    assert [of["before"] for of in made.facts["tests"]] == ["of trial 1, before it went on"]


def test_a_class_that_does_not_occur_has_no_f1(tmp_path):
    folder = write_sweep(tmp_path, [made_trial(1)])
    content = json.loads((folder / RESULT).read_text())
    content["tests"]["song"]["classes"]["bong"] |= {"f1": 0.0, "onsets": 0, "interval": [0.0, 0.0]}
    write_json(folder / RESULT, content)
    rows = data_of(report("made", storage=str(tmp_path), examples=False).path)["tests"][0]["classes"]
    nothing = dict.fromkeys(("value", "low", "high", "precision", "recall"))
    assert rows["bong"] == {**nothing, "onsets": 0}
    assert rows["bing"]["value"] == 0.75


@pytest.mark.parametrize("corpora", [None, 3, [], [["x"]], "song"])
def test_whatever_keeps_windows_from_being_heard_is_told(corpora, tmp_path):
    write_sweep(tmp_path, [made_trial(1, checkpoint="best-0004")], corpora=corpora)
    made = report("made", storage=str(tmp_path))
    assert made.examples == 0
    assert made.note.startswith("Left out: ")


def test_a_metric_to_be_low_is_read_so(tmp_path):
    records = [made_trial(1, score=0.9), made_trial(2, score=0.2), made_trial(3, score=0.5)]
    folder = write_sweep(tmp_path, records)
    content = json.loads((folder / RESULT).read_text())
    write_json(folder / RESULT, content | {"mode": "min"})
    assert gather("made", str(tmp_path)).best.number == 2


def test_long_curves_are_thinned_to_what_a_screen_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_CURVE_POINTS", 400)
    record = made_trial(1, epochs=1000)
    record.best_epoch = 333
    write_sweep(tmp_path, [record, made_trial(2)])
    curves = curves_of(gather("made", str(tmp_path)))
    epochs = curves["epochs"][0]
    assert 150 < len(epochs) <= 200
    assert epochs == sorted(set(epochs))
    assert {1, 333, 1000} <= set(epochs)
    assert max(np.diff(epochs)) <= 6
    assert curves["epochs"][1] == [1, 2, 3, 4]
    at = epochs.index(333)
    assert curves["values"][0][0][at] == pytest.approx(record.history[332]["metrics"]["validation_micro_f1"], rel=1e-4)


def test_text_from_the_folder_stays_text(tmp_path):
    """A name, a word, an error, a metric and a class that would end the script or be run."""
    records = [made_trial(of, chosen={"unit": HOSTILE, HOSTILE: of}) for of in range(1, 12)]
    records[0].state, records[0].error = "failed", HOSTILE
    for record in records:
        for entry in record.history:
            entry["metrics"][f"validation_f1_{HOSTILE}"] = 0.5
    folder = write_sweep(tmp_path, records, corpora=[HOSTILE], recipe=HOSTILE)
    content = json.loads((folder / RESULT).read_text())
    content["tests"] = {HOSTILE: content["tests"]["song"] | {"protocol": HOSTILE, "classes": {HOSTILE: {"f1": 1.0}}}}
    write_json(folder / RESULT, content)
    page = report("made", storage=str(tmp_path)).path.read_text()
    assert "<script>document" not in page
    assert "<img src=x" not in page
    assert "<!--" not in page
    assert page.count("</script>") == page.count("<script") == 3
    data = data_of(folder / "report.html")
    assert data["trials"][0]["error"] == HOSTILE
    assert data["tests"][0]["corpus"] == HOSTILE


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a\u2028b", "&lt;", '"\\'])
def test_embedded_json_reads_back_and_ends_nothing(text):
    made = embedded({"text": text})
    assert json.loads(made) == {"text": text}
    assert not set("<>&\u2028") & set(made)


def test_the_command_runs_nothing_else_when_pasted(records, tmp_path):
    write_sweep(tmp_path, records, corpora=["song; rm -rf ~", "$(id)"], points="`id`")
    command = command_of(gather("made", str(tmp_path)))
    assert "'song;'" in command
    assert "'$(id)'" in command
    assert "'`id`'" in command


def test_values_that_are_no_scores_are_left_out(records, tmp_path):
    folder = write_sweep(tmp_path, records)
    content = json.loads((folder / RESULT).read_text())
    odd = {"a": {}, "b": {"micro_f1": "high"}, "c": {"micro_f1": 0.5, "interval": "wide", "classes": [1]}}
    write_json(folder / RESULT, {**content, "tests": {**odd, "d": 3}})
    assert gather("made", str(tmp_path)).result is None
    write_json(folder / RESULT, {**content, "tests": odd})
    (folder / "profile.json").write_text('{"trials": [{"trial": 1, "seconds": {}}]}')
    sweep = gather("made", str(tmp_path))
    [test] = scores.tests_of(sweep)
    assert (test["corpus"], test["value"], test["low"], test["classes"]) == ("c", 0.5, None, {})
    assert sweep.profile is None
    assert sum(states_of(sweep).values()) == 43
    assert report("made", storage=str(tmp_path), examples=False).path.is_file()


def test_what_is_no_sweep_is_refused(tmp_path, capsys):
    (tmp_path / "else").mkdir()
    assert cli.main(["report", "none", "--storage", str(tmp_path)]) == 2
    assert "there is no sweep named 'none'" in capsys.readouterr().err
    write_sweep(tmp_path, [], result=False)
    assert cli.main(["report", "other", "--storage", str(tmp_path)]) == 2
    assert "choose from made" in capsys.readouterr().err
    assert cli.main(["report", "made", "--storage", str(tmp_path)]) == 2
    assert "has begun no trial yet" in capsys.readouterr().err
    assert cli.main(["report", "../made", "--storage", str(tmp_path)]) == 2
    write_sweep(tmp_path, [made_trial(1)], name="one")
    assert cli.main(["report", "one", "--storage", str(tmp_path), "--out", str(tmp_path / "else")]) == 2
    assert "is a folder" in capsys.readouterr().err
