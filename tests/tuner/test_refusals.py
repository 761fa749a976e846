"""What a sweep and its commands refuse: one sentence, exit status 2, nothing started."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.claim import held
from tuner.cli import main
from tuner.options import SweepOptions
from tuner.packing import pack
from tuner.plan import check
from tuner.records import TrialRecord
from tuner.sweep import sweep
from tuner.sweep_folder import SweepFile


@pytest.fixture
def options(shards, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return SweepOptions(("mdb",), "rnn", shards=shards, tracking_uri=uri, storage=str(tmp_path / "sweeps"))


REFUSALS = [
    ({"corpora": ("nope",)}, r"unknown corpus 'nope' in .*shards; choose from mdb, or run `mirtune prep` first"),
    ({"shards": Path("nowhere"), "corpora": ("nope",)}, "unknown corpus 'nope' in nowhere; nothing is prepared there"),
    ({"corpora": ("groove",)}, r"corpus 'groove' is not prepared.* run `mirtune prep groove"),
    ({"corpora": ("mdb", "mdb")}, "each once"),
    ({"corpora": ()}, "name at least one"),
    ({"narrow": {"unit": ("zither",)}}, "unit = 'zither'; choose from gru, lstm"),
    ({"narrow": {"learning_rate": (-1.0,)}}, "learning_rate = -1.0; expected a number above 0"),
    ({"gpus_per_trial": -0.5}, "--gpus-per-trial -0.5: expected 0, a fraction"),
    ({"gpus_per_trial": 1.5}, "--gpus-per-trial 1.5: expected 0, a fraction or a whole number of GPUs"),
    ({"architecture": "gan"}, "unknown architecture 'gan'; choose from cnn, conv_transformer, crnn, rnn, vit"),
    ({"scheduler": "luck"}, "unknown scheduler 'luck'; choose from asha, none"),
    ({"task": "beats"}, "unknown task 'beats'; choose from drum_onsets"),
    ({"trials": 0}, "0 trials does nothing; ask for 1 or more"),
    ({"max_epochs": 0}, "0 epochs does nothing"),
    ({"cpus_per_trial": 0}, "0 CPUs per trial"),
    ({"batch_size": 0}, "0 windows a batch"),
    ({"grace_epochs": 0}, "0 epochs of grace"),
    ({"at_once": 0}, "0 trials at once"),
    ({"max_failures": -1}, "--max-failures -1: expected 0 or more"),
    ({"time_budget_s": 0.0}, "a time budget of 0 s: expected more than none"),
    ({"points": "none.json"}, "--points none.json: there is no such file"),
    ({"points": "mdb"}, "mdb"),
    ({"storage": "ftp://there/x"}, "storage of the kind 'ftp' is not known"),
    ({"storage": "s3://me:secret@bucket/x"}, "environment"),
    ({"name": ".."}, "cannot be a sweep's name"),
    ({"name": "a/b"}, "cannot be a sweep's name"),
    ({"tracking_uri": "file:///tmp/runs"}, r"tracking URI 'file:///tmp/runs' is not one .* expected sqlite:///PATH"),
    ({"narrow": {"depth": (1,)}}, "unknown hyperparameter 'depth'; choose from hidden, layers"),
    ({"narrow": {"hidden": ()}}, "no value at all"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSALS)
def test_a_sweep_refuses(options, change, sentence):
    with pytest.raises(Refused, match=sentence):
        check(replace(options, **change))


def test_a_name_that_is_used_is_refused(options, tmp_path):
    SweepFile({}, {}).save(Storage.at(options.storage) / "mine")
    for storage in (options.storage, f"file://{options.storage}"):
        with pytest.raises(
            Refused, match=r"there is a sweep named 'mine' in .* go on with it by --resume, or choose another --name"
        ):
            sweep(replace(options, name="mine", storage=storage))
    assert check(replace(options, name="yours")).name == "yours"


def test_a_folder_that_holds_something_else_is_refused(options, tmp_path):
    (tmp_path / "sweeps" / "mine").mkdir(parents=True)
    (tmp_path / "sweeps" / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(Refused, match=r"mine is in use and holds no sweep \('diary.txt'\); choose another --name"):
        sweep(replace(options, name="mine"))


def test_a_sweep_that_a_process_holds_is_refused(options):
    folder = Storage.at(options.storage) / "mine"
    with held(folder, "x"), pytest.raises(Refused, match=r"sweep 'mine' in .* is run by another process; wait for it"):
        sweep(replace(options, name="mine", resume=True))


CHANGES = [
    ({"max_epochs": 7}, "was begun with --max-epochs 100 and cannot go on with 7; leave --max-epochs out"),
    ({"seed": 3}, "was begun with --seed 0 and cannot go on with 3"),
    ({"architecture": "cnn"}, "was begun with --architecture rnn and cannot go on with cnn"),
    ({"scheduler": "asha"}, "was begun with --scheduler none and cannot go on with asha"),
    ({"narrow": {"hidden": (72,)}}, r"was begun with --narrow \(none\) and cannot go on with"),
    ({"batch_size": 3}, "was begun with --batch-size 16 and cannot go on with 3"),
    ({"trials": 1}, "has begun 2 trials and cannot go on with 1; give --trials that many or more"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
def test_a_sweep_goes_on_as_it_began_or_not_at_all(options, change, sentence):
    options = replace(options, name="mine")
    folder = Storage.at(options.storage) / "mine"
    SweepFile({**options.beginning, "batch_size": 16}, check(options).checksums).save(folder)
    for number in (1, 2):
        TrialRecord(f"trial-{number:04d}", number, {"hidden": 72}).save(folder)
    with pytest.raises(Refused, match=sentence):
        sweep(replace(options, **change, resume=True))


def test_a_corpus_that_was_prepared_anew_is_not_gone_on_with(options):
    options = replace(options, name="mine")
    SweepFile(options.beginning, {"mdb": "another"}).save(Storage.at(options.storage) / "mine")
    with pytest.raises(Refused, match=r"corpus 'mdb' was prepared anew since sweep 'mine' was begun"):
        sweep(replace(options, resume=True))


DAMAGES = [
    ("sweep.json", "{", "sweep.json is not the file of a sweep"),
    ("sweep.json", '{"format": 7}', "sweep.json is not the file of a sweep"),
    ("trial-0001/trial.json", "[]", "trial-0001/trial.json is not the record of a trial .* have this trial run anew"),
    ("trial-0001/trial.json", '{"format": 1, "id": 3}', "is not the record of a trial"),
]


@pytest.mark.parametrize(("file", "text", "sentence"), DAMAGES)
def test_a_damaged_folder_is_refused(options, file, text, sentence, tmp_path):
    options = replace(options, name="mine")
    folder = Storage.at(options.storage) / "mine"
    SweepFile(options.beginning, check(options).checksums).save(folder)
    TrialRecord("trial-0001", 1, {"hidden": 72}).save(folder)
    (tmp_path / "sweeps" / "mine" / file).write_text(text)
    with pytest.raises(Refused, match=sentence):
        sweep(replace(options, resume=True))


def test_a_damaged_shard_is_refused(options, tmp_path):
    shutil.copytree(options.shards, tmp_path / "shards")
    shard = next((tmp_path / "shards" / "mdb").glob("*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(Refused, match=r"\.arrow is damaged: its checksum .* run `mirtune prep mdb"):
        check(replace(options, shards=tmp_path / "shards"))


def test_a_corpus_without_validation_tracks_is_refused(options, without):
    with pytest.raises(Refused, match="corpus 'mdb' has no validation tracks"):
        check(replace(options, shards=without("validation")))


def test_a_trial_that_no_cluster_can_hold_is_refused(options):
    with pytest.raises(Refused, match="a trial wants 1 CPUs and 2 GPUs and the cluster has 2 and 1"):
        pack(replace(options, gpus_per_trial=2.0), {"CPU": 2.0, "GPU": 1.0}, (1.0, ""))


COMMANDS = [
    ("sweep --corpus nope --architecture rnn --trials 1", "unknown corpus 'nope'"),
    ("sweep --corpus mdb --architecture gan --trials 1", "unknown architecture 'gan'"),
    ("sweep --corpus mdb --architecture rnn --trials 0", "0 trials does nothing"),
    ("sweep --corpus groove --architecture rnn --trials 1", "not prepared"),
    ("pull mdb/rnn --out best", "no model 'mdb/rnn' is registered in .* run `mirtune sweep` first"),
    ("pull mdb --out best", "'mdb' is not the name of a registered model; expected CORPUS/ARCHITECTURE"),
    ("pull mdb/rnn --out shards", "shards exists and is not an earlier pull"),
    ("evaluate mdb/rnn --on mdb", "no model 'mdb/rnn' is registered"),
    ("evaluate empty --on mdb", "empty is no checkpoint: it lacks config.json"),
    ("evaluate mdb/rnn --on nope", "unknown corpus 'nope' in shards; choose from mdb"),
    ("evaluate mdb/rnn --on mdb --split dev", "unknown split 'dev'; choose from train, validation, test, all"),
    ("evaluate mdb/rnn --on mdb --protocol frames", "unknown protocol 'frames'; choose from tracks, segments"),
    ("transcribe a/x.wav b/x.wav --checkpoint mdb/rnn --out midi", "two inputs are named 'x.wav'"),
    ("transcribe a.wav --checkpoint mdb/rnn --average-gains 0 --out midi", "--average-gains 0; expected 1 to 25"),
    ("leaderboard --tracking-uri mlruns", "tracking URI 'mlruns'"),
    ("sweep --name mine --resume", "there is no sweep 'mine' to go on with; to begin one, give --corpus"),
    ("sweep --resume", "--resume needs the --name of the sweep"),
    ("sweep --corpus mdb", "a sweep needs more; to begin one, give --architecture, --trials as well"),
    ("prep mdb --hours 0", "--hours 0: expected a number above 0"),
    ("prep demo --hours inf", "--hours inf: expected a number above 0"),
    ("prep mdb --workers 0", "--workers 0: expected 1 or more"),
    ("prep nope", "unknown corpus 'nope'"),
]


@pytest.mark.parametrize(("line", "sentence"), COMMANDS)
def test_a_command_refuses_with_status_2_and_one_sentence(line, sentence, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").symlink_to(shards)
    (tmp_path / "empty").mkdir()
    assert main(line.split()) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("mirtune: ")
    assert output.err.count("\n") == 1
    assert re.search(sentence, output.err), output.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "line", ["", "dance", "sweep --time-budget soon", "sweep --corpus mdb --narrow hidden --trials 1"]
)
def test_a_wrong_command_line_exits_with_2(line, capsys):
    with pytest.raises(SystemExit) as exit:
        main(line.split())
    assert exit.value.code == 2
