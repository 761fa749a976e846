"""Versions of registered models as a store has them: which are mirtune's, and which is the best.

What a store holds was written by others: a version that lacks what mirtune writes is left out.
"""

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from data_prep.finite import is_finite
from data_prep.refused import Refused
from tuner import store
from tuner.telling import first_line, safe
from tuner.waiting import is_final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BEST = "best"  # the alias
# Tags that every version has; the numbers among them.
NEEDED = ("corpora", "architecture", "task", "metric", "mode", "sweep", "command")
NUMBERS = {"validation": float, "parameters": int, "trials": int}


def model_name(corpora: Iterable[str], architecture: str) -> str:
    """The registered name: corpora sorted and joined by "+", a dot, the architecture."""
    return f"{'+'.join(sorted(corpora))}.{architecture}"


def slashed(version: "ModelVersion") -> str:
    """CORPUS/ARCHITECTURE, as people type it."""
    return f"{version.tags['corpora']}/{version.tags['architecture']}"


def versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """Every version of a model that mirtune can read; none where there is no such model."""
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = {store.quoted(name)}", max_results=1000, page_token=token)
        found += [version for version in page if is_readable(version)]
        token = page.token
        if not token:
            return found


def is_readable(version: "ModelVersion") -> bool:
    """Whether it has all that mirtune writes, in its kind."""
    tags = version.tags
    try:
        numbers = [kind(tags[name]) for name, kind in NUMBERS.items()] + [float(tags.get("test", "0"))]
        named = model_name(tags["corpora"].split("+"), tags["architecture"]) == version.name
    except (KeyError, ValueError):
        return False
    return named and all(map(is_finite, numbers)) and set(NEEDED) <= tags.keys() and tags["mode"] in ("max", "min")


def best_first(of: "Iterable[ModelVersion]") -> "list[ModelVersion]":
    """The versions by their validation score, the first of equal ones first."""

    def key(version: "ModelVersion") -> tuple[float, int]:
        sign = -1 if version.tags["mode"] == "max" else 1
        return sign * float(version.tags["validation"]), int(version.version)

    return sorted(of, key=key)


def best_version(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that holds the alias, or None where the model or the alias is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, BEST)
    except MlflowException as error:
        # The SQLite store answers a missing alias with INVALID_PARAMETER_VALUE.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


@contextmanager
def answering(tracking_uri: str) -> "Iterator[MlflowClient]":
    """A client; Refused in one sentence where the store does not answer, or with an error."""
    try:
        yield store.connect(tracking_uri)
    except Refused:
        raise
    except Exception as error:
        how = "answers with an error" if is_final(error) else "does not answer"
        raise Refused(
            f"the tracking store {safe(tracking_uri)} {how} ({first_line(error)}); check --tracking-uri, and the user "
            "and password in the environment"
        ) from error
