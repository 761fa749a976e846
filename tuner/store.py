"""The MLflow store: where it is, how it is opened, and which code is writing to it."""

import fcntl
import logging
import os
import platform
import subprocess
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data_prep.refused import Refused
from data_prep.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

DEFAULT_TRACKING_URI = "sqlite:///results/mlflow.db"
EXPERIMENT = "mirtune"
SQLITE = "sqlite:///"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
# MLflow by itself waits minutes for a server that is not there, and reports usage.
QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def check_uri(uri: str) -> None:
    """Raise Refused where ``uri`` is not of a kind that keeps runs and a registry."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in SCHEMES or (scheme == "sqlite" and not uri.startswith(SQLITE)):
        raise Refused(
            f"tracking URI {uri!r} is not one that mirtune can use; expected sqlite:///PATH, http(s)://HOST:PORT or a "
            f"database such as postgresql://..., for example {DEFAULT_TRACKING_URI}"
        )


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite URI; None for other stores."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def connect(uri: str) -> "MlflowClient":
    """A client of the store; two processes that made the schema of a new SQLite store at once would both crash."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    database = sqlite_path(uri)
    if database is None:
        return MlflowClient(uri, registry_uri=uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with _locked(database):
        return MlflowClient(uri, registry_uri=uri)


def exists(uri: str) -> bool:
    """Whether there is anything to read: a SQLite store without its file is empty, and reading must not make it."""
    database = sqlite_path(uri)
    return database is None or database.exists()


def experiment_id(client: "MlflowClient", uri: str) -> str:
    """The id of the experiment that holds all sweeps, made when it is not there; artifacts lie beside a SQLite file."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return experiment.experiment_id
    database = sqlite_path(uri)
    location = (database.parent / "artifacts").resolve().as_uri() if database is not None else None
    try:
        return client.create_experiment(EXPERIMENT, artifact_location=location)
    except MlflowException:  # another sweep was faster
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise
        return experiment.experiment_id


@cache
def code_version() -> dict[str, str]:
    """Tags that say which code ran: versions of mirtune, Python, torch and Ray, and the commit of a checkout."""
    tags = {f"version.{package}": version_of(package) for package in ("mirtune", "torch", "ray", "optuna")}
    tags["version.python"] = platform.python_version()
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "store.py") else ""
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["source.changed"] = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


def _git(*arguments: str) -> str:
    """Output of git in this package's folder; empty where there is no git or no repository."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@contextmanager
def _locked(database: Path) -> "Iterator[None]":
    """Hold the lock beside the database; a folder that one may only read holds a store that is made already."""
    with ExitStack() as stack:
        if os.access(database.parent, os.W_OK):
            file = stack.enter_context(database.with_suffix(".lock").open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
