"""A preparation on two workers whose processes are killed, stopped, interrupted, or run out of disk: real processes.

Whatever happens, a shard under its final name is whole, a folder with a manifest verifies, and the same command run
again ends with the same bytes as a run that nobody disturbed.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from miniature import drum_hits, write_mdb_track

from data_prep.corpora import PrepOptions
from data_prep.corpora.mdb import SPLIT_OF
from data_prep.files import checksum
from data_prep.job import prepare
from data_prep.manifest import MANIFEST
from data_prep.refused import Refused
from data_prep.shards import Corpus

pytestmark = pytest.mark.faults
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """All 23 tracks of MDB Drums, each of them made up: 13 shards."""
    folder = tmp_path_factory.mktemp("killed") / "MDB Drums"
    for seed, name in enumerate(SPLIT_OF):
        write_mdb_track(folder, name, *drum_hits(seed, seconds=60.0))
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The folder that a run leaves which nobody disturbed."""
    shards = tmp_path_factory.mktemp("whole")
    prepare("mdb", source=source, shards=shards, options=PrepOptions(workers=1))
    return shards / "mdb"


class Preparation:
    """`mirtune prep` in a session of its own, with Ray's processes in it."""

    def __init__(self, source: Path, shards: Path, workers: int = 2, **environment: str) -> None:
        self.folder = shards / "mdb"
        self._said = shards / f"said-{time.monotonic_ns()}"
        command = [sys.executable, "-m", "tuner.cli", "prep", "mdb", "--source", source, "--shards", shards]
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [*command, "--workers", str(workers)],
                **{"stdout": subprocess.DEVNULL, "stderr": said, "start_new_session": True},
                env={**os.environ, **environment},
            )

    @property
    def records(self) -> list[Path]:
        """Of shards that are finished."""
        return list((self.folder / "parts").glob("shard-*.json"))

    def until(self, what) -> bool:
        """Wait for ``what()``, or the end of the process; whether it came true before."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := what():
                return found
            if self.process.poll() is not None:
                return False
            time.sleep(0.002)
        raise AssertionError(f"nothing for {PATIENCE_S:g} s: {self.said()}")

    def processes(self) -> list[int]:
        """Every process of the session that is left."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                of = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # gone meanwhile
                continue
            if int(of[3]) == self.process.pid and of[0] != "Z":
                found.append(int(pid))
        return found

    def writers(self, least_bytes: int = 1) -> dict[int, str]:
        """Processes that are writing a shard, and which."""
        found = {}
        for pid in self.processes():
            try:
                open_files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
                for path in map(Path, open_files):
                    if path.parent == self.folder and path.suffix == ".part" and path.stat().st_size >= least_bytes:
                        found[pid] = path.name.split(".")[1]
            except OSError:
                continue
        return found

    def end(self) -> int:
        """Wait for the end; its status."""
        return self.process.wait(PATIENCE_S)

    def said(self) -> str:
        """Standard error."""
        return self._said.read_text()

    def bury(self) -> None:
        """End whatever is left of the session."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def run(source, tmp_path):
    """Start a preparation; what is left of all is ended afterwards."""
    started = []

    def start(*arguments, **named) -> Preparation:
        started.append(Preparation(source, *(arguments or (tmp_path,)), **named))
        return started[-1]

    yield start
    for preparation in started:
        preparation.bury()


def check_all_is_whole(folder: Path, whole: Path) -> dict[str, int]:
    """No shard is half-written, and the folder is refused or verifies; the finished shards' inodes."""
    for shard in folder.glob("shard-*.arrow"):
        assert checksum(shard) == checksum(whole / shard.name)
    if (folder / MANIFEST).exists():
        Corpus.open(folder, verify=True)
    else:
        with pytest.raises(Refused, match="not prepared"):
            Corpus.open(folder)
    records = (folder / "parts").glob("shard-*.json")
    return {name: (folder / name).stat().st_ino for name in (f"{record.stem}.arrow" for record in records)}


def check_the_end(folder: Path, whole: Path, kept: dict[str, int]) -> None:
    """The same files as an undisturbed run's, none left over, and what was finished was not made again."""
    found, expected = (Corpus.open(of, verify=True).manifest for of in (folder, whole))
    assert found.files == expected.files
    assert found.checksum == expected.checksum
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    assert {path.name for path in (folder / "parts").iterdir()} == {path.name for path in (whole / "parts").iterdir()}
    assert {name: (folder / name).stat().st_ino for name in kept} == kept


def test_a_driver_killed_ten_times(run, whole, tmp_path):
    chance = np.random.default_rng()
    kept: dict[str, int] = {}
    earlier, killed = [], 0
    for _ in range(10):
        preparation = run()
        preparation.until(preparation.writers)
        time.sleep(chance.uniform(0, 0.5))
        if preparation.process.poll() is None:
            preparation.process.kill()
            killed += 1
        preparation.end()
        now = check_all_is_whole(preparation.folder, whole)
        assert {name: inode for name, inode in now.items() if name in kept} == kept
        kept = now
        for before in earlier:  # its workers may still write while the next run does
            before.bury()
        earlier = [preparation]
    assert killed >= 5  # later runs have little left to do
    last = run()
    assert last.end() == 0, last.said()
    check_the_end(last.folder, whole, kept)


def test_workers_killed_again_and_again(run, whole):
    chance = np.random.default_rng()
    preparation, killed = run(), []
    for _ in range(4):
        time.sleep(chance.uniform(0, 0.5))
        found = preparation.until(
            lambda: {pid: of for pid, of in preparation.writers().items() if killed.count(of) < 2}  # as Ray retries
        )
        pid, shard = next(iter(found.items()))
        os.kill(pid, signal.SIGKILL)
        killed.append(shard)
        check_all_is_whole(preparation.folder, whole)
    assert preparation.end() == 0, preparation.said()
    check_the_end(preparation.folder, whole, {})


@pytest.mark.parametrize("also_the_driver", [False, True])
def test_a_worker_killed_while_it_writes_a_shard(also_the_driver, run, whole):
    preparation = run()
    found = preparation.until(lambda: preparation.writers(least_bytes=100_000))
    pid, shard = next(iter(found.items()))
    os.kill(pid, signal.SIGSTOP)
    half_written = [path.stat().st_size for path in preparation.folder.glob(f".{shard}.*.part")]
    assert half_written
    assert max(half_written) < (whole / f"{shard}.arrow").stat().st_size
    assert not (preparation.folder / f"{shard}.arrow").exists()
    kept = check_all_is_whole(preparation.folder, whole)
    if also_the_driver:
        preparation.bury()
        assert list(preparation.folder.glob(f".{shard}.*.part"))
        assert f"{shard}.arrow" not in check_all_is_whole(preparation.folder, whole)
        preparation = run()
    else:
        os.kill(pid, signal.SIGKILL)
    assert preparation.end() == 0, preparation.said()
    check_the_end(preparation.folder, whole, kept)


@pytest.mark.parametrize("whom", ["the driver", "its group, as a terminal does"])
def test_interrupted(whom, run, whole):
    preparation = run()
    preparation.until(lambda: preparation.records and preparation.writers())
    (os.kill if whom == "the driver" else os.killpg)(preparation.process.pid, signal.SIGINT)
    assert preparation.end() == 130
    assert preparation.said().splitlines()[-1] == "mirtune: stopped; finished shards stay; the same command goes on"
    assert "Traceback" not in preparation.said()
    kept = check_all_is_whole(preparation.folder, whole)
    again = run()
    assert again.end() == 0, again.said()
    check_the_end(again.folder, whole, kept)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of so many bytes, or give it another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size_bytes: int) -> Path:
        options = f"size={size_bytes},mode=755"
        options += ",remount" if place.is_mount() else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a small disk is mounted by root only, outside containers that forbid it: {done.stderr}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(workers, small_disk, run, whole):
    needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in whole.rglob("*") if path.is_file())
    kept: dict[str, int] = {}
    for share in (0.25, 0.6, 0.9, 0.999):  # the last one is full when the tables are written
        preparation = run(small_disk(int(share * needed)), workers)
        assert preparation.end() == 2, preparation.said()
        said = f"mirtune: no space left on the disk that holds {preparation.folder}; free some and run the same command"
        assert preparation.said().splitlines()[-1].startswith(said)
        assert "Traceback" not in preparation.said()
        preparation.bury()
        now = check_all_is_whole(preparation.folder, whole)
        assert {name: inode for name, inode in now.items() if name in kept} == kept
        kept = now
    assert len(kept) >= 6
    preparation = run(small_disk(2 * needed), workers)
    assert preparation.end() == 0, preparation.said()
    for said in preparation.folder.parent.glob("said-*"):
        said.unlink()
    check_the_end(preparation.folder, whole, kept)


CRASHING = """
import os, signal, soundfile
opened = soundfile.SoundFile.__init__
def crash(self, file, *arguments, **named):
    if "Punk" in str(getattr(file, "name", file)) or "Disco" in str(getattr(file, "name", file)):
        os.kill(os.getpid(), signal.SIGSEGV)
    opened(self, file, *arguments, **named)
soundfile.SoundFile.__init__ = crash
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_crash_their_decoder_cost_no_other_track(workers, run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CRASHING)  # a decoder that crashes, in every process
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for _ in range(3):  # without Ray, which begins a lost shard again, the process itself is lost over each shard
        preparation = run(tmp_path, workers, PYTHONPATH=path)
        status = preparation.end()
        if workers == 2 or status == 0:
            break
        assert status == -signal.SIGSEGV
    assert status == 0, preparation.said()
    manifest = Corpus.open(preparation.folder, verify=True).manifest
    assert {entry["id"] for entry in manifest.refused} == {"Punk", "Disco"}
    for entry in manifest.refused:
        assert f"MusicDelta_{entry['id']}_MIX.wav crashes its decoder (SIGSEGV)" in entry["reason"]
    assert sum(split.tracks for split in manifest.splits.values()) == len(SPLIT_OF) - 2
