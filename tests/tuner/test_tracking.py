"""The tracker against real stores: one that is there, one that comes late, one that never comes, one told twice."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.search_utils import SearchUtils
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from data_prep.refused import Refused
from tuner import store, tracking
from tuner.telling import first_line, holds_secret, safe
from tuner.tracking import Tracker


def finished(uri):
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])
    return {run.data.tags["trial"]: run for run in runs}


def write_a_sweep(tracker):
    tracker.start_sweep({"trials": 1})
    tracker.start_trial("t", "trial 1", {"hidden": 72})
    tracker.epoch("t", 1, {"validation_micro_f1": 0.5, "train_loss": float("inf")})
    tracker.end("t", "FINISHED", summary={"best_epoch": 1})
    tracker.end("sweep", "FINISHED")


def test_what_is_not_finite_is_left_out(sqlite_uri):  # noqa: F811
    tracker = Tracker(sqlite_uri, "s", {})
    write_a_sweep(tracker)
    assert tracker.close() == ""
    assert finished(sqlite_uri)["t"].data.metrics == {"validation_micro_f1": 0.5, "best_epoch": 1.0}


def test_a_run_that_is_there_is_found_again(sqlite_uri):  # noqa: F811
    for _ in range(2):
        tracker = Tracker(sqlite_uri, "s", {})
        write_a_sweep(tracker)
        assert tracker.close() == ""
    client = MlflowClient(sqlite_uri)
    assert len(client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])) == 2


def test_a_store_that_comes_late_gets_everything(tmp_path):
    folder, uri = tmp_path / "store", f"sqlite:///{tmp_path}/store/mlflow.db"
    folder.write_text("in the way")
    tracker = Tracker(uri, "s", {})
    write_a_sweep(tracker)
    while tracker.error is None:
        time.sleep(0.05)
    folder.unlink()
    assert tracker.close() == ""
    assert {run.info.status for run in finished(uri).values()} == {"FINISHED"}


def test_a_store_that_never_comes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
    (tmp_path / "store").write_text("in the way")
    tracker = Tracker(f"sqlite:///{tmp_path}/store/mlflow.db", "s", {})
    write_a_sweep(tracker)
    assert tracker.ask("the best checkpoint", lambda client, runs: 1) is None
    sentence = tracker.close()
    assert "did not take 6 reports" in sentence
    assert sentence.endswith("`mirtune sweep --name s --resume` sends what is missing")
    assert "first the sweep's run" in sentence


def test_an_answer_that_is_final_is_not_asked_again(tmp_path):
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "s", {})
    tracker.start_sweep({})
    tracker.end("stranger", "FINISHED")
    assert "1 reports, first the end of a run (KeyError" in tracker.close()


def test_another_kind_of_database_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 0.5)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table experiments (x integer)")
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "s", {})
    tracker.start_sweep({})
    assert "did not take 1 reports" in tracker.close()


@pytest.mark.slow
def test_processes_that_make_a_store_at_once_do_not_crash(tmp_path):
    code = "import sys; from tuner import store; print(store.experiment_id(store.connect(sys.argv[1]), sys.argv[1]))"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate() for process in running]
    assert len({out for out, _ in answers}) == 1, answers
    assert [process.returncode for process in running] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://host/db"),
        ("postgresql://me:p@ss/word@host/db", "postgresql://host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("GET http://token@host/api failed", "GET http://host/api failed"),
        ("sqlite:///results/me@work.db", "sqlite:///results/me@work.db"),
        ("wrong: of-the-server", "wrong: ***"),
        ("wrong: p/w at once, p%2Fw%20at", "wrong: *** once, ***"),
    ],
)
def test_passwords_are_not_shown(text, shown, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-the-server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:p%2Fw%20at@host/db")
    assert safe(text) == shown
    assert first_line(OSError(f"{text}\nmore")) == f"OSError: {safe(text)}"


def test_an_error_obeys_no_terminal():
    assert first_line(ValueError("\x1b[31mred\nmore")) == r"ValueError: \x1b[31mred"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg2://me:secret@host/db",
        "https://me:secret@host",
        "https://secret@host",
        "postgresql+psycopg2:///db?password=secret",
    ],
)
def test_a_secret_in_a_uri_is_refused_unless_it_came_from_the_environment(uri, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.default_uri() == store.DEFAULT_TRACKING_URI
    with pytest.raises(Refused, match=r"password or token in it; expected .* PGPASSWORD or ~/.pgpass") as refused:
        store.check_uri(uri)
    assert "secret" not in str(refused.value).replace("secret in", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store.check_uri(store.default_uri())


def test_a_database_without_its_driver_is_refused():
    with pytest.raises(
        Refused, match=r"needs a package that is not installed .* begin the URI with postgresql\+psycopg2"
    ):
        store.check_uri("postgresql+pg8000://host/db")


@pytest.mark.parametrize("uri", ["postgresql://me@host/db", "sqlite:////home/a:b@c/mlflow.db", "http://host:5000"])
def test_a_uri_without_a_secret_may_be_given(uri):
    assert not holds_secret(uri)
    assert store.is_public(uri)


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/x", "sqlite://x", "ftp://x"])
def test_stores_without_a_registry_are_refused(uri):
    with pytest.raises(Refused, match="expected sqlite:///PATH"):
        store.check_uri(uri)


def told(tracker, epochs, *, status="FINISHED", reason="", best=0.5):
    tracker.start_sweep({"trials": 1})
    tracker.start_trial("trial-0001", "trial 1", {"hidden": 72})
    for epoch in range(1, epochs + 1):
        tracker.epoch("trial-0001", epoch, {"validation_loss": 1 / epoch, "validation_micro_f1": 0.1 * epoch})
    if status:
        tracker.end("trial-0001", status, reason=reason, summary={"best_validation_micro_f1": best})
        tracker.end("sweep", status)
    assert tracker.close() == ""


def steps(uri, metric="validation_loss", trial="trial-0001"):
    return [point.step for point in MlflowClient(uri).get_metric_history(finished(uri)[trial].info.run_id, metric)]


def test_epochs_that_are_told_again_stand_once(sqlite_uri):  # noqa: F811
    for epochs, status in ((2, ""), (3, "KILLED"), (5, "FINISHED"), (5, "FINISHED")):
        told(Tracker(sqlite_uri, "s", {}, "id"), epochs, status=status)
    assert steps(sqlite_uri) == [1, 2, 3, 4, 5]
    assert steps(sqlite_uri, "validation_micro_f1") == [1, 2, 3, 4, 5]
    assert steps(sqlite_uri, "best_validation_micro_f1") == [0]
    assert finished(sqlite_uri)["trial-0001"].info.status == "FINISHED"


def test_a_trial_that_is_begun_again_in_one_sweep_has_one_run(sqlite_uri):  # noqa: F811
    tracker = Tracker(sqlite_uri, "s", {}, "id")
    tracker.start_sweep({})
    for epochs in (3, 5):  # its machine was lost after the third
        tracker.start_trial("trial-0001", "trial 1", {"hidden": 72})
        for epoch in range(1, epochs + 1):
            tracker.epoch("trial-0001", epoch, {"validation_loss": 1.0})
    assert tracker.close() == ""
    assert steps(sqlite_uri) == [1, 2, 3, 4, 5]


def test_an_epoch_whose_loss_is_not_finite_stands_once(sqlite_uri):  # noqa: F811
    for _ in range(2):
        tracker = Tracker(sqlite_uri, "s", {}, "id")
        tracker.start_sweep({})
        tracker.start_trial("trial-0001", "trial 1", {})
        tracker.epoch("trial-0001", 1, {"validation_loss": 1.0, "seconds": 2.0})
        tracker.epoch("trial-0001", 2, {"validation_loss": float("inf"), "seconds": 2.0})
        assert tracker.close() == ""
    assert steps(sqlite_uri, "seconds") == [1, 2]
    assert steps(sqlite_uri) == [1]


def test_a_run_that_ended_the_same_way_is_left_alone(sqlite_uri):  # noqa: F811
    told(Tracker(sqlite_uri, "s", {}, "id"), 2, status="FAILED", reason="no number")
    before = finished(sqlite_uri)["trial-0001"]
    told(Tracker(sqlite_uri, "s", {}, "id"), 2, status="FAILED", reason="no number")
    after = finished(sqlite_uri)["trial-0001"]
    assert (after.info.end_time, after.data.tags) == (before.info.end_time, before.data.tags)
    told(Tracker(sqlite_uri, "s", {}, "id"), 3, status="FINISHED", best=0.6)
    now = finished(sqlite_uri)["trial-0001"]
    assert now.info.status == "FINISHED"
    assert now.info.end_time > before.info.end_time
    assert now.data.metrics["best_validation_micro_f1"] == 0.6
    assert "reason" not in now.data.tags


@pytest.mark.parametrize(("ended", "expected"), [("KILLED", "RUNNING"), ("FINISHED", "FINISHED")])
def test_a_killed_trial_is_open_again_at_once(ended, expected, sqlite_uri):  # noqa: F811
    told(Tracker(sqlite_uri, "s", {}, "id"), 2, status=ended)
    told(Tracker(sqlite_uri, "s", {}, "id"), 2, status="")
    assert finished(sqlite_uri)["trial-0001"].info.status == expected
    assert finished(sqlite_uri)["sweep"].info.status == "RUNNING"


def test_parameters_that_changed_stay_as_they_were_first(sqlite_uri):  # noqa: F811
    for parameters in ({"trials": 4}, {"trials": 8, "max_epochs": 3}):
        tracker = Tracker(sqlite_uri, "s", {}, "id")
        tracker.start_sweep(parameters)
        assert tracker.close() == ""
    assert finished(sqlite_uri)["sweep"].data.params == {"trials": "4", "max_epochs": "3"}


def test_sweeps_of_one_name_are_not_mixed(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    store.refuse_taken(uri, "s", "one")
    assert not (tmp_path / "mlflow.db").exists()
    told(Tracker(uri, "s", {}, "one"), 2)
    store.refuse_taken(uri, "s", "one")
    store.refuse_taken(uri, "another", "two")
    with pytest.raises(Refused, match=r"another sweep named 's' in the tracking store .*; choose another --name"):
        store.refuse_taken(uri, "s", "two")
    told(Tracker(uri, "s", {}, "two"), 3)  # as where the store did not answer when it was asked
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id], "tags.trial = 'trial-0001'")
    by_id = {run.data.tags["sweep.id"]: run.info.run_id for run in runs}
    assert {of: len(client.get_metric_history(run, "validation_loss")) for of, run in by_id.items()} == {
        "one": 2,
        "two": 3,
    }


def test_a_store_that_does_not_answer_refuses_no_name():
    store.refuse_taken("http://127.0.0.1:9", "s", "id")


def test_an_empty_run_that_a_lost_answer_left_goes(sqlite_uri):  # noqa: F811
    told(Tracker(sqlite_uri, "s", {}, "id"), 2)
    client = MlflowClient(sqlite_uri)
    tags = {
        key: value for key, value in finished(sqlite_uri)["trial-0001"].data.tags.items() if key.startswith(("s", "t"))
    }
    client.create_run(client.get_experiment_by_name("mirtune").experiment_id, tags=tags, start_time=0)
    told(Tracker(sqlite_uri, "s", {}, "id"), 3)
    assert steps(sqlite_uri) == [1, 2, 3]
    assert len(client.search_runs([client.get_experiment_by_name("mirtune").experiment_id])) == 2


@given(st.text(max_size=30))
@example("x' and tags.y = 'z")
@example("abc\\")
def test_no_name_ends_its_quotes(name):
    try:
        quoted = store.quoted(name)
    except Refused:
        assert '"' in name
        return
    parsed = SearchUtils.parse_search_filter(f"tags.sweep = {quoted} and tags.trial = 'x'")
    assert [(of["key"], of["value"]) for of in parsed] == [("sweep", name), ("trial", "x")]


def test_texts_are_kept_without_secrets_and_escapes(sqlite_uri, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PGPASSWORD", "of-the-base")
    tracker = Tracker(sqlite_uri, "s", {"corpora": "a\x00b"}, "id")
    tracker.start_sweep({"command": "mirtune --x postgresql://me:hidden@host of-the-base"})
    tracker.end("sweep", "FAILED", reason="\x1b[31mFATAL of-the-base\n")
    assert tracker.close() == ""
    run = finished(sqlite_uri)["sweep"]
    assert run.data.tags["corpora"] == r"a\x00b"
    assert run.data.params["command"] == "mirtune --x postgresql://host ***"
    assert run.data.tags["reason"] == r"\x1b[31mFATAL ***\n"
    assert b"of-the-base" not in (tmp_path / "mlflow.db").read_bytes()


def test_one_entry_that_a_store_never_takes_is_lost_alone(sqlite_uri, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 2.0)
    tracker = Tracker(sqlite_uri, "s", {}, "id")

    def never(client, runs):
        raise MlflowException("a mistake of the server's")

    tracker.start_sweep({})
    tracker.ask("a poisoned entry", never)
    tracker.start_trial("trial-0001", "trial 1", {})
    tracker.epoch("trial-0001", 1, {"validation_loss": 1.0})
    assert "did not take 1 reports, first a poisoned entry" in tracker.close()
    assert steps(sqlite_uri) == [1]


def test_whoever_waits_is_told_for_what(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "SECONDS_TO_WAIT_AT_END", 3.0)
    monkeypatch.setattr("tuner.waiting.SECONDS_BETWEEN_WORDS", 1.0)
    folder = tmp_path / "store"
    folder.write_text("in the way")
    tracker = Tracker(f"sqlite:///{folder}/mlflow.db", "s", {}, "id")
    tracker.start_sweep({})
    threading.Timer(2.0, folder.unlink).start()
    assert tracker.close() == ""
    shown = capsys.readouterr().err
    assert "waiting for the tracking store sqlite:///" in shown
    assert "answers again" in shown
