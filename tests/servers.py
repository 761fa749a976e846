"""Servers that tests start: an object store that speaks S3 on this machine.

A server whose program is not installed is a failure in CI, and elsewhere a skip that names the package.
"""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SECRET = "never-shown-7c1f"
REQUEST = re.compile(rb"((?:GET|HEAD|PUT|POST|DELETE) /\S*) HTTP/1\.1\r\n")


def missing(package: str) -> None:
    """Skip for want of a package; in CI fail."""
    text = f"{package} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(f"{text}: install it to run this test")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def wait_until_open(port: int, process: subprocess.Popen, limit_s: float = 60.0) -> None:
    """Return when something accepts connections on a port of this machine; RuntimeError where the process ended."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {limit_s:g} s")


@dataclass(frozen=True)
class S3:
    """A bucket of its own in the server, and how to reach it."""

    endpoint: str
    bucket: str

    @property
    def uri(self) -> str:
        """The bucket as a folder."""
        return f"s3://{self.bucket}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that programs need."""
        return {
            "AWS_ACCESS_KEY_ID": "mirtune",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self):
        """Another view of the store than the one that is tested."""
        import boto3

        of = self.environment
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=of["AWS_DEFAULT_REGION"],
            aws_access_key_id=of["AWS_ACCESS_KEY_ID"], aws_secret_access_key=SECRET,
        )  # fmt: skip

    def keys(self) -> list[str]:
        """All keys in the bucket, without markers of empty folders."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [of["Key"] for page in pages for of in page.get("Contents", []) if not of["Key"].endswith("/")]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[str]:
    """moto's server as a process; its endpoint."""
    for module in ("moto", "boto3"):
        if importlib.util.find_spec(module) is None:
            missing("moto[server]")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_until_open(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(s3_server, monkeypatch) -> S3:
    """An empty bucket, and the environment of this process set to it."""
    bucket = S3(s3_server, f"mirtune-{uuid.uuid4().hex[:12]}")
    bucket.client().create_bucket(Bucket=bucket.bucket)
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


@contextmanager
def between(endpoint: str, fails: Callable[[str], bool]) -> Iterator[str]:
    """Passes every byte on to a server and back, but breaks off where a request ("PUT /path") ``fails``; its endpoint.

    What the server does not see then is the request itself; what was sent before on the connection has arrived.
    """
    host, port = endpoint.removeprefix("http://").split(":")
    listening = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, target: socket.socket, watched: bool) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 20):
                if watched and any(fails(line.decode()) for line in REQUEST.findall(block)):
                    break
                target.sendall(block)
        for of in (source, target):
            with suppress(OSError):
                of.shutdown(socket.SHUT_RDWR)
            of.close()

    def serve() -> None:
        with suppress(OSError):  # closed at the end
            while True:
                client, _ = listening.accept()
                server = socket.create_connection((host, int(port)))
                for ways in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pass_on, args=ways, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield "http://{}:{}".format(*listening.getsockname())
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory of so many bytes (as "2M"), where one may be mounted; else a skip."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode and os.environ.get("CI") == "true":
        pytest.fail(f"no file system can be mounted here ({mounted.stderr.strip()})")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here ({mounted.stderr.strip()}): run as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
