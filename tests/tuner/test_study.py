"""`mirtune study`: cells are begun, gone on with and left alone; what cannot work is refused before anything starts."""

import argparse
import csv
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mixed_corpora import prepare_mixed
from mlflow import MlflowClient

from data_prep.manifest import Manifest
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.storage import Storage
from tuner import study_scores
from tuner import sweep as sweep_module
from tuner.cli import main
from tuner.commands import study as command
from tuner.forecast import Forecast
from tuner.options import SweepOptions
from tuner.parser import Parser
from tuner.plan import check
from tuner.records import load_records
from tuner.studies import Study, StudyOptions, check_study, how_to_go_on
from tuner.study_cells import Entry, cells_of
from tuner.sweep import SweepFailed
from tuner.sweep_folder import ResultFile, SweepFile
from tuner.zero_shot import scores_of

SWEEPS = SweepOptions((), "", trials=4, max_epochs=2, tracking_uri="sqlite:///x.db")


@pytest.fixture(scope="module")
def two_corpora(shards, tmp_path_factory) -> Path:
    """mdb, and clicks, which has no test tracks."""
    folder = prepare_mixed(tmp_path_factory.mktemp("two"))
    (folder / "mdb").symlink_to(shards / "mdb")
    return folder


@pytest.fixture
def where(two_corpora, tmp_path) -> list[str]:
    """Words that every command of these tests has."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return [
        *("--shards", str(two_corpora), "--storage", str(tmp_path / "sweeps"), "--tracking-uri", uri),
        *("--out", str(tmp_path / "out"), "--trials", "4", "--max-epochs", "2"),
    ]


@pytest.fixture
def sweeps(swept, ray, monkeypatch) -> list[str]:
    """The sweeps that were run, in the place of which the session's finished one is put into the cell's folder."""
    ran: list[str] = []

    def sweep(options: SweepOptions) -> None:
        assert options.resume
        ran.append(options.name)
        folder = Storage.at(options.storage) / options.name
        shutil.copytree(Path(swept.options.storage) / "first", folder.path, dirs_exist_ok=True)
        for left in ("profile.json", "profile.md", ".driver.lock"):
            (folder.path / left).unlink(missing_ok=True)
        began = SweepFile.load(Storage.at(swept.options.storage) / "first")
        result = ResultFile.load(folder, began.id)
        file = SweepFile({**options.beginning, "batch_size": 4}, check(options).checksums)
        file.save(folder)
        tests = {of: result.tests["mdb"] for of in options.corpora if of == "mdb"}
        replace(result, sweep_id=file.id, tests=tests, gpus_per_trial=0.5).save(folder)

    monkeypatch.setattr(sweep_module, "sweep", sweep)
    return ran


def architectures(*words: str) -> list[str]:
    return ["study", "architecture", "--corpora", "mdb", "--architectures", "vit", "rnn", *words]


def corpora(*words: str) -> list[str]:
    return ["study", "corpora", "--architecture", "vit", "--combinations", "mdb", *words]


def test_a_study_runs_each_cell_once_and_shows_what_came_out(swept, sweeps, where, tmp_path, capsys):
    assert main([*architectures(), *where]) == 0
    assert sweeps == ["architecture.mdb.vit", "architecture.mdb.rnn"]
    said = capsys.readouterr()
    f1 = swept.result.tests["mdb"]["micro_f1"]
    assert f"{f1:.3f}" in said.out
    assert "2 cells, 0 done, 2 to do" in said.err
    rows = list(csv.DictReader(StringIO((tmp_path / "out" / "architecture_study.csv").read_text())))
    assert [(of["architecture"], float(of["micro_f1"])) for of in rows] == [("vit", f1), ("rnn", f1)]
    content = json.loads((tmp_path / "out" / "architecture_study.json").read_text())
    cell, records = content["cells"][0], load_records(Storage.at(tmp_path / "sweeps") / "architecture.mdb.vit")
    assert (cell["trials"], cell["epochs"], cell["state"]) == (4, sum(of.epochs for of in records), "done")
    assert cell["hyperparameters"] == swept.result.best.hyperparameters
    assert cell["trial_hours"] == pytest.approx(sum(of.seconds for of in records) / 3600)
    assert cell["gpu_hours"] == pytest.approx(cell["trial_hours"] / 2)

    assert main([*architectures("--json"), *where]) == 0
    again = capsys.readouterr()
    assert len(sweeps) == 2
    assert json.loads(again.out)["cells"] == content["cells"]
    assert (tmp_path / "out" / "architecture_study-by-corpus.png").is_file()


def test_more_trials_and_another_architecture_are_new_work_and_nothing_else_is(sweeps, where, monkeypatch):
    assert main([*architectures(), *where]) == 0
    del sweeps[:]
    more = ["--architectures", "vit", "rnn", "cnn"]
    assert main([*architectures(), *where, *more]) == 0
    assert sweeps == ["architecture.mdb.cnn"]
    del sweeps[:]
    monkeypatch.setattr(sweep_module, "sweep", lambda options: sweeps.append(options.name))
    assert main([*architectures(), *where, "--trials", "5"]) == 0
    assert sweeps == ["architecture.mdb.vit", "architecture.mdb.rnn"]


def test_a_stopped_study_leaves_what_it_has_and_goes_on_by_the_command_it_says(
    sweeps, where, tmp_path, monkeypatch, capsys
):
    inner = sweep_module.sweep

    def stopped(options):
        if options.architecture == "rnn":
            raise KeyboardInterrupt
        inner(options)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "sweep", stopped)
        assert main([*architectures(), *where]) == 130
    said = capsys.readouterr().err
    assert "study architecture: 1 of 2 cells are done; `mirtune study architecture --corpora mdb" in said
    page = (tmp_path / "out" / "architecture_study.md").read_text()
    assert "| rnn | to do |" in page
    line = next(of for of in said.splitlines() if "goes on" in of).split("`")[1]
    assert main(line.split()[1:]) == 0
    assert sweeps == ["architecture.mdb.vit", "architecture.mdb.rnn"]
    assert "to do" not in (tmp_path / "out" / "architecture_study.md").read_text()


def test_a_cell_that_fails_does_not_stop_the_others(sweeps, where, tmp_path, monkeypatch, capsys):
    inner = sweep_module.sweep

    def failing(options):
        inner(options)
        if options.architecture == "vit":
            (tmp_path / "sweeps" / options.name / "result.json").unlink()
            raise SweepFailed("all 4 trials of it failed")

    monkeypatch.setattr(sweep_module, "sweep", failing)
    assert main([*architectures(), *where]) == 1
    said = capsys.readouterr()
    assert "1 of 2 cells failed: architecture.mdb.vit; the others ended" in said.err
    assert "1 of 2 cells are done; `mirtune study architecture" in said.err
    assert "vit on mdb failed: all 4 trials of it failed" in " ".join(said.out.split())
    page = (tmp_path / "out" / "architecture_study.md").read_text()
    assert "| vit | failed |" in page
    assert "| rnn | **0." in page


def test_a_cell_that_a_time_budget_ended_before_its_first_epoch_is_unfinished(
    sweeps, where, tmp_path, monkeypatch, capsys
):
    def out_of_time(options):
        SweepFile({**options.beginning, "batch_size": 4}, check(options).checksums).save(
            Storage.at(options.storage) / options.name
        )
        raise SweepFailed("no trial has come to the end of an epoch")

    monkeypatch.setattr(sweep_module, "sweep", out_of_time)
    assert main([*architectures("--architectures", "vit"), *where]) == 0
    said = capsys.readouterr()
    assert "study architecture: 0 of 1 cells are done; `mirtune study architecture" in said.err
    assert "vit on mdb: 0 of 4 trials (no trial has come to the end of an epoch)" in " ".join(said.out.split())
    content = json.loads((tmp_path / "out" / "architecture_study.json").read_text())
    assert [cell["state"] for cell in content["cells"]] == ["unfinished"]
    assert "| vit | unfinished |" in (tmp_path / "out" / "architecture_study.md").read_text()


def unregister(folder: Path, **changes) -> None:
    """As a store that did not take the model leaves it."""
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "registered": False, **changes}))


def test_a_model_that_the_store_has_not_taken_is_offered_again_once_and_the_study_ends(
    sweeps, where, tmp_path, monkeypatch, capsys
):
    asked = [*architectures("--architectures", "vit"), *where]
    assert main(asked) == 0
    folder = tmp_path / "sweeps" / "architecture.mdb.vit"
    unregister(folder, trials=6)  # more than are asked for now
    capsys.readouterr()
    assert main([*asked, "--dry-run"]) == 0
    assert "nothing would be trained; 1 would be registered" in capsys.readouterr().out
    offered: list[int] = []

    def refusing(options):
        raise Refused("the store cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "sweep", lambda options: offered.append(options.trials))
        assert main(asked) == 0  # not taken this time either
        said = capsys.readouterr()
        assert offered == [6]
        assert "0 of 1 cells are done, 1 more trained but not registered" in said.err
        assert "its model is not registered" in said.out
        page = (tmp_path / "out" / "architecture_study.md").read_text()
        assert "| vit | **0." in page  # and nothing of it is called unfinished
        patch.setattr(sweep_module, "sweep", refusing)
        assert main(asked) == 0
        assert "could not be registered (the store cannot be used)" in capsys.readouterr().err
    assert main(asked) == 0
    assert json.loads((tmp_path / "out" / "architecture_study.json").read_text())["cells"][0]["state"] == "done"
    assert "goes on" not in capsys.readouterr().err


def test_what_was_scored_is_written_although_the_next_scoring_fails(sweeps, where, tmp_path, monkeypatch):
    asked = [*corpora("clicks", "--on", "mdb"), *where]
    real, given = study_scores._scored, []

    def scored(checkpoint, wanted, cell, gpus):
        given.append(cell.name)
        if len(given) == 2:
            raise Refused("no more")
        return real(checkpoint, wanted, cell, gpus)

    assert main(asked) == 0
    (tmp_path / "out" / "corpora_study.json").unlink()
    for cell in ("corpora.mdb.vit", "corpora.clicks.vit"):
        path = tmp_path / "sweeps" / cell / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "tests": {}}))
    monkeypatch.setattr(study_scores, "_scored", scored)
    assert main(asked) == 2
    content = json.loads((tmp_path / "out" / "corpora_study.json").read_text())
    assert [list(cell["scores"]) for cell in content["cells"]] == [["mdb"], []]
    assert main(asked) == 0
    assert given == ["corpora.mdb.vit", "corpora.clicks.vit", "corpora.clicks.vit"]


def test_how_to_go_on_hides_no_interrupt(sweeps, where, tmp_path, monkeypatch):
    def damaging(options):
        folder = tmp_path / "sweeps" / "architecture.mdb.vit"
        folder.mkdir(parents=True)
        (folder / "sweep.json").write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_module, "sweep", damaging)
    assert main([*architectures(), *where]) == 130


def test_zero_shot_scores_that_the_registry_has_are_not_offered_again(monkeypatch, capsys):
    recorded: list[tuple] = []
    kept = {"micro_f1": 0.5, "split": "test", "protocol": "tracks", "tracks": 9, "interval": [0.25, 0.75]}
    when = {"when": "2026-01-01T00:00:00+00:00"}
    tags = {"sweep.id": "i", "epoch": "2", "validation": "0.7", "zero_shot.b": json.dumps(kept | when)}
    version = SimpleNamespace(tags=tags)
    monkeypatch.setattr("tuner.model_versions.answering", lambda uri: nullcontext())
    monkeypatch.setattr("tuner.model_versions.versions", lambda client, name: [version])
    monkeypatch.setattr("tuner.zero_shot.record", lambda *given: recorded.append(given))
    (cell,) = cells_of("x", [("a",)], ["vit"], SWEEPS)
    entry = Entry(["a"], "vit", "x.a.vit", validation=0.7, best_epoch=2, checkpoint="i/trial-0001/best")
    entry.scores = {of: {"corpus": of, "macro_f1": 0.1, **kept} for of in ("a", "b", "c")}
    assert study_scores.record_zero_shot(cell, entry, ["b", "c"])
    assert [given[1]["corpus"] for given in recorded] == ["c"]
    entry.scores["b"]["micro_f1"] = 0.6
    assert study_scores.record_zero_shot(cell, entry, ["b"])
    assert [given[1]["corpus"] for given in recorded] == ["c", "b"]
    monkeypatch.setattr("tuner.zero_shot.record", lambda *given: json.loads("no"))
    assert not study_scores.record_zero_shot(cell, entry, ["c"])
    assert "x.a.vit: the tracking store did not take its zero-shot scores" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"features": "other-1"}, "corpora 'mdb' and 'odd' differ in their features"),
        ({"targets": "beats"}, "corpus 'odd' holds beats, the task learns onsets"),
        ({"bands": 42}, "corpora 'mdb' and 'odd' differ in their bands"),
    ],
)
def test_corpora_that_do_not_fit_what_is_trained_on_are_refused(two_corpora, tmp_path, change, sentence):
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "mdb").symlink_to(two_corpora / "mdb")
    shutil.copytree(two_corpora / "mdb", shards / "odd")
    replace(Manifest.load(shards / "odd"), corpus="odd", **change).save(shards / "odd")
    options = StudyOptions("corpora", (("mdb",),), ("vit",), replace(SWEEPS, shards=shards), on=("mdb", "odd"))
    for asked in (options, replace(options, kind="architecture", unions=(("mdb", "odd"),), on=())):
        with pytest.raises(Refused, match=sentence):
            check_study(asked)


def test_a_mean_over_different_protocols_is_refused(two_corpora, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "mdb").symlink_to(two_corpora / "mdb")
    shutil.copytree(two_corpora / "mdb", shards / "cut")
    replace(Manifest.load(shards / "cut"), corpus="cut", whole_tracks=False).save(shards / "cut")
    options = StudyOptions("architecture", (("mdb", "cut"),), ("vit",), replace(SWEEPS, shards=shards))
    with pytest.raises(Refused, match=r"mean of different protocols \(mdb: tracks, cut: segments\)"):
        check_study(options)
    assert check_study(replace(options, protocol="segments")).wanted["mdb"] == ("test", "segments")


def test_each_corpus_is_compared_with_its_checksums_once_and_not_for_a_dry_run(two_corpora, monkeypatch):
    compared: list[str] = []
    real = Corpus.open

    def opened(folder, *, verify=False):
        if verify:
            compared.append(folder.name)
        return real(folder, verify=verify)

    monkeypatch.setattr(Corpus, "open", opened)
    options = StudyOptions(
        "corpora", (("mdb",), ("clicks", "mdb")), ("vit",), replace(SWEEPS, shards=two_corpora), on=("mdb",)
    )
    assert len(check_study(options, verify=False).plans) == 2
    assert not compared
    check_study(options)
    assert compared == ["mdb", "clicks"]


def test_checkpoints_are_scored_once_on_corpora_that_their_sweep_did_not_test(
    sweeps, where, tmp_path, monkeypatch, capsys
):
    asked = corpora("clicks", "--on", "mdb")
    assert main([*asked, *where]) == 0
    rows = list(csv.DictReader(StringIO((tmp_path / "out" / "corpora_study.csv").read_text())))
    assert [(of["trained_on"], of["zero_shot"], of["split"]) for of in rows] == [
        *(("mdb", "False", "test"), ("clicks", "True", "test"))
    ]
    assert rows[0]["micro_f1"] == rows[1]["micro_f1"]  # the very same checkpoint
    assert rows[1]["best_zero_shot"] == "True"
    assert "scoring its best checkpoint on mdb" in capsys.readouterr().err
    scored: list[str] = []
    monkeypatch.setattr(study_scores, "_scored", lambda *given: scored.append("again") or {})
    assert main([*asked, *where]) == 0
    assert not scored
    path = tmp_path / "out" / "corpora_study.json"
    content = json.loads(path.read_text())
    content["cells"][1]["scores"]["mdb"]["micro_f1"] = "nothing"  # what others wrote is no score
    path.write_text(json.dumps(content))
    assert main([*asked, *where]) == 0
    assert scored == ["again"]


def test_another_protocol_is_scored_anew(sweeps, where, tmp_path):
    assert main([*architectures("--protocol", "segments"), *where]) == 0
    content = json.loads((tmp_path / "out" / "architecture_study.json").read_text())
    assert content["scored_on"] == {"mdb": {"split": "test", "protocol": "segments"}}
    assert {cell["scores"]["mdb"]["protocol"] for cell in content["cells"]} == {"segments"}


def test_a_corpus_without_test_tracks_is_scored_whole_where_nothing_trains_on_it(two_corpora):
    options = StudyOptions("corpora", (("mdb",),), ("vit",), replace(SWEEPS, shards=two_corpora), on=("mdb", "clicks"))
    study = check_study(options)
    assert study.wanted == {"mdb": ("test", "tracks"), "clicks": ("all", "tracks")}
    with pytest.raises(Refused, match=r"'clicks' has no test tracks, and is trained on in some combination"):
        check_study(replace(options, unions=(("mdb",), ("clicks",))))
    assert set(check_study(replace(options, unions=(("mdb",), ("clicks",)), on=())).wanted) == {"mdb"}


REFUSALS = [
    (architectures()[:2], "lacks --corpora"),
    ([*architectures(), "--on", "mdb"], "--on is of `mirtune study corpora`"),
    ([*architectures(), "--corpus-power", "0.5"], "--corpus-power is of `mirtune study corpora`"),
    (["study", "corpora", "--architecture", "vit"], "lacks --combinations"),
    ([*corpora(), "--corpora", "mdb"], "--corpora is of `mirtune study architecture`"),
    ([*architectures(), "--architectures", "vit", "vit"], "architecture 'vit' is named twice"),
    ([*architectures(), "--architectures", "gan"], "unknown architecture 'gan'"),
    ([*architectures(), "--corpora", "mdb", "mdb"], "combination of corpora 'mdb' is named twice"),
    ([*architectures(), "--corpora", "nope"], "unknown corpus 'nope'"),
    ([*architectures(), "--corpora", "clicks"], "clicks has no test tracks to compare architectures on"),
    (corpora("clicks+mdb", "mdb+clicks"), "combination of corpora 'clicks+mdb' is named twice"),
    (corpora("mdb+mdb"), "each once"),
    ([*corpora("clicks"), "--on", "mdb", "mdb"], "'mdb' is named twice to score on"),
    ([*corpora(), "--on", "nope"], "unknown corpus 'nope'"),
    ([*corpora(), "--on", "music"], "there for training to mix"),
    ([*corpora(), "--corpus-power", "2"], "--corpus-power 2: expected 0"),
    ([*architectures(), "--narrow", "depth=3"], "unknown hyperparameter 'depth'"),
    ([*architectures(), "--narrow", "crnn.hidden=3"], "unknown architecture of the study 'crnn'"),
    ([*architectures(), "--narrow", "vit.unit=gru"], "unknown hyperparameter of vit 'unit'"),
    ([*architectures(), "--trials", "0"], "0 trials does nothing"),
    ([*architectures(), "--name", "../x"], "cannot be a sweep's name"),
    ([*architectures(), "--protocol", "luck"], "unknown protocol 'luck'"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSALS)
def test_what_cannot_work_is_refused_before_anything_starts(words, sentence, where, tmp_path, capsys):
    # What the case gives counts, as it stands last.
    assert main([*words[:2], *where, *words[2:]]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert not said.out
    assert not (tmp_path / "sweeps").exists()
    assert not (tmp_path / "out").exists()


def test_a_cell_that_was_begun_otherwise_is_refused_before_anything_starts(sweeps, where, capsys):
    assert main([*architectures(), *where]) == 0
    assert main([*architectures("--architectures", "cnn", "vit", "--seed", "3"), *where]) == 2
    assert "sweep 'architecture.mdb.vit' was begun with --seed 0 and cannot go on with 3" in capsys.readouterr().err
    assert len(sweeps) == 2


def test_narrowing_is_for_architectures_that_have_it():
    narrow = {"layers": (2,), "hidden": (72,), "crnn.hidden": (144,), "learning_rate": (0.001,), "music_share": (0.0,)}
    cells = cells_of("x", [("a",)], ["rnn", "crnn", "vit"], replace(SWEEPS, narrow=narrow))
    common = {"layers": (2,), "learning_rate": (0.001,), "music_share": (0.0,)}
    assert [cell.options.narrow for cell in cells] == [
        common | {"hidden": (72,)},
        common | {"hidden": (144,)},
        common,
    ]
    assert [cell.name for cell in cells] == ["x.a.rnn", "x.a.crnn", "x.a.vit"]


def test_the_command_is_told_as_it_was_given(where):
    parser = Parser()
    command.add_arguments(parser)
    words = [
        *corpora(
            "mdb+clicks", "--on", "mdb", "--narrow", "vit.layers=1,2", "learning_rate=0.01", "--time-budget", "90s"
        ),
        *("--reference", "study", "--json"),
    ][1:]
    given = parser.parse_args([*words, *where])
    told = command.command_of(vars(given)).split()
    assert told[:2] == ["mirtune", "study"]
    assert vars(parser.parse_args(told[2:])) == vars(given)
    assert vars(parser.parse_args([*told[2:], "--dry-run"]))["dry_run"]


def test_a_password_is_not_told(monkeypatch, capsys):
    uri = "postgresql://me:tiger@host/db"
    given = vars(argparse.Namespace(kind="architecture", corpora=["mdb"], tracking_uri=uri))
    told = command.command_of(given)
    assert told == "mirtune study architecture --corpora mdb"
    options = StudyOptions("architecture", (), (), replace(SWEEPS, tracking_uri=uri), command=told)
    said = how_to_go_on(Study(options, (), "micro_f1", "max", {}, {}, {}))
    assert said.endswith("`mirtune study architecture --corpora mdb`, with the same $MLFLOW_TRACKING_URI, goes on")
    assert "tiger" not in said
    assert "--tracking-uri sqlite:///x.db" in command.command_of({**given, "tracking_uri": "sqlite:///x.db"})


def test_a_dry_run_tells_cells_and_time_and_starts_nothing(sweeps, where, tmp_path, capsys, monkeypatch):
    assert main([*architectures("--architectures", "vit"), *where]) == 0
    known = Forecast(
        trials=4, epochs=8, max_epochs=2, windows=9, validation_windows=3, batch_size=4, at_once=1, gpus_per_trial=0,
        cpus_per_trial=1, pace=None, seconds=(1800.0, 3600.0, 7200.0),
    )  # fmt: skip
    monkeypatch.setattr("tuner.forecast.forecast", lambda options, plan: known)
    del sweeps[:]
    capsys.readouterr()
    assert main([*architectures("--dry-run"), *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith((" mdb", "mdb"))] == [
        ["mdb", "vit", "done"],
        ["mdb", "rnn", "to", "do", "4", "8", "1", "h", "0", "min", "(30", "min", "to", "2", "h", "0", "min)"],
    ]
    assert lines[-1] == "1 of 2 cells to do: 4 trials, 8 epochs at most, 1 h 0 min (30 min to 2 h 0 min)"
    monkeypatch.setattr("tuner.forecast.forecast", lambda options, plan: replace(known, seconds=None))
    assert main([*architectures("--dry-run", "--json"), *where]) == 0
    done, todo = json.loads(capsys.readouterr().out)["cells"]
    assert (done["state"], done["trials_left"]) == ("done", 0)
    assert (todo["sweep"], todo["state"], todo["trials_left"], todo["hours"]) == (
        *("architecture.mdb.rnn", "to do"),
        *(4, None),
    )
    assert main([*architectures("--architectures", "vit", "--dry-run"), *where]) == 0
    assert "all 1 cells are done: nothing would be trained" in capsys.readouterr().out
    assert not sweeps
    assert {path.name for path in (tmp_path / "sweeps").iterdir()} == {"architecture.mdb.vit"}


@pytest.mark.slow
def test_a_dry_run_estimates_the_time_of_a_cell(where, tmp_path, capsys):
    words = architectures("--architectures", "rnn", "--dry-run", "--json", "--narrow", "layers=2", "hidden=16")
    assert main([*words, "--batch-size", "4", *where]) == 0
    (row,) = json.loads(capsys.readouterr().out)["cells"]
    low, middle, high = row["hours"]
    assert 0 < low <= middle <= high < 10
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.slow
def test_real_sweeps_of_unions_with_their_zero_shot_scores_registered(where, ray, tmp_path, capsys):
    tiny = ["--narrow", "patch_bands=21", "heads=2", "layers=1", "width=24", "learning_rate=0.01"]
    asked = [*corpora("clicks", "clicks+mdb", "--on", "mdb", "--corpus-power", "0", "--batch-size", "4"), *tiny]
    assert main([*asked, *where, "--trials", "1", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [cell["corpora"] for cell in content["cells"]] == [["mdb"], ["clicks"], ["clicks", "mdb"]]
    assert all(np.isfinite(cell["scores"]["mdb"]["micro_f1"]) for cell in content["cells"])
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    version = client.get_model_version_by_alias("clicks.vit", "best")
    assert scores_of(version.tags)["mdb"]["micro_f1"] == content["cells"][1]["scores"]["mdb"]["micro_f1"]
    assert not scores_of(client.get_model_version_by_alias("clicks+mdb.vit", "best").tags)
    config = json.loads(next((tmp_path / "sweeps" / "corpora.clicks+mdb.vit").rglob("config.json")).read_text())
    assert config["config"]["settings"]["corpus_power"] == 0.0
