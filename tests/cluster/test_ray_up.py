"""`ray up cluster-local.yaml`, for real: a head and two workers reached by ssh, a sweep on them, and nothing left."""

import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from cluster_hosts import Host, hosts, lacking

ROOT = Path(__file__).parents[2]
TINY = "--architecture vit --max-epochs 2 --batch-size 4 --seed 0 --narrow patch_bands=21 heads=2 layers=1 width=24"
ANSWER_S = 240
# /tmp/ray is another folder on each host.
ASKS = """
import pathlib, socket, ray
from data_prep.refused import Refused
from tuner.cluster import ray_running, refuse_unshared
with ray_running():
    print("work is done on", ray.get(ray.remote(lambda: socket.gethostname()).remote()))
    pathlib.Path("/tmp/ray/alone").mkdir()
    pathlib.Path("/tmp/ray/alone/here").touch()
    try:
        refuse_unshared("/tmp/ray/alone", "here", "s3://bucket/shards", {})
    except Refused as refused:
        print(refused)
"""

pytestmark = pytest.mark.faults


def must(there: bool, otherwise: str) -> None:
    """Skip what this machine cannot do; in CI it has to."""
    if not there:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(otherwise)


class Desk:
    """Where the cluster is launched from: a folder with the file that `ray up` takes, and a shell."""

    def __init__(self, host: Host, folder: Path, dist: Path):
        self.host, self.folder = host, folder
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(dist / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TMPDIR": str(host.home / "tmp"),
        }
        (host.home / "tmp").mkdir()

    def command(self, line: str) -> list[str]:
        """The words that run a line of shell there."""
        return self.host.command(["bash", "-c", f"cd {self.folder} && {line}"], self.environment)

    def run(self, line: str, check: bool = True) -> str:
        """What a line of shell prints there."""
        done = subprocess.run(
            self.command(line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * ANSWER_S,
        )
        assert not check or done.returncode == 0, f"{line}\n{done.stdout[-8000:]}"
        return done.stdout


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    latest = time.monotonic() + ANSWER_S
    while not true():
        assert time.monotonic() < latest, f"{what}: not within {ANSWER_S} s"
        time.sleep(1)


def environment_at(host: Host) -> None:
    """Make ~/mirtune-env, with this environment's packages but not its mirtune: a node would download them."""
    made = host.home / "mirtune-env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    packages = f"lib/python3.{sys.version_info.minor}/site-packages"
    (made / packages / "of_the_test.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = made / "bin" / "ray"
    script.write_text(f"#!{made}/bin/python\nfrom ray.scripts.scripts import main\nmain()\n")
    script.chmod(0o755)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[tuple[Desk, list[Host]]]:
    """The cluster that cluster-local.yaml describes, its addresses, user and key apart; up, and taken down."""
    must(not lacking(), f"apt-get install {' '.join(lacking())}")
    must(os.geteuid() == 0, "hosts of one's own need root")
    must(find_spec("aiohttp_cors") is not None, "jobs need pip install 'ray[default]'")
    folder = tmp_path_factory.mktemp("up")
    dist = folder / "dist"
    subprocess.run(["make", "--silent", "-C", ROOT, "launch", f"DIST={dist}"], check=True)
    with hosts(folder, ("head", "one", "two")) as (desk_host, *nodes):
        for host in nodes:
            environment_at(host)
        config = yaml.safe_load((ROOT / "cluster-local.yaml").read_text())
        config["cluster_name"] = folder.parent.name
        config["provider"] |= {"head_ip": nodes[0].address, "worker_ips": [host.address for host in nodes[1:]]}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "keys" / "user")}
        assert config["file_mounts"] == {"~/mirtune-launch": "dist"}
        (folder / "cluster-local.yaml").write_text(yaml.safe_dump(config))
        desk = Desk(desk_host, folder, dist)
        try:
            desk.run("ray up --yes cluster-local.yaml")
            yield desk, nodes
        finally:
            for sockets in Path("/tmp").glob(f"ray_ssh_*/{sha256(config['cluster_name'].encode()).hexdigest()[:10]}"):
                subprocess.run(["rm", "-r", sockets], check=True)


def processors(desk: Desk) -> str:
    """What `ray status` at the head says of them."""
    found = re.search(r"\S+ CPU$", desk.run("ray exec cluster-local.yaml 'ray status'", check=False), re.MULTILINE)
    return found[0] if found else ""


def test_a_sweep_on_machines_that_ray_up_started(cluster, shards, tmp_path):
    desk, (head, *workers) = cluster
    offered = len(workers) * (os.cpu_count() or 1)
    until(lambda: processors(desk) == f"0.0/{offered}.0 CPU", "all workers, and none but workers, offer processors")
    tunnel = subprocess.Popen(
        desk.command("exec ray dashboard cluster-local.yaml"), stdin=subprocess.DEVNULL, start_new_session=True
    )
    sweep = f"mirtune sweep --corpus mdb --shards {shards} {TINY} --trials 3 --name of-a-cluster"
    sweep += f" --storage {tmp_path}/sweeps --tracking-uri sqlite:///{tmp_path}/mlflow.db"
    submit = "ray job submit --address http://127.0.0.1:8265"
    try:
        until(lambda: ":8265" in desk.run("ss -ltn"), "the tunnel listens")
        said = desk.run(f"{submit} -- {sweep}")
        assert "sweep of-a-cluster: 3 trials in" in said, said
        assert "failed" not in said
        assert "Unauthorized" in desk.run(f"RAY_AUTH_MODE=disabled {submit} -- true", check=False)
        (tmp_path / "asks.py").write_text(ASKS)
        asked = desk.run(f"{submit} -- python {tmp_path}/asks.py")
        assert re.search("^work is done on (one|two)$", asked, re.MULTILINE)
        assert re.search(
            r"^node (one|two) \(10\.77\.0\.[34]\) of the cluster does not see here in /tmp/ray/alone; ", asked, re.M
        )
    finally:
        os.killpg(tunnel.pid, signal.SIGTERM)  # with its ssh
        tunnel.wait()
    from_the_head = desk.run(f"ray exec cluster-local.yaml '{sweep}'", check=False)
    assert "there is a sweep named 'of-a-cluster'" in from_the_head  # it was the head's driver that wrote there
    version = "~/mirtune-env/bin/python -c 'import tuner; print(tuner.__file__)'"
    assert str(head.home) in desk.run(f"ray exec cluster-local.yaml {shlex.quote(version)}")  # the wheel, not this tree


def test_it_goes_away(cluster):
    """After the test above: `ray down` ends the head, and the workers notice."""
    desk, nodes = cluster
    desk.run("ray down --yes cluster-local.yaml")
    of_ray = re.compile(r"raylet|gcs_server|ray::|ray start|mirtune-env")
    until(lambda: not any(of_ray.search(line) for host in nodes for line in host.processes()), "no process is left")
