"""The registry's rule: the alias `best` moves to a better validation score and to nothing else."""

import pytest
from mlflow import MlflowClient

from tuner import store
from tuner.leaderboard import leaderboard, table
from tuner.registry import best_version, find, model_name, register


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def put(uri, validation, *, architecture="rnn", mode="max", corpora="mdb+demo", **more):
    client = store.connect(uri)
    run = client.create_run(store.experiment_id(client, uri))
    tags = {"corpora": corpora, "architecture": architecture, "task": "drum_onsets", "metric": "micro_f1", "mode": mode}
    tags |= {"validation": str(validation), "parameters": "10", "trials": "1", "sweep": "s", "command": "c", **more}
    return register(client, model_name(corpora.split("+"), architecture), run.info.run_id, tags)


def test_the_alias_moves_only_to_a_better_score(uri):
    outcomes = [put(uri, validation) for validation in (0.5, 0.4, 0.5, 0.6, 0.59)]
    assert [outcome.is_best for outcome in outcomes] == [True, False, False, True, False]
    assert best_version(MlflowClient(uri), "demo+mdb.rnn").tags["validation"] == "0.6"


def test_where_less_is_better_it_moves_to_the_lower_one(uri):
    assert [put(uri, validation, architecture="cnn", mode="min").is_best for validation in (0.5, 0.6, 0.4)] == [
        True,
        False,
        True,
    ]


def test_corpora_are_named_in_any_order(uri):
    put(uri, 0.1, architecture="vit")
    assert find("demo+mdb/vit", uri).version == find("mdb+demo/vit", uri).version


def test_the_leaderboard_has_the_best_of_each_corpus_first(uri):
    put(uri, 0.7, corpora="demo", architecture="cnn")
    put(uri, 0.8, corpora="demo", architecture="rnn")
    rows = leaderboard(uri)
    assert [(row.corpus, row.architecture) for row in rows if row.corpus == "demo"] == [
        ("demo", "rnn"),
        ("demo", "cnn"),
    ]
    assert {row.corpus for row in leaderboard(uri, ["mdb"])} == {"mdb+demo"}


def test_the_leaderboard_says_by_which_protocol_a_score_is(uri):
    for corpora, protocol in (("mdb-8", "tracks"), ("mine", "segments")):
        put(uri, 0.5, corpora=corpora, test="0.4", protocol=protocol)
    rows = {row.corpus: row for row in leaderboard(uri, ["mdb-8", "mine"])}
    assert {corpus: row.protocol for corpus, row in rows.items()} == {"mdb-8": "tracks", "mine": "segments"}
    shown = table(list(rows.values()))
    by = next(column for column in shown.columns if column.header == "by protocol")
    assert list(by.cells) == ["tracks", "segments"]
    assert find("mdb-8/rnn", uri).tags["corpora"] == "mdb-8"
