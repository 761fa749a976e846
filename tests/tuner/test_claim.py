"""One process at a time holds a sweep: real processes, on a disk and in an object store, killed and racing."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import s3, s3_server  # noqa: F401

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner import claim
from tuner.claim import CLAIMS, held

WHAT = "sweep 'x' is run by another process"

# Holds until its standard input ends, and says when it holds no more.
HOLD = """
import sys, threading, time
from data_prep.object_store import ObjectStore
from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner import claim
where, machine, sleeps_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
claim.BEAT_S, claim.LEASE_S = 0.2, 2.0
if machine:
    claim._machine = lambda: machine
print("ready", flush=True)
sys.stdin.readline()
try:
    with claim.held(Storage.at(where), "sweep 'x' is run by another process") as is_held:
        print("holds", flush=True)
        def watch():
            while is_held():
                time.sleep(0.02)
            print("holds no more", flush=True)
        threading.Thread(target=watch, daemon=True).start()
        if sleeps_s:  # its machine sleeps as its claim has just been seen
            exists = ObjectStore.exists
            def seen_before_sleep(self, name):
                seen = exists(self, name)
                if threading.current_thread().name == "claim":
                    ObjectStore.exists = exists
                    print("sleeps", flush=True)
                    time.sleep(sleeps_s)
                return seen
            ObjectStore.exists = seen_before_sleep
        sys.stdin.readline()
    print("gave back", flush=True)
except Refused as refused:
    print(refused, flush=True)
"""

# Tries again and again; while it holds, a file that nobody else may have is its own.
RACE = """
import os, random, sys, time
from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner import claim
where, own, seconds, machine = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
if machine:
    claim._machine = lambda: machine
claim.BEAT_S, claim.LEASE_S = 0.5, 4.0
draw, held, refused = random.Random(os.getpid()), 0, 0
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        with claim.held(Storage.at(where), "x"):
            os.close(os.open(own, os.O_CREAT | os.O_EXCL))  # FileExistsError: two hold it
            time.sleep(draw.uniform(0, 0.05))
            os.unlink(own)
            held += 1
    except Refused:
        refused += 1
    time.sleep(draw.uniform(0, 0.1))
print(held, refused, flush=True)
"""


class Holder:
    """A process that holds a sweep, or wants to."""

    def __init__(self, folder: Storage, *, machine: str = "", sleeps_s: float = 0.0):
        self.process = _python(HOLD, folder.location, machine, sleeps_s)
        assert self.hears() == "ready"

    def go(self) -> "Holder":
        """Have it try, or end."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def hears(self, limit_s: float = 30.0) -> str:
        """The next line that it says; AssertionError where it says nothing."""
        assert select.select([self.process.stdout], [], [], limit_s)[0], f"nothing for {limit_s:g} s"
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """SIGKILL; nobody has waited for it yet."""
        self.process.kill()


def _python(program: str, *arguments) -> subprocess.Popen:
    words = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def hold() -> Iterator:
    """Start processes that end with the test."""
    made: list[Holder] = []

    def start(folder: Storage, **options) -> Holder:
        made.append(Holder(folder, **options))
        return made[-1]

    yield start
    for holder in made:
        holder.process.kill()
        holder.process.communicate()


@pytest.fixture
def bucket(s3) -> Storage:  # noqa: F811
    """A sweep's folder in an object store."""
    return Storage.at(f"{s3.uri}/sweeps") / "x"


@pytest.fixture
def short(monkeypatch) -> None:
    """A lease of two seconds."""
    monkeypatch.setattr(claim, "BEAT_S", 0.2)
    monkeypatch.setattr(claim, "LEASE_S", 2.0)


def race(folder: Storage, own: Path, processes: int, seconds: float, machines: bool = False) -> list[list[int]]:
    """So many processes that try again and again; how often each held and was refused."""
    name = (lambda: uuid.uuid4().hex) if machines else (lambda: "")
    racing = [_python(RACE, folder.location, own, seconds, name()) for _ in range(processes)]
    try:
        for of in racing:
            assert of.stdout.readline().strip() == "ready"
        for of in racing:
            of.stdin.write("\n")
            of.stdin.flush()
        said = [of.communicate(timeout=seconds + 60)[0] for of in racing]
        assert all(of.returncode == 0 for of in racing), "two processes held one sweep at once"
        return [[int(number) for number in line.split()] for line in said]
    finally:
        for of in racing:
            of.kill()
            of.wait()


def test_on_a_disk_a_killed_process_holds_nothing(hold, tmp_path):
    folder = Storage.at(tmp_path / "x")
    first = hold(folder).go()
    assert first.hears() == "holds"
    with pytest.raises(Refused, match=rf"^{WHAT}; wait for it to end or stop it$"), held(folder, WHAT):
        pass
    first.kill()
    first.process.wait()
    with held(folder, WHAT) as is_held:
        assert is_held()


def test_on_a_disk_a_process_that_ends_gives_it_back(hold, tmp_path):
    folder = Storage.at(tmp_path / "x")
    first = hold(folder).go()
    assert first.hears() == "holds"
    first.go()
    assert first.hears() == "gave back"
    with held(folder, WHAT):
        pass


def test_on_a_disk_one_of_many_holds(tmp_path):
    outcomes = race(Storage.at(tmp_path / "x"), tmp_path / "own", 4, 2.0)
    assert all(was_held and refused for was_held, refused in outcomes), outcomes


@pytest.mark.faults
def test_in_a_store_a_killed_process_of_this_machine_holds_nothing(hold, bucket):
    first = hold(bucket).go()
    assert first.hears() == "holds"
    began = time.monotonic()
    with pytest.raises(Refused, match=rf"{WHAT} \(process {first.process.pid} on \S+\); wait for"), held(bucket, WHAT):
        pass
    first.kill()
    first.process.wait()
    with held(bucket, WHAT) as is_held:
        assert is_held()
        assert len((bucket / CLAIMS).names()) == 1
    assert time.monotonic() - began < 5  # and not the lease of 30 s
    assert (bucket / CLAIMS).names() == []


@pytest.mark.faults
def test_a_killed_process_that_nobody_has_waited_for_holds_nothing(hold, bucket):
    first = hold(bucket).go()
    assert first.hears() == "holds"
    first.kill()
    os.waitid(os.P_PID, first.process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is a zombie
    with held(bucket, WHAT) as is_held:
        assert is_held()


@pytest.mark.faults
def test_a_process_elsewhere_that_beats_is_refused_and_taken_over_when_it_does_not(hold, bucket, short):
    first = hold(bucket, machine="elsewhere").go()
    assert first.hears() == "holds"
    began = time.monotonic()
    with pytest.raises(Refused, match=WHAT), held(bucket, WHAT):
        pass
    assert time.monotonic() - began < 10.0  # one beat, on a machine that may be busy
    first.process.send_signal(signal.SIGSTOP)  # a machine that sleeps
    began = time.monotonic()
    with held(bucket, WHAT) as is_held:
        assert 2.0 <= time.monotonic() - began < 15.0
        first.process.send_signal(signal.SIGCONT)
        assert first.hears() == "holds no more"
        time.sleep(0.5)
        assert is_held()


@pytest.mark.faults
def test_a_machine_that_slept_while_its_claim_was_looked_at_does_not_hold_again(hold, bucket, short):
    first = hold(bucket, machine="elsewhere", sleeps_s=6.0).go()
    assert [first.hears(), first.hears()] == ["holds", "sleeps"]
    with held(bucket, WHAT) as is_held:
        assert first.hears() == "holds no more"
        time.sleep(6.0)  # by now it is awake
        assert is_held()
        assert len((bucket / CLAIMS).names()) == 1


@pytest.mark.faults
@pytest.mark.parametrize("machines", [("", ""), ("there", "elsewhere")], ids=["one machine", "two machines"])
def test_of_two_that_come_at_once_never_both_hold(hold, bucket, machines):
    for _ in range(3):
        both = [hold(bucket, machine=machine) for machine in machines]
        for of in both:
            of.go()
        assert sum(of.hears() == "holds" for of in both) <= 1
        for of in both:
            of.kill()
            of.process.wait()
        for name in (bucket / CLAIMS).names():
            (bucket / CLAIMS).remove(name)


@pytest.mark.faults
@pytest.mark.parametrize("machines", [False, True], ids=["one machine", "many machines"])
def test_in_a_store_at_most_one_of_many_holds_at_any_time(bucket, tmp_path, machines):
    outcomes = race(bucket, tmp_path / "own", 3, 15.0, machines)
    print(f"held and refused: {outcomes}")
    assert sum(was_held for was_held, _ in outcomes) > 0


@pytest.mark.faults
def test_a_holder_whose_claim_is_gone_notices(bucket, short):
    with held(bucket, WHAT) as is_held:
        (name,) = (bucket / CLAIMS).names()
        for _ in range(5):  # a beat does not lose it
            time.sleep(0.2)
            assert is_held()
        assert json.loads((bucket / CLAIMS).read(name))["number"] > 1
        (bucket / CLAIMS).remove(name)
        latest = time.monotonic() + 5
        while is_held():
            assert time.monotonic() < latest
            time.sleep(0.02)
    assert (bucket / CLAIMS).names() == []


@pytest.mark.faults
def test_a_claim_that_cannot_be_read_is_waited_for_and_removed(bucket, short):
    (bucket / CLAIMS).write("strange.json", b"\xff{")
    began = time.monotonic()
    with held(bucket, WHAT):
        assert 2.0 <= time.monotonic() - began < 15.0
        assert "strange.json" not in (bucket / CLAIMS).names()
