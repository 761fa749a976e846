"""The MLflow store: where it is, how it is opened, and which code is writing to it."""

import fcntl
import getpass
import logging
import os
import platform
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data_prep.refused import Refused
from data_prep.versions import version_of
from tuner.telling import TRACKING_URI, first_line, holds_secret, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

DEFAULT_TRACKING_URI = "sqlite:///results/mlflow.db"
EXPERIMENT = "mirtune"
# By the first tag MLflow shows the pages for training, not those for language models.
ABOUT = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "The sweeps of mirtune: a run each, and in it a run for each trial; `best` is a tag of the "
    "trial whose checkpoint was registered.",
}
SWEEP_ID = "sweep.id"  # a tag: which sweep a run is of, whatever others are named
SQLITE = "sqlite:///"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
POSTGRES_LOCK = 7_306_947  # any number that every mirtune agrees on
CONNECT_TIMEOUT_S = 10
# MLflow by itself waits minutes for a server that is not there, and reports usage. It would also send again what makes
# a run and was not answered, which makes two: whoever calls looks first whether the run is there.
QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def default_uri() -> str:
    """The store in the environment, else a SQLite file in the working directory."""
    return os.environ.get(TRACKING_URI) or DEFAULT_TRACKING_URI


def is_public(uri: str) -> bool:
    """Whether the URI may stand in a file: there is no password or token in it."""
    return not holds_secret(uri)


def check_uri(uri: str) -> None:
    """Raise Refused where ``uri`` is not of a kind that keeps runs and a registry, or shows a secret.

    One that comes from the environment may hold a password: it stands in no process list and no shell history.
    """
    if holds_secret(uri) and uri != os.environ.get(TRACKING_URI):
        raise Refused(
            f"tracking URI {safe(uri)!r} came with a password or token in it; expected them in the environment: "
            f"PGPASSWORD or ~/.pgpass for PostgreSQL, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or "
            f"MLFLOW_TRACKING_TOKEN for a server, or the whole URI as {TRACKING_URI}"
        )
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in SCHEMES or (scheme == "sqlite" and not uri.startswith(SQLITE)):
        raise Refused(
            f"tracking URI {safe(uri)!r} is not one that mirtune can use; expected sqlite:///PATH, http(s)://HOST:PORT "
            f"or a database such as postgresql+psycopg2://..., for example {DEFAULT_TRACKING_URI}"
        )
    if scheme == "postgresql":
        _check_driver(uri)


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite URI; None for other stores."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def connect(uri: str) -> "MlflowClient":
    """A client of the store; processes that made the tables of a new one at once would crash, so one goes first.

    Raises what the store's driver raises where a database is not there; a server is not asked.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # whatever goes wrong is raised as well, and told without secrets
        logging.getLogger(name).setLevel(logging.CRITICAL)
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    with _locked(database) if database is not None else _locked_postgres(uri):
        return MlflowClient(uri, registry_uri=uri)


def exists(uri: str) -> bool:
    """Whether there is anything to read: a SQLite store without its file is empty, and reading must not make it."""
    database = sqlite_path(uri)
    return database is None or database.exists()


def experiment_id(client: "MlflowClient", uri: str) -> str:
    """The id of the experiment that holds all sweeps, made when it is not there.

    A server says where artifacts lie. Without one they lie beside a SQLite file, or in results/artifacts here.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return experiment.experiment_id
    beside = sqlite_path(uri) or Path(DEFAULT_TRACKING_URI.removeprefix(SQLITE))
    location = None if uri.startswith("http") else (beside.parent / "artifacts").resolve().as_uri()
    try:
        return client.create_experiment(EXPERIMENT, artifact_location=location, tags=ABOUT)
    except MlflowException:  # another sweep was faster
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise
        return experiment.experiment_id


def quoted(value: str) -> str:
    """``value`` as a string in a search filter, which it cannot end; Refused where MLflow has no way to write it."""
    if '"' not in value:
        return f'"{value}"'
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    raise Refused(f"{value[:100]!r} cannot be looked up in a tracking store; leave out the quotation marks")


def refuse_taken(uri: str, name: str, sweep_id: str) -> None:
    """Refuse a sweep's name that another sweep has in the store, or a store that does not let us in.

    Silent where the store does not answer: it may come later, and runs are told apart by the sweep's id.
    """
    from tuner.waiting import is_final

    if not exists(uri):
        return
    try:
        client = connect(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return
        found = client.search_runs([experiment.experiment_id], f"tags.sweep = {quoted(name)} and tags.trial = 'sweep'")
    except Refused:
        raise
    except Exception as error:
        if is_final(error) or "authentication failed" in str(error) or "no password supplied" in str(error):
            raise Refused(
                f"the tracking store {safe(uri)} cannot be used ({first_line(error)}); check --tracking-uri, and the "
                "user and password in the environment (see docs/tracking.md)"
            ) from error
        return
    if any(run.data.tags.get(SWEEP_ID, name) != sweep_id for run in found):
        raise Refused(
            f"there is another sweep named {name!r} in the tracking store {safe(uri)}; choose another --name, or go on "
            "with that one where its --storage is"
        )


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


@cache
def origin() -> dict[str, str]:
    """Tags by which MLflow's pages say who made a run, and with what."""
    tags = {"mlflow.source.name": "mirtune sweep", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a user without a name, as in some containers
        tags["mlflow.user"] = getpass.getuser()
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


@contextmanager
def _locked_postgres(uri: str) -> "Iterator[None]":
    """Hold a lock in a PostgreSQL database; one that is not there is an error at once, not after MLflow's retries."""
    if not urlsplit(uri).scheme.startswith("postgresql"):
        yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(uri, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({POSTGRES_LOCK})"))
        yield  # the lock ends with the connection


def _check_driver(uri: str) -> None:
    """Refused where the package that SQLAlchemy needs for the URI is not there; which one depends on its version."""
    from sqlalchemy.engine import make_url

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        raise Refused(
            f"tracking URI {safe(uri)!r} needs a package that is not installed ({first_line(error)}); run `pip install "
            "psycopg2-binary` and begin the URI with postgresql+psycopg2://"
        ) from error
