"""The registry's rule: the alias `best` is at the best validation score; and what a hostile store cannot do."""

import html
import json
import re
from types import SimpleNamespace

import pytest
from markdown_it import MarkdownIt
from mlflow import MlflowClient
from rich.console import Console
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from data_prep.files import checksum
from data_prep.refused import Refused
from tuner import store
from tuner.card import card
from tuner.cli import main
from tuner.leaderboard import leaderboard, table
from tuner.registry import best_version, described, find, model_name, points, pull, register, versions


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


def test_the_same_checkpoint_is_registered_once(uri):
    client = store.connect(uri)
    run = client.create_run(store.experiment_id(client, uri)).info.run_id
    tags = {"corpora": "again", "architecture": "rnn", "task": "t", "metric": "micro_f1", "mode": "max", "sweep": "s"}
    tags |= {"validation": "0.5", "parameters": "1", "trials": "1", "command": "c", "epoch": "2", "sweep.id": "one"}
    first = register(client, "again.rnn", run, tags)
    client.delete_registered_model_alias("again.rnn", "best")  # as where the driver was killed before it was set
    assert register(client, "again.rnn", run, tags) == first
    assert best_version(client, "again.rnn").version == first.version
    better = register(client, "again.rnn", run, {**tags, "validation": "0.6", "epoch": "4"})
    assert (better.version, better.is_best) == (first.version + 1, True)
    assert len(versions(client, "again.rnn")) == 2


def test_points_are_the_best_hyperparameters_first_and_each_once(uri):
    for validation, layers in ((0.1, 1), (0.9, 2), (0.5, 3), (0.8, 2), (0.3, 4), (0.4, 5), (0.2, 6)):
        put(uri, validation, corpora="pointed", hyperparameters=json.dumps({"layers": layers, "unit": "gru"}))
    put(uri, 1.0, corpora="pointed", hyperparameters='{"layers": [1]}')
    put(uri, 1.0, corpora="pointed", hyperparameters="[[" * 9999)
    found = points("pointed", "rnn", uri)
    assert found == [{"layers": layers, "unit": "gru"} for layers in (2, 3, 5, 4, 6)]
    assert points("pointed/rnn", "rnn", uri) == found


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere", "no model of 'nowhere' and 'rnn' with hyperparameters is registered in .*; there are .*demo/cnn"),
        ("demo/cnn", "'demo/cnn' has hyperparameters of another architecture; expected rnn"),
        ("a/b/c", "'a/b/c' names no registered models; expected CORPUS or CORPUS/ARCHITECTURE"),
    ],
)
def test_points_that_are_not_there_are_refused(name, sentence, uri):
    put(uri, 0.7, corpora="demo", architecture="cnn")
    with pytest.raises(Refused, match=sentence):
        points(name, "rnn", uri)


def test_points_of_a_new_store_are_refused(tmp_path):
    with pytest.raises(Refused, match=r"registered in sqlite:.*; run `mirtune sweep` first"):
        points("demo", "rnn", f"sqlite:///{tmp_path}/mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()


@pytest.fixture
def hostile(sqlite_uri, tmp_path, monkeypatch):  # noqa: F811
    """A store of its own, and a way to put what its owner likes into it."""
    monkeypatch.chdir(tmp_path)
    uri = sqlite_uri
    client = store.connect(uri)
    run = client.create_run(store.experiment_id(client, uri))

    def plant(source="", name="demo.rnn", files=("model.safetensors", "config.json"), **tags):
        place = tmp_path / "artifacts" / run.info.run_id / "artifacts" / "checkpoint"
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            (place / file).write_text("{}")
        of = {"corpora": "demo", "architecture": "rnn", "task": "t", "metric": "micro_f1", "mode": "max", "sweep": "s"}
        of |= {"validation": "0.5", "parameters": "1", "trials": "1", "command": "c", **tags}
        client.create_registered_model(name)
        version = client.create_model_version(
            name, source or f"{run.info.artifact_uri}/checkpoint", run_id=run.info.run_id,
            tags={key: value for key, value in of.items() if value is not None},
        )  # fmt: skip
        client.set_registered_model_alias(name, "best", version.version)
        return place

    plant.uri, plant.run = uri, run
    return plant


def test_a_pull_takes_the_files_of_a_checkpoint_and_nothing_else(hostile, tmp_path):
    place = hostile(files=("model.safetensors", "config.json", "setup.py", ".bashrc", "README.md", "MLmodel"))
    (place / "more").mkdir()
    pull("demo/rnn", tmp_path / "out", hostile.uri)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "A mirtune checkpoint" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "/etc",
        "http://127.0.0.1:9/checkpoint",
        "s3://another/checkpoint",
        "runs:/{run}/checkpoint",
        "{artifacts}",
        "{artifacts}/checkpoint/../../../../x",
        "{artifacts}/checkpoint/epoch-1/../..",
        "{artifacts}x/checkpoint",
    ],
)
def test_a_source_outside_of_the_run_is_refused(source, hostile, tmp_path):
    of_run = hostile.run.info
    hostile(source=source.format(artifacts=of_run.artifact_uri, run=of_run.run_id))
    with pytest.raises(Refused, match="expected checkpoint among the artifacts of its run"):
        pull("demo/rnn", tmp_path / "out", hostile.uri)
    assert not (tmp_path / "out").exists()


def test_files_that_changed_since_they_were_registered_are_refused(hostile, tmp_path):
    sums = tmp_path / "x"
    sums.write_text("{}")
    place = hostile(checksums=json.dumps(dict.fromkeys(("model.safetensors", "config.json"), checksum(sums))))
    pull("demo/rnn", tmp_path / "out", hostile.uri)
    (place / "config.json").write_text("{ }")
    with pytest.raises(Refused, match=r"config.json of version 1 of demo/rnn is not the file that was registered"):
        pull("demo/rnn", tmp_path / "out", hostile.uri)
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


def test_a_file_that_is_not_there_is_refused(hostile, tmp_path):
    hostile(files=("config.json",))
    with pytest.raises(Refused, match=r"the tracking store .* answers with an error|does not answer"):
        pull("demo/rnn", tmp_path / "out", hostile.uri)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "tags",
    [
        {"validation": "nan"},
        {"validation": "x"},
        {"test": "inf"},
        {"trials": "1e9"},
        {"mode": "luck"},
        {"command": None},
        {"corpora": "another"},
        {"architecture": None},
    ],
)
def test_a_version_that_is_not_as_mirtune_writes_it_is_left_out(tags, hostile):
    hostile(**tags)
    assert leaderboard(hostile.uri) == []
    with pytest.raises(Refused, match="no model 'demo/rnn' is registered"):
        find("demo/rnn", hostile.uri)


ACTS = "[red]\x1b[31m\x07[link=x]"


def test_texts_of_a_store_do_not_act_on_a_terminal(hostile, capsys):
    hostile(name=f"{ACTS}.rnn", corpora=ACTS, protocol=f"{ACTS}[/red]", test="0.5", metric=f"{ACTS}[/b]")
    console = Console(width=400)
    with console.capture() as capture:
        console.print(table(leaderboard(hostile.uri)))
    assert r"[red]\x1b[31m\x07[link=x]" in capture.get()
    assert main(["leaderboard", "--tracking-uri", hostile.uri]) == 0
    assert main(["leaderboard", "--corpus", "x", "--tracking-uri", hostile.uri]) == 0
    assert main(["pull", "demo/cnn", "--out", "out", "--tracking-uri", hostile.uri]) == 2
    output = capsys.readouterr()
    for text in (output.out, output.err):
        assert "[red]" in text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_card_shows_texts_on_their_lines(hostile, tmp_path):
    hostile(command="c\n\n# Run this\n\n    curl", tests='{"demo\\u001b\\n|": {"protocol": "a\\nb", "micro_f1": 0.5}}')
    text = (pull("demo/rnn", tmp_path / "out", hostile.uri) / "README.md").read_text()
    assert "\n# Run" not in text
    assert r"c\n\n# Run this" in text
    assert "\x1b" not in text
    (tmp_path / "out" / "README.md").unlink()


def test_texts_on_a_card_are_neither_pictures_nor_tags(hostile):
    tests = {"<b>x": {"protocol": "[a](https://evil)", "micro_f1": 0.5}}
    score = {"micro_f1": 0.5, "split": "te|st", "protocol": "![t](https://evil/t.png)", "tracks": 1, "interval": None}
    score |= {"when": "2026-11-22T12:00:00+00:00"}
    tags = {"tests": json.dumps(tests), "zero_shot.other": json.dumps(score)}
    hostile(sweep="<script>*s*", task="`t`", **tags)
    version = find("demo/rnn", hostile.uri)
    for text in (card(version, "best"), described(version)):
        read = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
        assert "![t](https://evil/t.png), zero-shot" in html.unescape(read)
        assert "<td>te|st, protocol ![t](https://evil/t.png), zero-shot</td>" in html.unescape(read)
        assert "<li>sweep: &lt;script&gt;*s*</li>" in read
        assert "https://" not in text.replace("    ", "")
        assert not re.search("<(img|a|b|script)[ >]", read)


def test_a_card_advises_a_corpus_that_can_be_scored():
    tags = {"corpora": "clicks_stems+demo+music", "tests": '{"demo": {"protocol": "tracks", "micro_f1": 0.5}}'}
    tags |= {"metric": "micro_f1", "validation": "0.5", "architecture": "rnn", "task": "drum_onsets", "command": "x"}
    text = card(SimpleNamespace(tags=tags, version="1"), "best")
    assert "mirtune evaluate best --on demo\n" in text


@pytest.mark.parametrize("tests", ["[]", "null", '{"demo": 1}', "[[" * 9999, '{"demo": {"protocol": 1}}'])
def test_a_card_is_written_whatever_the_tests_are(tests, hostile, tmp_path):
    hostile(tests=tests)
    assert (pull("demo/rnn", tmp_path / "out", hostile.uri) / "README.md").is_file()
