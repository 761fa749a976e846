"""Ray on this machine is for this machine alone and ends with who started it; what a cluster's nodes are asked."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

STARTS = """
import time
from data_prep.workers import run_on_workers
print(sorted(run_on_workers(abs, [-1, -2], 2)), flush=True)
time.sleep(600)
"""


def descendants(process: int) -> set[int]:
    """The numbers of all processes below one."""
    listed = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    children = {int(number) for numbers in listed for number in numbers}
    return children.union(*(descendants(child) for child in children))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux tells who listens, and who is whose child")
def test_ray_is_reached_from_this_machine_only_and_ends_with_a_killed_driver():
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    with subprocess.Popen([sys.executable, "-c", STARTS], env=environment, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout.readline().strip() == "[(-2, 2), (-1, 1)]"
            started = {driver.pid} | descendants(driver.pid)
            said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
            listening = [
                line.split()[3] for line in said.splitlines() if started & set(map(int, re.findall(r"pid=(\d+)", line)))
            ]
        finally:
            driver.send_signal(signal.SIGKILL)
    assert len(listening) >= 4  # the global store, the node's two, the driver's
    assert all(re.fullmatch(r"(127\.0\.0\.1|\[::ffff:127\.0\.0\.1\]|\[::1\]):\d+", address) for address in listening)
    latest = time.monotonic() + 20
    while left := [process for process in started if alive(process)]:
        assert time.monotonic() < latest, f"processes {left} outlive the driver"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster():
    """A head without processors, on which the driver is, and a node with one; they share a disk."""
    ray.shutdown()  # a Ray of this process would give the cluster its own address, which is loopback only
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def at_the_head(cluster):
    """Run Python there and give what it prints."""

    def run(program: str) -> str:
        environment = {**os.environ, "RAY_ADDRESS": cluster.address}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


HERE = """
import ray
from data_prep.workers import run_on_workers
work = lambda item: ray.get_runtime_context().get_node_id()
nodes = {here: {node for _, node in run_on_workers(work, [1, 2, 3], None, here=here)} for here in (True, False)}
me = ray.get_runtime_context().get_node_id()
print(nodes[True] == {me}, me in nodes[False])
"""
ASKS = """
from data_prep.refused import Refused
from tuner.cluster import ray_running, refuse_unshared
with ray_running():
    try:
        refuse_unshared({folder!r}, "sweep.json", {shards!r}, {{"mdb": {checksum!r}}})
        print("seen")
    except Refused as refused:
        print(refused)
"""


def test_work_that_stays_on_this_machine(at_the_head):
    assert at_the_head(HERE) == "True False"


def test_every_node_is_asked_what_it_sees(at_the_head, shards, tmp_path):
    from data_prep.manifest import Manifest

    given = {"folder": str(tmp_path), "shards": str(shards), "checksum": Manifest.load(shards / "mdb").checksum}
    node = r"node \S+ \([\d.]+\) of the cluster"
    assert re.fullmatch(
        rf"{node} does not see sweep.json in {tmp_path}; give --storage a folder that all nodes share under the same "
        "path, or an s3://BUCKET/FOLDER",
        at_the_head(ASKS.format(**given)),
    )
    (tmp_path / "sweep.json").write_text("{}")
    assert at_the_head(ASKS.format(**given)) == "seen"
    other = at_the_head(ASKS.format(**{**given, "checksum": "0"}))
    assert re.match(rf"{node} has another preparation of corpus mdb in {shards}; give --shards a folder", other)
    none = at_the_head(ASKS.format(**{**given, "shards": str(tmp_path)}))
    assert re.match(rf"{node} does not see corpus mdb in {tmp_path}; give --shards a folder", none)
    assert at_the_head(ASKS.format(**{**given, "shards": "s3://bucket/shards"})) == "seen"


def test_a_machine_that_is_the_whole_cluster_is_not_asked(tmp_path):
    program = ASKS.format(folder=str(tmp_path), shards=str(tmp_path), checksum="0")
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "seen"
