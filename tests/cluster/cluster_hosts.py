"""Hosts on this machine: each has a network, processes, a name and a home folder of its own, and an ssh server.

They share the disk and the processors. The first one is where commands are typed; the others are reached from it by
ssh. Nothing of it is seen outside, and all of it ends with this process, however that ends.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = "10.77.0.1"
PROGRAMS = {
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "rsync": "rsync",
    "sshd": "openssh-server",
}
# The first process of a host adopts those that lose their parent, and must see them end: bash and sshd do.
BEGIN = """
set -e
hostname {name}; ip link set lo up
mount --bind {home}/passwd /etc/passwd
mkdir -p /tmp/ray /run/sshd; mount --bind {home}/ray /tmp/ray
"""
SSHD = """
Port 22
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
PidFile none
"""


def lacking() -> list[str]:
    """Debian packages without whose programs there are no hosts."""
    search = f"{os.environ['PATH']}:/usr/sbin"
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=search)})


class Host:
    """One of them: where it is reached, its home folder, and its first process."""

    def __init__(self, name: str, address: str, folder: Path, then: str):
        self.name, self.address, self.home = name, address, folder / name
        (self.home / "ray").mkdir(parents=True)
        (self.home / "passwd").write_text(
            f"root:x:0:0:root:{self.home}:/bin/bash\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        begin = BEGIN.format(name=name, home=self.home) + then
        namespaces = ["--net", "--mount", "--pid", "--uts", "--mount-proc", "--fork", "--kill-child"]
        self.log = (self.home / "host.log").open("wb")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "bash", "-c", begin],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (listed := children.read_text().split()):
            assert self.process.poll() is None, f"{name}: {(self.home / 'host.log').read_text()}"
            time.sleep(0.02)
        self.first = int(listed[0])
        while Path(f"/proc/{self.first}/comm").read_text().strip() == "unshare":
            time.sleep(0.02)

    def command(self, words: Sequence[str], environment: dict[str, str] | None = None) -> list[str]:
        """The words of a command that runs ``words`` there, from a clean environment."""
        given = {"HOME": str(self.home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"}
        variables = [f"{name}={value}" for name, value in {**given, **(environment or {})}.items()]
        return ["nsenter", "-t", str(self.first), "-n", "-m", "-p", "-u", "env", "-i", *variables, *words]

    def processes(self) -> list[str]:
        """The command lines of its processes."""
        listed = subprocess.run(self.command(["ps", "-eo", "args="]), capture_output=True, text=True, check=True)
        return listed.stdout.splitlines()

    def stop(self) -> None:
        """End all of its processes, and with them its network."""
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextmanager
def hosts(folder: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """A host to type at, and one of each name; folder/keys/user is the key that opens them."""
    keys = folder / "keys"
    keys.mkdir(parents=True)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / key], check=True)
    (keys / "sshd_config").write_text(SSHD.format(keys=keys))
    made: list[Host] = []
    try:
        made.append(Host("desk", HERE, folder, "while sleep 3600; do :; done"))
        _run(made[0], f"ip link add lan type bridge && ip addr add {HERE}/24 dev lan && ip link set lan up")
        for number, name in enumerate(names, start=2):
            host = Host(name, f"10.77.0.{number}", folder, f"exec /usr/sbin/sshd -D -e -f {keys}/sshd_config")
            made.append(host)
            ends = (f"{name} netns {made[0].first}", f"eth0 netns {host.first}")
            subprocess.run(f"ip link add {ends[0]} type veth peer name {ends[1]}".split(), check=True)
            _run(made[0], f"ip link set {name} master lan && ip link set {name} up")
            # a host without a way to the internet takes 127.0.0.1 for its address
            way = f"ip addr add {host.address}/24 dev eth0 && ip link set eth0 up && ip route add default via {HERE}"
            _run(host, way)
        yield made
    finally:
        for host in made:
            host.stop()


def _run(host: Host, command: str) -> None:
    subprocess.run(host.command(["bash", "-c", command]), check=True)
