"""What the leaderboard takes from a store: registered versions and trials' runs, in whatever way they were read."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data_prep.finite import is_finite

Texts = dict[str, str]
Metrics = dict[str, float]

RUN_TAGS = frozenset(
    ("corpora", "architecture", "task", "sweep", "sweep.id", "trial", "best", "version.mirtune", "mlflow.runName")
)
PROTOCOL = "test.protocol."  # and the corpus: how a run's test score is counted
BEST_OF = "best_validation_"  # and the metric: its best value in a trial
RUN_METRICS = frozenset(("windows_per_s", "best_epoch"))
TEST = "test_"  # and the metric
EXACT = 2**53  # below it a float holds every whole number
BULKY = frozenset(("tests", "checksums"))  # tags of versions that no column shows


@dataclass(frozen=True)
class Version:
    """A version of a registered model, as MLflow's of that name; ``best``: it holds that alias."""

    name: str
    version: int
    run_id: str
    created_ms: int
    best: bool
    tags: Texts = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run of the experiment of sweeps: a trial's, or a sweep's own. The end is 0 while there is none."""

    id: str
    status: str
    started_ms: int
    ended_ms: int
    tags: Texts = field(default_factory=dict)
    parameters: Texts = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)


def kept_run_tag(key: Any, value: Any) -> bool:
    """Whether a run's tag is kept; a database may hold what is no text."""
    texts = isinstance(key, str) and isinstance(value, str)
    return texts and (key in RUN_TAGS or key.startswith(PROTOCOL))


def kept_metric(key: Any, value: Any) -> bool:
    """Whether a run's metric is kept: those that sum a trial up, and are finite."""
    named = isinstance(key, str) and (key in RUN_METRICS or key.startswith((BEST_OF, TEST)))
    return named and is_finite(value)


def kept_text(key: Any, value: Any) -> bool:
    """Whether a version's tag or a run's parameter is kept."""
    return isinstance(key, str) and isinstance(value, str) and key not in BULKY


def milliseconds(value: Any) -> int:
    """A time as a store has it; 0 where it has none."""
    return int(value) if is_finite(value) else 0


def moment(ms: int) -> str:
    """ISO 8601, UTC; empty where a store has none or an impossible one."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def number(text: str | None) -> float | None:
    """The finite number in a text; None where it holds something else."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if is_finite(found) else None


def whole(text: str | None) -> int | None:
    """The same without what is behind the point."""
    found = number(text)
    return None if found is None else int(found)


def scalar(text: str) -> int | float | str:
    """A hyperparameter as it was before MLflow made a text of it."""
    found = number(text)
    if found is None:
        return text
    return int(found) if text.removeprefix("-").isdecimal() and abs(found) < EXACT else found


def point(text: str) -> dict[str, Any]:
    """The hyperparameters in a tag; none where it holds something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, bool | str) or is_finite(value)}
