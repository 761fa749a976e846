"""Registered models by MLflow's own means: loaded, served, described; and what evaluation keeps with them."""

import base64
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace

import mlflow
import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.exceptions import MlflowException
from servers import free_port

from data_prep.manifest import Manifest
from data_prep.refused import Refused
from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from trainables.transcription import Transcriber
from tuner import zero_shot
from tuner.card import card
from tuner.cli import main
from tuner.model_versions import is_readable
from tuner.registry import find, pull
from tuner.served_model import EXTRA_FILES, MLMODEL
from tuner.sweep_folder import ResultFile, SweepFile
from tuner.zero_shot import is_zero_shot, record, scores_of

URI = "models:/mdb.vit@best"


@pytest.fixture(scope="module")
def version(swept):
    return find("mdb/vit", swept.tracking_uri)


@pytest.fixture(scope="module")
def model(swept):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # which mlflow sets, and which is put back
        mlflow.set_tracking_uri(swept.tracking_uri)
        yield mlflow.pyfunc.load_model(URI, suppress_warnings=True)
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def heard(swept, recording):
    """What the checkpoint that the sweep left hears in the recording: time, class, strength."""
    found = Transcriber(Checkpoint.load(Storage.at(swept.result.checkpoint).path)).transcribe(recording)
    names = [found.classes[index] for index in found.onsets.classes]
    assert names
    return list(zip(found.onsets.times_s, names, found.onsets.velocities, strict=True))


def rows(table):
    return list(zip(table["time_s"], table["class"], table["strength"], strict=True))


def close_to(expected):
    return [(pytest.approx(time_s), name, pytest.approx(strength)) for time_s, name, strength in expected]


def test_a_loaded_model_gives_the_onsets_of_its_checkpoint(model, recording, heard):
    table = model.predict([str(recording)])
    assert list(table.columns) == ["path", "time_s", "class", "strength"]
    assert rows(table) == close_to(heard)
    assert set(table["path"]) <= {str(recording)}


def test_it_takes_tables_several_files_and_their_bytes(model, recording, heard):
    sent = "data:audio/wav;base64," + base64.b64encode(recording.read_bytes()).decode()
    table = model.predict(pandas.DataFrame({"audio": [str(recording), sent]}))
    assert rows(table) == close_to([*heard, *heard])
    assert set(table["path"]) <= {str(recording), "input 2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nowhere.wav", "no audio file at nowhere.wav"),
        ("data:audio/wav,abc", "expected a path, or data:audio/wav;base64"),
        ("data:audio/wav;base64,a", "input 1 is not what base64 makes"),
        ("data:audio/wav;base64,YWJj", "cannot be|not.*audio|no audio"),
    ],
)
def test_what_is_no_audio_is_an_answer_of_one_sentence(model, text, sentence):
    with pytest.raises(MlflowException, match=sentence) as refused:
        model.predict([text])
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_it_says_what_it_takes_and_gives(model):
    assert [of.type.name for of in model.metadata.get_input_schema().inputs] == ["string"]
    assert model.metadata.get_output_schema().input_names() == ["path", "time_s", "class", "strength"]
    assert model.input_example.shape == (1, 1)


def test_beside_the_checkpoint_lies_nothing_that_is_executed(swept, version):
    client = mlflow.MlflowClient(swept.tracking_uri)
    of_run = client.get_run(version.run_id).info.artifact_uri
    below = version.source.removeprefix(of_run).lstrip("/")
    names = {item.path.rpartition("/")[2] for item in client.list_artifacts(version.run_id, below)}
    names -= {"registered_model_meta"}  # which MLflow writes beside what it has loaded
    assert names == {"model.safetensors", "config.json", *EXTRA_FILES}
    assert not [name for name in names if name.endswith((".pkl", ".py", ".bin", ".pt"))]


def test_pip_is_not_told_of_a_package_that_no_index_has(swept, version):
    requirements = mlflow.artifacts.load_text(f"{version.source}/requirements.txt")
    listed = [line for line in requirements.splitlines() if not line.startswith("#")]
    assert [line.partition("==")[0] for line in listed] == ["mlflow"]
    assert "# mirtune " in requirements


def test_a_pull_reads_nothing_of_what_mlflow_reads(swept, version, tmp_path, monkeypatch):
    whole = mlflow.artifacts.download_artifacts

    def watched(*arguments, artifact_uri, **named):
        assert artifact_uri.endswith(("model.safetensors", "config.json")), artifact_uri
        return whole(*arguments, artifact_uri=artifact_uri, **named)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", watched)
    folder = pull("mdb/vit", tmp_path / "out", swept.tracking_uri)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert not (folder / MLMODEL).exists()


def test_a_version_says_what_it_took_and_how_good_it_is(swept, version):
    folder = Storage.at(swept.folder / "sweeps" / "first")
    result = ResultFile.load(folder, SweepFile.load(folder).id)
    tags = version.tags
    assert float(tags["trial_hours"]) == pytest.approx(result.trial_hours, rel=1e-4)
    assert float(tags["gpu_hours"]) == 0
    speeds = sorted(entry["metrics"]["windows_per_s"] for entry in swept.result.best.history)
    assert speeds[0] <= float(tags["windows_per_s"]) <= speeds[-1]
    assert tags["mirtune_version"] == result.version
    first = version.description.splitlines()[0]
    assert first.startswith(f"micro F1: validation {swept.result.best.best:.3f}, test ")
    assert swept.options.command in version.description
    about = mlflow.MlflowClient(swept.tracking_uri).get_registered_model("mdb.vit").description
    assert "mirtune pull mdb/vit" in about
    assert URI in about


@pytest.fixture
def elsewhere(shards, tmp_path):
    """The miniature as another corpus, which the model never saw."""
    folder = shutil.copytree(shards, tmp_path / "shards")
    (folder / "mdb").rename(folder / "other")
    replace(Manifest.load(folder / "other"), corpus="other", adapter="sadtp").save(folder / "other")
    return folder


@pytest.fixture
def line(swept, elsewhere, version):
    yield [
        *("evaluate", "mdb/vit", "--on", "other", "--shards", str(elsewhere)),
        *("--tracking-uri", swept.tracking_uri),
    ]
    client = mlflow.MlflowClient(swept.tracking_uri)
    with suppress(MlflowException):
        client.delete_model_version_tag(version.name, version.version, "zero_shot.other")


def kept(swept):
    return scores_of(find("mdb/vit", swept.tracking_uri).tags)


def test_a_zero_shot_score_is_kept_with_the_model(swept, line, capsys, document):
    assert kept(swept) == {}
    assert main([*line, "--json"]) == 0
    shown = json.loads((output := capsys.readouterr()).out)
    (score,) = kept(swept).values()
    for key in ("micro_f1", "split", "protocol", "tracks", "interval"):
        assert score[key] == shown[key]
    assert "kept with mdb/vit, version 1: its zero-shot score on other" in output.err
    version, row = (
        find("mdb/vit", swept.tracking_uri),
        f"| other | test, protocol tracks, zero-shot | {shown['micro_f1']:.3f} |",
    )
    assert row in card(version, "best")
    assert row in version.description


@pytest.mark.parametrize(
    "options", [["--no-record"], ["--plain"], ["--thresholds", "0.3"], ["--average-gains", "2"], ["--split", "train"]]
)
def test_what_is_not_the_model_as_it_is_is_not_kept(options, swept, line, capsys):
    assert main([*line, *options]) == 0
    assert kept(swept) == {}
    assert "kept" not in capsys.readouterr().err


def test_a_score_on_what_it_was_trained_on_is_not_kept(swept, shards, version):
    line = ["evaluate", "mdb/vit", "--on", "mdb", "--shards", str(shards), "--tracking-uri", swept.tracking_uri]
    assert main(line) == 0
    assert kept(swept) == {}
    with pytest.raises(Refused, match="mdb/vit was trained on mdb: its score on mdb is not zero-shot"):
        record("mdb/vit", {"corpus": "mdb", "micro_f1": 0.5}, swept.tracking_uri, version)


def test_what_it_was_trained_on_is_known_under_another_name(swept, line, elsewhere, capsys):
    replace(Manifest.load(elsewhere / "other"), adapter="mdb").save(elsewhere / "other")
    assert main(line) == 0
    assert kept(swept) == {}
    assert "kept" not in capsys.readouterr().err
    score = {"corpus": "other", "micro_f1": 0.5}
    with pytest.raises(Refused, match="mdb/vit was trained on mdb: its score on other is not zero-shot"):
        record("mdb/vit", score, swept.tracking_uri, shards=elsewhere)


def test_a_store_that_does_not_take_a_score_is_told_and_no_error(swept, line, monkeypatch, capsys):
    def fails(*arguments):
        raise ConnectionError("gone")

    monkeypatch.setattr(zero_shot, "record", fails)
    assert main(line) == 0
    output = capsys.readouterr()
    assert "the score on other was not kept with mdb/vit, version 1 (ConnectionError: gone)" in output.err
    assert "micro" in output.out


@pytest.mark.parametrize(
    ("trained_on", "corpus", "expected"),
    [
        (["demo"], "demo_unseen", True),
        (["groove_stems", "music"], "groove", False),
        (["groove"], "groove_stems", False),
        (["enst_mdb"], "mdb", False),
        (["mdb"], "enst_mdb", False),
        (["enst"], "mdb", True),
        (["mdb-3"], "enst_mdb-3", False),
        (["groove_stems-3"], "groove-3", False),
        (["groove"], "egmd", False),
        (["egmd"], "groove_stems", False),
        (["demo_stems"], "demo", False),
        (["mine_stems-8"], "mine", False),
        (["mine-2b"], "mine", True),
        (["groove"], "mdb", True),
    ],
)
def test_parts_of_what_it_was_trained_on_are_not_zero_shot(trained_on, corpus, expected):
    assert is_zero_shot(trained_on, corpus) is expected


GOOD = {"micro_f1": 0.5, "split": "test", "protocol": "tracks", "tracks": 3, "interval": None}
GOOD |= {"when": "2026-11-22T12:00:00+00:00"}


@given(st.one_of(st.text(max_size=20), st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5)),
    lambda of: st.one_of(st.lists(of, max_size=3), st.dictionaries(st.sampled_from(sorted(GOOD)), of, max_size=6)),
).map(json.dumps)))  # fmt: skip
@example("[[" * 9999)
@example(json.dumps({**GOOD, "micro_f1": float("nan")}))
@example(json.dumps({**GOOD, "when": "yesterday"}))
@example(json.dumps({**GOOD, "interval": [1, 2, 3]}))
def test_tags_of_others_are_no_scores(text):
    assert scores_of({"zero_shot.x": text}) == {}
    assert scores_of({"zero_shot.x": text, "zero_shot.y": json.dumps(GOOD)}) == {"y": GOOD}


@pytest.mark.parametrize(("tag", "number"), [("trials", "9" * 400), ("parameters", "9" * 400), ("test", "1e999")])
def test_versions_of_others_with_numbers_beyond_all_are_left_out(version, tag, number):
    assert is_readable(version)
    other = ModelVersion(
        version.name, "9", 0, tags=[ModelVersionTag(*of) for of in {**version.tags, tag: number}.items()]
    )
    assert not is_readable(other)
    score = {**GOOD, "interval": [0.1, int("9" * 400)]}
    assert scores_of({"zero_shot.x": json.dumps(score)}) == {}


@pytest.mark.slow
def test_a_served_model_answers_as_mirtune_transcribes(swept, recording, tmp_path):
    written = tmp_path / "written"
    transcribed = main(["transcribe", str(recording), "--checkpoint", "mdb/vit", "--format", "csv",
                        "--out", str(written), "--tracking-uri", swept.tracking_uri])  # fmt: skip
    assert transcribed == 0
    (table,) = written.rglob("*.csv")
    with table.open(encoding="utf-8", newline="") as file:
        expected = [(float(row["time_s"]), row["class"]) for row in csv.DictReader(file)]
    assert expected
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "--env-manager", "local"]
    # It starts uvicorn by that name.
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": swept.tracking_uri, "PATH": path}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=log, stderr=log,
            start_new_session=True, cwd=tmp_path,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server)
        example = {"columns": ["audio"], "data": [[str(recording)]]}
        for body in ({"dataframe_split": example}, {"inputs": [str(recording)]}):
            answer = post(f"http://127.0.0.1:{port}/invocations", body)
            assert [(of["time_s"], of["class"]) for of in answer["predictions"]] == [
                (pytest.approx(time_s, abs=1e-3), name) for time_s, name in expected
            ]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(address, server, limit_s=180):
    end = time.monotonic() + limit_s
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.3)
    raise RuntimeError("the model is not served")


def post(address, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
