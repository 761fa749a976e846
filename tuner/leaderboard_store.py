"""The store as the leaderboard reads it: SQLite's tables by themselves, every other store through MLflow's client."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tuner import leaderboard_sqlite, store
from tuner.leaderboard_entries import Run, Version, kept_metric, kept_run_tag, kept_text, milliseconds
from tuner.model_versions import BEST, answering, is_readable
from tuner.telling import safe

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
_ID = re.compile(r"[0-9a-f]{32}")  # of a run


def versions(uri: str, *, every: bool = False) -> list[Version]:
    """The best version of each model that mirtune registered, or every version, by name and version.

    None of them where the store is new. Raises Refused where the URI is of an unknown kind or the store does not
    answer.
    """
    found = _read(
        uri, lambda path: leaderboard_sqlite.versions(path, every=every), lambda client: of_client(client, every=every)
    )
    return [version for version in found if is_readable(_as_mlflow(version))]


def runs(uri: str) -> list[Run]:
    """Every run of the experiment of sweeps, the first to start first; Refused as in ``versions``."""
    return _read(uri, leaderboard_sqlite.runs, runs_of_client)


def links(uri: str) -> Callable[[str], str]:
    """What makes a run's id the address of its page; of an empty text where the store is no server with pages."""
    if not uri.startswith(("http://", "https://")):
        return lambda run: ""
    with answering(uri) as client:
        experiment = client.get_experiment_by_name(store.EXPERIMENT)
    if experiment is None:
        return lambda run: ""
    of = f"{safe(uri).rstrip('/')}/#/experiments/{quote(str(experiment.experiment_id))}/runs/"
    return lambda run: f"{of}{run}" if _ID.fullmatch(run) else ""


def _as_mlflow(version: Version) -> Any:
    return version  # it has the name and tags that are looked at


def _read(
    uri: str, of_tables: Callable[[Any], list[Any] | None], of_client: "Callable[[MlflowClient], list[Any]]"
) -> list[Any]:
    store.check_uri(uri)
    if not store.exists(uri):
        return []
    path = store.sqlite_path(uri)
    found = None if path is None else of_tables(path)
    if found is None:
        with answering(uri) as client:
            found = of_client(client)
    return found


def of_client(client: "MlflowClient", *, every: bool) -> list[Version]:
    """The versions by MLflow's client, in pages."""
    holders = {
        (model.name, int(model.aliases[BEST]))
        for model in _pages(client.search_registered_models)
        if BEST in model.aliases
    }
    found = [
        Version(
            of.name, int(of.version), of.run_id or "", milliseconds(of.creation_timestamp),
            (of.name, int(of.version)) in holders, {key: text for key, text in of.tags.items() if kept_text(key, text)},
        )
        for of in _pages(client.search_model_versions)
    ]  # fmt: skip
    return sorted((of for of in found if every or of.best), key=lambda of: (of.name, of.version))


def runs_of_client(client: "MlflowClient") -> list[Run]:
    """The runs by MLflow's client, in pages."""
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    if experiment is None:
        return []
    found = [
        Run(
            of.info.run_id, of.info.status or "", milliseconds(of.info.start_time), milliseconds(of.info.end_time),
            {key: text for key, text in of.data.tags.items() if kept_run_tag(key, text)},
            {key: text for key, text in of.data.params.items() if kept_text(key, text)},
            {key: float(value) for key, value in of.data.metrics.items() if kept_metric(key, value)},
        )
        for of in _pages(client.search_runs, [experiment.experiment_id])
    ]  # fmt: skip
    return sorted(found, key=lambda of: (of.started_ms, of.id))


def _pages(search: Callable[..., Any], *arguments: Any) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
