"""Prepared corpora in an object store: whole or absent there, fetched once, verified, read like any other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from miniature import drum_hits, write_mdb_track
from servers import between, small_disk

from data_prep import remote_corpora
from data_prep.corpora import PrepOptions
from data_prep.corpora.mdb import SPLIT_OF
from data_prep.files import checksum
from data_prep.manifest import MANIFEST, Manifest
from data_prep.refused import Refused
from data_prep.remote_corpora import CACHE, at_hand, cache_folder
from data_prep.remote_prep import SENDING, prepare, send
from data_prep.shards import Corpus
from data_prep.spectrogram import FEATURES
from data_prep.storage import Storage
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.network import Network
from trainables.tasks import TASKS
from tuner.cli import main

ROOT = Path(__file__).parents[2]
SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own for each test, and no waiting for a store to come back."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote_corpora, "PAUSE_S", 0.01)
    return tmp_path / "cache" / "shards"


@pytest.fixture
def remote(s3, shards) -> Storage:
    """The miniature in the store."""
    store = Storage.at(f"{s3.uri}/shards")
    send(shards / "mdb", Manifest.load(shards / "mdb"), store / "mdb", None)
    return store


@pytest.fixture
def body(s3):
    """An object of the corpus in the store; with ``content`` it is replaced."""

    def of(name: str, content: bytes | None = None) -> bytes:
        place = {"Bucket": s3.bucket, "Key": f"shards/mdb/{name}"}
        if content is not None:
            s3.client().put_object(**place, Body=content)
        return s3.client().get_object(**place)["Body"].read()

    return of


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def test_prepare_show_and_evaluate(s3, mdb_folder, shards, tmp_path, capsys, cache):
    uri = f"{s3.uri}/some/shards"
    assert main(["prep", "mdb", "--source", str(mdb_folder), "--shards", uri, "--workers", "1"]) == 0
    output = capsys.readouterr()
    assert f"mdb is ready in {uri}/mdb after" in output.out
    assert "MB of corpus mdb" in output.err
    prefix = "some/shards/mdb/"
    manifest = Manifest.load(shards / "mdb")
    assert s3.keys() == sorted(prefix + name for name in (*manifest.files, MANIFEST))
    assert not cache.exists()  # nothing was fetched yet

    assert main(["show", "mdb", "--shards", uri, "--out", str(tmp_path / "out"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["show", "mdb", "--shards", str(shards), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert {**shown, "source": ""} == {**json.loads(capsys.readouterr().out), "source": ""}

    torch.manual_seed(0)
    network = Network(TASKS["drum_onsets"], "vit", SMALL, bands=84, classes=5, mean=0.25, deviation=0.5)
    config = TrainingConfig(("mdb",), "vit", SMALL, Settings())
    checkpoint = Checkpoint(config, manifest.classes, FEATURES, 84, network.state_dict(), epoch=1)
    checkpoint.save(tmp_path / "best")
    scores = []
    for where in (uri, str(shards)):
        assert main(["evaluate", str(tmp_path / "best"), "--on", "mdb", "--shards", where, "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0] == scores[1]
    assert scores[0]["tracks"] > 0


def test_a_local_folder_is_itself(shards, cache):
    assert at_hand(shards, ["mdb"]) == shards
    assert at_hand(str(shards), ["mdb"]) == shards
    assert at_hand(f"file://{shards}", ["mdb"]) == shards
    assert not cache.exists()


def test_it_is_fetched_once(remote, s3, shards, cache, monkeypatch):
    told = []
    folder = at_hand(remote.location, ["mdb"], progress=lambda *progress: told.append(progress))
    total = sum((shards / "mdb" / name).stat().st_size for name in Manifest.load(shards / "mdb").files)
    assert told[-1] == (total, total, "corpus mdb")
    fetched = Corpus.open(folder / "mdb", verify=True)
    assert fetched.checksum == Corpus.open(shards / "mdb").checksum
    told.clear()
    requests: list[str] = []
    with between(s3.endpoint, lambda line: requests.append(line) or False) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        again = at_hand(remote.location, ["mdb"], verify=True, progress=lambda *progress: told.append(progress))
    assert again == folder
    assert told == []
    assert requests
    assert not [line for line in requests if "shard-" in line]
    assert sorted(path.name for path in cache.iterdir()) == sorted(
        ["views", fetched.checksum, f"{fetched.checksum}.lock"]
    )


def test_what_is_damaged_in_the_cache_is_fetched_again(remote, cache):
    folder = at_hand(remote.location, ["mdb"])
    name = next(name for name in Manifest.load(folder / "mdb").files if name.startswith("shard-"))
    (folder / "mdb" / name).write_bytes(flipped((folder / "mdb" / name).read_bytes()))
    (folder / "mdb" / "tracks.parquet").unlink()
    with pytest.raises(Refused, match=r"missing|damaged"):
        Corpus.open(folder / "mdb", verify=True)
    told = []
    again = at_hand(remote.location, ["mdb"], verify=True, progress=lambda *progress: told.append(progress))
    Corpus.open(again / "mdb", verify=True)
    lost = sum((again / "mdb" / of).stat().st_size for of in (name, "tracks.parquet"))
    assert told[-1] == (lost, lost, "corpus mdb")  # the rest stayed


FETCH = "import sys; from data_prep.remote_corpora import at_hand; print(at_hand(sys.argv[1], ['mdb'], progress=print))"


def test_of_several_processes_one_fetches(remote, s3, monkeypatch):
    requests: list[str] = []
    with between(s3.endpoint, lambda line: requests.append(line) or False) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        command = [sys.executable, "-c", FETCH, remote.location]
        started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    folders = {text.splitlines()[-1] for text in said}
    assert len(folders) == 1
    manifest = Corpus.open(Path(folders.pop()) / "mdb", verify=True).manifest
    fetched = [line for line in requests if line.startswith("GET") and "/shard-" in line]
    assert len(fetched) == len(set(fetched)) == sum(name.startswith("shard-") for name in manifest.files)


def test_a_corpus_that_is_prepared_anew_is_another(remote, mdb_folder, tmp_path, shards):
    old = at_hand(remote.location, ["mdb"])
    before = Manifest.load(old / "mdb")
    source = shutil.copytree(mdb_folder, tmp_path / "source")
    write_mdb_track(source, "Punk", *drum_hits(99))
    options = PrepOptions(workers=1)
    prepare("mdb", source=source, shards=remote.location, options=options)
    new = at_hand(remote.location, ["mdb"])
    assert new != old
    changed = Corpus.open(new / "mdb", verify=True)
    assert changed.manifest.files != before.files
    assert Corpus.open(old / "mdb", verify=True).checksum == before.checksum  # whoever reads it goes on
    prepare("mdb", source=mdb_folder, shards=remote.location, options=options)
    assert Manifest.load(at_hand(remote.location, ["mdb"]) / "mdb").files == before.files


def test_only_what_changed_is_sent(remote, s3, mdb_folder, tmp_path, monkeypatch):
    source = shutil.copytree(mdb_folder, tmp_path / "source")
    first = prepare("mdb", source=source, shards=remote.location, options=PrepOptions(workers=1))
    write_mdb_track(source, "Punk", *drum_hits(99))
    for path in source.rglob("*Rock*"):  # the last one: its shard goes
        path.unlink()
    requests: list[str] = []
    with between(s3.endpoint, lambda line: requests.append(line) or False) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        second = prepare("mdb", source=source, shards=remote.location, options=PrepOptions(workers=1))
    changed = {name for name, of in second.files.items() if first.files.get(name) != of}
    assert len(second.files) == len(first.files) - 1
    assert 0 < len(changed) < len(second.files)
    puts = [line.split()[1].split("?")[0].rpartition("/")[2] for line in requests if line.startswith("PUT ")]
    assert {name for name in puts if name in second.files} == changed
    assert [name for name in puts if name in (MANIFEST, SENDING)] == [SENDING, SENDING, MANIFEST]
    assert {Path(key).name for key in [*s3.keys()]} == {*second.files, MANIFEST}


def test_corpora_that_are_not_there(remote, s3):
    with pytest.raises(Refused, match=r"'egmd' is not prepared: there is no s3://.*/egmd/manifest.json; run `mirtune"):
        at_hand(remote.location, ["mdb", "egmd"])
    for name in ("../mdb", "..", "mdb/x"):
        with pytest.raises(Refused, match="cannot name a file or folder"):
            at_hand(remote.location, [name])
    assert main(["show", "nothing", "--shards", remote.location]) == 2


@pytest.mark.faults
@pytest.mark.slow
def test_a_store_that_does_not_answer(remote, monkeypatch):
    monkeypatch.setattr(remote_corpora, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Refused, match=r"cannot be fetched from s3://.*connect.*check the store and the environment's"):
        at_hand(remote.location, ["mdb"])
    with pytest.raises(Refused, match=r"fails \(.*connect.*run the same command again"):
        prepare("demo", source=None, shards=remote.location, options=PrepOptions(hours=0.001))


@pytest.mark.parametrize("what", ["shard-00000.arrow", "tracks.parquet"])
def test_what_is_damaged_or_missing_in_the_store(remote, s3, body, what, cache):
    good = body(what)
    body(what, flipped(good))
    with pytest.raises(Refused, match=rf"{what} is not what its manifest says: its checksum is another\); check"):
        at_hand(remote.location, ["mdb"])
    s3.client().delete_object(Bucket=s3.bucket, Key=f"shards/mdb/{what}")
    with pytest.raises(Refused, match=rf"{what}, which its manifest lists, is missing"):
        at_hand(remote.location, ["mdb"])
    assert not [path for path in cache.iterdir() if path.is_dir() and len(path.name) == 64]  # nothing passes for whole
    body(what, good)
    Corpus.open(at_hand(remote.location, ["mdb"]) / "mdb", verify=True)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "..", "a/../../escaped", "a\\b", ""])
def test_a_manifest_cannot_write_outside_its_folder(remote, body, name, tmp_path):
    content = json.loads(body(MANIFEST))
    content["files"][name] = checksum(Path(__file__))
    body(MANIFEST, json.dumps(content).encode())
    before = sorted(tmp_path.rglob("*escaped*"))
    with pytest.raises(Refused, match="which is no file in its folder"):
        at_hand(remote.location, ["mdb"])
    assert sorted(tmp_path.rglob("*escaped*")) == before
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": 99}', b"\xff", b""])
def test_a_damaged_manifest(remote, body, content):
    body(MANIFEST, content)
    with pytest.raises(Refused, match=r"^s3://.*/mdb/manifest.json (is damaged|has format)"):
        at_hand(remote.location, ["mdb"])


def test_another_corpus_under_the_name(remote):
    with pytest.raises(Refused, match=r"holds corpus 'mdb' .*, not 'demo'; give another --name, or remove"):
        prepare("demo", source=None, shards=remote.location, options=PrepOptions(hours=0.001, name="mdb"))


def test_a_corpus_that_is_replaced_while_it_is_fetched(remote, s3, shards, mdb_folder, tmp_path, monkeypatch):
    """The manifest was read, then another corpus came: what does not fit is noticed, and the new one is fetched."""
    source = shutil.copytree(mdb_folder, tmp_path / "source")
    write_mdb_track(source, "Punk", *drum_hits(99))
    here = tmp_path / "here"
    manifest = prepare("mdb", source=source, shards=here, options=PrepOptions(workers=1))
    before, replaced, client = Manifest.load(shards / "mdb").files, threading.Event(), s3.client()
    changed = [name for name, of in manifest.files.items() if before[name] != of and name.startswith("shard-")]
    content = {name: (here / "mdb" / name).read_bytes() for name in (*manifest.files, MANIFEST)}

    def replace_once(line: str) -> bool:
        if line.startswith("GET") and line.endswith(changed[0]) and not replaced.is_set():
            replaced.set()
            for name, new in content.items():
                client.put_object(Bucket=s3.bucket, Key=f"shards/mdb/{name}", Body=new)
        return False

    with between(s3.endpoint, replace_once) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        folder = at_hand(remote.location, ["mdb"])
    assert replaced.is_set()
    assert Corpus.open(folder / "mdb", verify=True).checksum == manifest.checksum


@pytest.mark.faults
def test_a_full_disk(remote, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", "1M") as disk:
        monkeypatch.setenv(CACHE, str(disk))
        with pytest.raises(Refused, match=r"MB? are to be fetched|GB are to be fetched and .* or name a folder on a"):
            at_hand(remote.location, ["mdb"])
        monkeypatch.setattr(remote_corpora, "_refuse_without_room", lambda *_: None)  # the room goes meanwhile
        with pytest.raises(Refused, match="no space left on the disk that holds"):
            at_hand(remote.location, ["mdb"])
        assert not [path for path in cache_folder().rglob("*.arrow") if ".part" not in str(path)]
    monkeypatch.setenv(CACHE, str(tmp_path / "larger"))
    Corpus.open(at_hand(remote.location, ["mdb"]) / "mdb", verify=True)


@pytest.fixture
def large_source(tmp_path) -> Path:
    """All 23 tracks of MDB Drums, each of them made up: twenty-odd shards."""
    for seed, name in enumerate(SPLIT_OF):
        write_mdb_track(tmp_path / "MDB Drums", name, *drum_hits(seed))
    return tmp_path / "MDB Drums"


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_sender_goes_on(s3, large_source, monkeypatch, tmp_path):
    uri = f"{s3.uri}/shards"
    prepare("mdb", source=large_source, shards=tmp_path / "whole", options=PrepOptions(workers=1))
    whole = Manifest.load(tmp_path / "whole" / "mdb")
    command = [sys.executable, "-m", "tuner.cli", "prep", "mdb", "--source", large_source, "--shards", uri]
    sent: list[str] = []
    slowly = lambda line: time.sleep(0.3 * (line.startswith("PUT") and "/shard-" in line)) or False  # noqa: E731
    for wanted in (1, 5, 9):
        with between(s3.endpoint, slowly) as endpoint:
            environment = {**os.environ, "AWS_ENDPOINT_URL": endpoint}
            process = subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
            while process.poll() is None and sum(key.endswith(".arrow") for key in [*s3.keys()]) < wanted:
                time.sleep(0.005)
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        sent = [Path(key).name for key in [*s3.keys()]]
        assert MANIFEST not in sent
        with pytest.raises(Refused, match="not prepared"):
            at_hand(uri, ["mdb"])
    requests: list[str] = []
    with (
        between(s3.endpoint, lambda line: requests.append(line) or False) as endpoint,
        monkeypatch.context() as environment,
    ):
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        assert subprocess.run([*command, "--workers", "1"], cwd=ROOT, check=False).returncode == 0
    puts = [line.split()[1].split("?")[0].rpartition("/")[2] for line in requests if line.startswith("PUT ")]
    arrived = {name for name in sent if name in whole.files}
    assert len(arrived) >= 9
    assert {name for name in puts if name in whole.files} == set(whole.files) - arrived
    manifest = Corpus.open(at_hand(uri, ["mdb"]) / "mdb", verify=True).manifest
    assert manifest.files == whole.files


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_fetcher_goes_on(remote, s3, monkeypatch, cache):
    slowly = lambda line: time.sleep(0.2 * ("/shard-" in line)) or False  # noqa: E731
    with between(s3.endpoint, slowly) as endpoint, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        for wanted in (1, 3):
            process = subprocess.Popen([sys.executable, "-c", FETCH, remote.location], cwd=ROOT)
            while process.poll() is None and len(list(cache.glob("*.part/shard-*"))) < wanted:
                time.sleep(0.002)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert not [path for path in cache.iterdir() if path.is_dir() and len(path.name) == 64]
    told = []
    folder = at_hand(remote.location, ["mdb"], progress=lambda *progress: told.append(progress))
    fetched = Corpus.open(folder / "mdb", verify=True)
    total = sum((folder / "mdb" / name).stat().st_size for name in fetched.manifest.files)
    assert 0 < told[-1][1] < total  # what had come was not fetched again
    assert not list(cache.rglob("*.part"))
