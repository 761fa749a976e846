"""A preparation that is killed at any moment goes on where it was, and ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from miniature import drum_hits, write_mdb_track

from data_prep.corpora import PrepOptions
from data_prep.corpora.mdb import SPLIT_OF
from data_prep.job import prepare
from data_prep.refused import Refused
from data_prep.shards import Corpus


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """All 23 tracks of MDB Drums, each of them made up."""
    folder = tmp_path_factory.mktemp("killed") / "MDB Drums"
    for seed, name in enumerate(SPLIT_OF):
        write_mdb_track(folder, name, *drum_hits(seed, seconds=20.0))
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The manifest of a run that nobody killed."""
    return prepare("mdb", source=source, shards=tmp_path_factory.mktemp("whole"), options=PrepOptions(workers=1))


def start(source, shards, workers):
    """`mirtune prep` in a process of its own."""
    command = [sys.executable, "-m", "tuner.cli", "prep", "mdb", "--source", source, "--shards", shards]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.Popen([*command, "--workers", str(workers)], **quiet)


def kill_when(process, done, limit_s=60.0):
    """SIGKILL the process and its children as soon as ``done()``; False where it ended before."""
    end = time.monotonic() + limit_s
    while process.poll() is None and not done() and time.monotonic() < end:
        time.sleep(0.002)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return killed


@pytest.mark.parametrize(("workers", "moments"), [(1, (1, 6, 12)), (2, (5,))])
def test_killed_again_and_again(source, whole, tmp_path, workers, moments):
    folder = tmp_path / "mdb"
    kills = 0
    for records in moments:
        done = lambda least=records: len(list((folder / "parts").glob("shard-*.json"))) >= least  # noqa: E731
        kills += kill_when(start(source, tmp_path, workers), done)
        with pytest.raises(Refused, match="not prepared"):
            Corpus.open(folder)
    assert kills == len(moments)
    half_written = lambda: any(folder.glob(".*.part"))  # noqa: E731
    kill_when(start(source, tmp_path, 1), half_written)
    assert start(source, tmp_path, 1).wait() == 0
    again = Corpus.open(folder, verify=True).manifest
    assert again.files == whole.files
    assert again.splits == whole.splits
    assert not list(folder.rglob("*.part"))


def test_a_finished_corpus_stays_while_nothing_changed(source, tmp_path):
    first = prepare("mdb", source=source, shards=tmp_path, options=PrepOptions(workers=1))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "mdb").glob("*.arrow")}
    lock = tmp_path / "mdb" / "parts" / ".lock"
    before = lock.stat().st_mtime_ns
    assert kill_when(start(source, tmp_path, 1), lambda: lock.stat().st_mtime_ns > before)  # it has begun
    Corpus.open(tmp_path / "mdb", verify=True)
    assert start(source, tmp_path, 1).wait() == 0
    again = Corpus.open(tmp_path / "mdb", verify=True).manifest
    assert again.checksum == first.checksum
    assert again.timing == first.timing  # what was done is not done again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mdb").glob("*.arrow")} == stamps
