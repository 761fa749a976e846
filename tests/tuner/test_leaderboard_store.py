"""The two roads into a store, MLflow's tables and its client: they have to find the same."""

import importlib.util
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from trainables.tasks import TASKS
from tuner import leaderboard_sqlite, leaderboard_store, registry, store
from tuner.leaderboard import leaderboard, trials
from tuner.tracking import Tracker
from tuner.zero_shot import record

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def fill():
    """What makes a store of many runs, as the benchmark does it."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("leaderboard_benchmark", BENCHMARKS / "leaderboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module.fill


def path_of(uri):
    return store.sqlite_path(uri)


def sweep_of(uri, name="first", corpora="mdb"):
    """Runs as a sweep writes them, of which one fails, one is not finite and one goes on; and a version of the best."""
    tracker = Tracker(
        uri, name, {"corpora": corpora, "architecture": "rnn", "task": "drum_onsets"}, sweep_id=f"of {name}"
    )
    tracker.start_sweep({"trials": 4, "gpus_per_trial": 0.5})
    for number, state in enumerate(("FINISHED", "FAILED", "KILLED"), 1):
        trial = f"trial-{number:04d}"
        tracker.start_trial(trial, f"trial {number}", {"learning_rate": 1e-3, "layers": number, "unit": "gru"})
        tracker.epoch(trial, 1, {"validation_micro_f1": 0.1 * number, "windows_per_s": 50.0 + number})
        summary = {"best_validation_micro_f1": 0.1 * number, "best_epoch": 1} if state != "FAILED" else {}
        tracker.end(trial, state, summary=summary)
    tracker.start_trial("trial-0004", "trial 4", {"layers": 4})
    run = tracker.ask("the runs", lambda client, runs: runs["trial-0003"])
    tracker.end("sweep", "FINISHED")
    assert tracker.close() == ""
    client = store.connect(uri)
    client.set_tag(run, "best", "true")
    client.log_metric(run, "test_micro_f1", float("nan"))
    client.log_metric(run, "best_validation_nothing", float("inf"))
    return client, run


def version_of(client, run, validation, corpora="mdb", **more):
    tags = {"corpora": corpora, "architecture": "rnn", "task": "drum_onsets", "metric": "micro_f1", "mode": "max"}
    tags |= {"validation": str(validation), "parameters": "10", "trials": "4", "sweep": "first", "command": "c", **more}
    return registry.register(client, registry.model_name(corpora.split("+"), "rnn"), run, tags)


def both(uri, client):
    """What both roads find: every version, the best ones, every run."""
    path = path_of(uri)
    for every in (True, False):
        of_tables = leaderboard_sqlite.versions(path, every=every)
        assert of_tables == leaderboard_store.of_client(client, every=every)
        yield of_tables
    of_tables = leaderboard_sqlite.runs(path)
    assert of_tables == leaderboard_store.runs_of_client(client)
    yield of_tables


def test_both_roads_find_what_a_sweep_wrote(sqlite_uri):  # noqa: F811
    client, run = sweep_of(sqlite_uri)
    for validation in (0.3, 0.2, 0.4):
        version_of(client, run, validation, tests="{}", trial_hours="1.5", epoch="1")
    version_of(client, run, 0.1, corpora="mdb+demo")
    client.create_registered_model("another program's")
    client.create_model_version("another program's", "file:///x")
    client.delete_model_version("mdb.rnn", "2")
    deleted = client.create_run(store.experiment_id(client, sqlite_uri), tags={"trial": "t"})
    client.delete_run(deleted.info.run_id)
    client.create_run(client.create_experiment("another"), tags={"trial": "t"})
    score = {"corpus": "groove", "micro_f1": 0.7, "split": "test", "protocol": "tracks", "tracks": 9, "interval": None}
    record("mdb/rnn", score, sqlite_uri)
    every, best, runs = both(sqlite_uri, client)
    assert [(of.name, of.version, of.best) for of in every] == [
        ("another program's", 1, False),
        ("demo+mdb.rnn", 1, True),
        ("mdb.rnn", 1, False),
        ("mdb.rnn", 3, True),
    ]
    assert [(of.name, of.version) for of in best] == [("demo+mdb.rnn", 1), ("mdb.rnn", 3)]
    assert "tests" not in best[1].tags
    assert [of.tags["trial"] for of in runs] == ["sweep", *(f"trial-{number:04d}" for number in range(1, 5))]
    rows = leaderboard(sqlite_uri)
    assert [(row.corpus, row.version, row.trial_hours, row.epoch) for row in rows] == [
        ("mdb", 3, 1.5, 1),
        ("mdb+demo", 1, None, None),
    ]
    assert rows[0].zero_shot["groove"]["micro_f1"] == 0.7
    assert rows[0].run == run
    assert [row.validation for row in leaderboard(sqlite_uri, ["mdb"], all_versions=True)] == [0.4, 0.3, 0.1]


def test_trials_are_the_runs_of_sweeps_best_first(sqlite_uri):  # noqa: F811
    _, run = sweep_of(sqlite_uri)
    sweep_of(sqlite_uri, "second", "demo+mdb")
    rows = trials(sqlite_uri, ["mdb"])
    assert len(rows) == 8
    rows = [row for row in rows if row.corpus == "mdb"]
    assert [(row.trial, row.state, row.validation) for row in rows] == [
        ("trial 3", "killed", pytest.approx(0.3)),
        ("trial 1", "finished", pytest.approx(0.1)),
        ("trial 2", "failed", None),
        ("trial 4", "running", None),
    ]
    best = rows[0]
    assert (best.run, best.best, best.test, best.epoch, best.windows_per_s) == (run, True, None, 1, 53.0)
    assert best.hyperparameters == {"learning_rate": 0.001, "layers": 3, "unit": "gru"}
    assert best.gpu_hours == pytest.approx(best.trial_hours / 2)
    assert rows[-1].trial_hours is None
    assert trials(sqlite_uri, ["groove"]) == []


def test_where_less_is_better_the_registry_says_so(sqlite_uri):  # noqa: F811
    client, run = sweep_of(sqlite_uri)
    version_of(client, run, 0.1, mode="min")
    assert [row.trial for row in trials(sqlite_uri)] == ["trial 1", "trial 3", "trial 2", "trial 4"]


def test_where_nothing_is_registered_the_task_says_what_is_better(sqlite_uri, monkeypatch):  # noqa: F811
    sweep_of(sqlite_uri)
    assert [row.trial for row in trials(sqlite_uri)] == ["trial 3", "trial 1", "trial 2", "trial 4"]
    least = replace(TASKS["drum_onsets"], mode="min")
    monkeypatch.setitem(TASKS, "drum_onsets", least)
    assert [row.trial for row in trials(sqlite_uri)] == ["trial 1", "trial 3", "trial 2", "trial 4"]
    assert {row.mode for row in trials(sqlite_uri)[:2]} == {"min"}


@pytest.mark.slow
def test_both_roads_find_the_same_in_a_store_of_many(sqlite_uri, fill):  # noqa: F811
    fill(sqlite_uri, 1150, models=12, versions=3)
    every, best, runs = both(sqlite_uri, store.connect(sqlite_uri))
    assert (len(every), len(best), len(runs)) == (36, 12, 1150 + 12)
    assert len(trials(sqlite_uri)) == 1150
    assert len(leaderboard(sqlite_uri)) == 12
    assert len(leaderboard(sqlite_uri, all_versions=True)) == 36


def test_the_schema_of_the_installed_mlflow_is_known(sqlite_uri):  # noqa: F811
    with sqlite3.connect(path_of(sqlite_uri)) as database:
        ((schema,),) = database.execute("SELECT version_num FROM alembic_version")
    assert schema in leaderboard_sqlite.KNOWN  # if not: compare both roads, then list it


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE alembic_version SET version_num = 'of another time'",
        "ALTER TABLE model_versions RENAME current_stage TO stage; ALTER TABLE runs RENAME status TO state",
        "INSERT INTO registered_models (name, workspace) VALUES ('x', 'a team')",
        "DROP TABLE alembic_version",
    ],
)
def test_tables_that_are_not_known_are_left_to_the_client(changed, sqlite_uri, monkeypatch):  # noqa: F811
    with sqlite3.connect(path_of(sqlite_uri)) as database:
        database.executescript(changed)
    database.close()
    path = path_of(sqlite_uri)
    assert leaderboard_sqlite.versions(path, every=True) is None
    assert leaderboard_sqlite.runs(path) is None
    monkeypatch.setattr(leaderboard_store, "answering", Answering)
    monkeypatch.setattr(leaderboard_store, "of_client", lambda client, every: [])
    assert leaderboard_store.versions(sqlite_uri) == []
    assert Answering.asked == sqlite_uri


class Answering:
    """In the place of the client's connection."""

    asked = ""

    def __init__(self, uri):
        type(self).asked = uri

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_a_shared_store_is_left_to_the_client(sqlite_uri, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLFLOW_WORKSPACE", "a team")
    assert leaderboard_sqlite.runs(path_of(sqlite_uri)) is None


def test_reading_does_not_need_mlflow_and_writes_nothing(sqlite_uri):  # noqa: F811
    path = path_of(sqlite_uri)
    client, run = sweep_of(sqlite_uri)
    version_of(client, run, 0.3)
    before = path.read_bytes()
    code = "import sys; from tuner.cli import main; s = main(sys.argv[1:]); assert 'mlflow' not in sys.modules; exit(s)"
    for more in ([], ["--trials"], ["--all-versions", "--csv"]):
        words = [sys.executable, "-c", code, "leaderboard", "--tracking-uri", sqlite_uri, *more]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "rnn" in done.stdout
    assert path.read_bytes() == before
    assert sorted(of.name for of in path.parent.iterdir() if of.name.startswith("mlflow.db-")) == []


def test_what_is_no_text_or_number_is_left_out(sqlite_uri):  # noqa: F811
    client, run = sweep_of(sqlite_uri)
    version_of(client, run, 0.3)
    with sqlite3.connect(path_of(sqlite_uri)) as database:
        database.execute("UPDATE params SET value = x'00ff' WHERE key = 'layers'")
        database.execute("UPDATE latest_metrics SET value = 'much' WHERE key = 'windows_per_s'")
        database.execute("UPDATE runs SET start_time = 'once', end_time = 1e300")
        database.execute("UPDATE model_versions SET creation_time = 9e18")
        database.execute("INSERT INTO model_version_tags VALUES ('trial_hours', x'00', 'mdb.rnn', 1, 'default')")
        database.execute("INSERT INTO model_version_tags VALUES ('gpu_hours', 'nan', 'mdb.rnn', 1, 'default')")
    database.close()
    (row,) = leaderboard(sqlite_uri)
    assert (row.when, row.trial_hours, row.gpu_hours) == ("", None, None)
    of_trial = trials(sqlite_uri)[0]
    assert (of_trial.when, of_trial.trial_hours, of_trial.windows_per_s) == ("", None, None)
    assert set(of_trial.hyperparameters) == {"learning_rate", "unit"}
