"""What the leaderboard needs of a SQLite store, read from MLflow's tables: its client takes longer to load than to ask.

Only tables that are known are read, and never written to; whoever gets None asks the client, which knows them all.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuner import store
from tuner.leaderboard_entries import Run, Texts, Version, kept_metric, kept_run_tag, kept_text, milliseconds
from tuner.model_versions import BEST

# Of MLflow's schema; after the first of these none has changed what is read here. tests/tuner/test_leaderboard_store.py
# compares with the client, and fails where an MLflow is installed whose schema is another.
KNOWN = {
    "1b5f0d9ad7c1", "e1f2a3b4c5d6", "76601a5f987d", "c3d6457b6d8a", "a5b4c3d2e1f0", "ae8bbe7743c9",
    "7d34483879f0", "da6fb0208061", "89d3d66ed43f", "b7e4c1a90f23", "a8b9c0d1e2f3", "c1d2e3f4a5b6",
    "c3d9e7f1a2b4", "6f8d9c3b2a1e", "1971f2d9a75b", "17e22815139b", "b7e2c1a4d9f3", "75868b020152",
    "dc11669786a5",
}  # fmt: skip
WORKSPACES = ("MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES")  # in the environment: of a store that teams share
WAIT_S = 10.0  # for a sweep that writes

VERSIONS = """
    SELECT v.name, v.version, v.run_id, v.creation_time, a.alias IS NOT NULL FROM model_versions v
    LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version AND a.alias = :best
    WHERE v.current_stage != 'Deleted_Internal' AND (:every OR a.alias IS NOT NULL) ORDER BY v.name, v.version
"""
VERSION_TAGS = """
    SELECT t.name, t.version, t.key, t.value FROM model_version_tags t
    LEFT JOIN registered_model_aliases a ON a.name = t.name AND a.version = t.version AND a.alias = :best
    WHERE :every OR a.alias IS NOT NULL
"""
RUNS = """
    SELECT run_uuid, status, start_time, end_time FROM runs
    WHERE experiment_id = :experiment AND lifecycle_stage = 'active' ORDER BY start_time, run_uuid
"""
OF_RUNS = {
    "tags": "SELECT run_uuid, key, value FROM tags",
    "params": "SELECT run_uuid, key, value FROM params",
    "metrics": "SELECT run_uuid, key, value FROM latest_metrics WHERE NOT is_nan",
}


def versions(path: Path, *, every: bool) -> list[Version] | None:
    """The best version of each model, or every one, by name and version; None where the tables are not as known."""
    asked: dict[str, Any] = {"best": BEST, "every": every}
    try:
        with _opened(path) as database:
            if database is None:
                return None
            found = database.execute(VERSIONS, asked).fetchall()
            tags: dict[tuple[Any, Any], Texts] = {(name, number): {} for name, number, *_ in found}
            for name, number, key, value in database.execute(VERSION_TAGS, asked):
                if kept_text(key, value) and (name, number) in tags:
                    tags[name, number][key] = value
    except sqlite3.Error:
        return None
    return [
        Version(
            name, number, run if isinstance(run, str) else "", milliseconds(created), bool(best), tags[name, number]
        )
        for name, number, run, created, best in found
        if isinstance(name, str) and isinstance(number, int)
    ]


def runs(path: Path) -> list[Run] | None:
    """Every run of the experiment of sweeps, the first to start first; None where the tables are not as known."""
    try:
        with _opened(path) as database:
            if database is None:
                return None
            named = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (store.EXPERIMENT,))
            experiment = (named.fetchone() or (None,))[0]
            found = {
                run: Run(run, str(status or ""), milliseconds(start), milliseconds(end))
                for run, status, start, end in database.execute(RUNS, {"experiment": experiment})
                if isinstance(run, str)
            }
            for run, key, value in database.execute(OF_RUNS["tags"]):
                if run in found and kept_run_tag(key, value):
                    found[run].tags[key] = value
            for run, key, value in database.execute(OF_RUNS["params"]):
                if run in found and kept_text(key, value):
                    found[run].parameters[key] = value
            for run, key, value in database.execute(OF_RUNS["metrics"]):
                if run in found and kept_metric(key, value):
                    found[run].metrics[key] = float(value)
    except sqlite3.Error:
        return None
    return list(found.values())


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The database to read, as it is at one moment; None where its schema or its use is not the known one."""
    if any(os.environ.get(name) for name in WORKSPACES):
        yield None
        return
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)) as database:
        database.execute("PRAGMA trusted_schema = OFF")  # whoever made the file may have put more into it than tables
        database.execute("BEGIN")
        schema = database.execute("SELECT version_num FROM alembic_version").fetchall()
        shared = "SELECT EXISTS (SELECT 1 FROM registered_models WHERE workspace != 'default')"
        shared += " OR EXISTS (SELECT 1 FROM experiments WHERE workspace != 'default')"
        known = len(schema) == 1 and schema[0][0] in KNOWN
        yield database if known and not database.execute(shared).fetchone()[0] else None
