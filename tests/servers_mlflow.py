"""Servers that tests start: PostgreSQL as Debian has it, and MLflow's server over it, as docs/tracking.md sets them up.

A server whose program is not installed is a failure in CI, and elsewhere a skip that names the package.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from servers import S3, free_port, missing, s3, s3_server, wait_until_open

from tuner import store

__all__ = ["empty_store", "mlflow_server", "postgres", "postgres_uri", "s3", "s3_server", "sqlite_uri"]

USER, PASSWORD = "mirtune", "of-the-database-51d7"
DOCS = Path(__file__).parents[1] / "docs" / "tracking.md"


def command_in_docs(beginning: str) -> list[str]:
    """The words of the one command in docs/tracking.md that begins so."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (line,) = (line for block in blocks for line in block.splitlines() if line.startswith(beginning))
    return line.split()


def _program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps out of the PATH."""
    found = shutil.which(name) or next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        missing("postgresql (a package of Debian)")
    return str(found)


@dataclass
class Postgres:
    """A PostgreSQL server on a port of this machine, with a folder of its own; it may be stopped and started."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    # PostgreSQL refuses to run as root; this user comes with Debian's package.
    user: str | None = "postgres" if os.geteuid() == 0 else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that programs need to get in."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": PASSWORD}

    def make(self) -> None:
        """Make the folder's files; passwords are asked for."""
        if self.user:
            shutil.chown(self.folder, self.user)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command = [_program("initdb"), "-D", "data", "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*command, "--encoding=UTF8", "--locale=C"], check=True, capture_output=True, **self._as())

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = [_program("postgres"), "-D", "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", self.folder]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._as())
        wait_until_open(self.port, self.process)
        for _ in range(100):  # it listens before it has looked through its files
            asked = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(asked, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Break off every connection and end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
            self.process = None

    def _as(self) -> dict[str, object]:
        of = {"cwd": self.folder, "start_new_session": True}
        return {**of, "user": self.user, "group": self.user, "extra_groups": []} if self.user else of


@dataclass
class MlflowServer:
    """MLflow's server on a port of this machine; it may be killed, which takes all its processes, and started."""

    command: list[str]
    environment: dict[str, str]
    port: int
    log: Path
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        """For MLFLOW_TRACKING_URI."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, start_new_session=True, cwd=self.log.parent
            )
        end = time.monotonic() + 180
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"MLflow's server does not answer: {self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """SIGKILL, to all its processes."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A SQLite store with tables and nothing in them; making one takes seconds, copying none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_uri(empty_store, tmp_path) -> str:
    """A new store in the test's folder, mlflow.db."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the session, where tests have databases of their own."""
    _program("initdb")
    # Not pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="mirtune-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres_uri(postgres, monkeypatch) -> str:
    """The URI of a new database, without the password; user and password stand in this process's environment."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in postgres.environment.items():
        monkeypatch.setenv(name, value)
    name = f"mirtune_{uuid.uuid4().hex[:8]}"
    createdb = command_in_docs("createdb")
    subprocess.run([_program(createdb[0]), *(name if word == "mirtune" else word for word in createdb[1:])], check=True)
    return f"postgresql+psycopg2://127.0.0.1:{postgres.port}/{name}"


@pytest.fixture
def mlflow_server(postgres_uri, s3: S3, tmp_path) -> Iterator[MlflowServer]:
    """A server over a new database and a new bucket, started by the command in docs/tracking.md."""
    port = free_port()
    given = {
        "postgresql+psycopg2://127.0.0.1:5432/mirtune": postgres_uri,
        "s3://mirtune-artifacts": s3.uri,
        "5000": str(port),
    }
    words = command_in_docs("mlflow server")
    assert set(given) <= set(words)
    # One process instead of four: the machine of a test is small.
    environment = {**os.environ, **s3.environment, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_WORKERS": "1"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", *words[:1], *(given.get(word, word) for word in words[1:])]
    server = MlflowServer(command, environment, port, tmp_path / "mlflow-server.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()
