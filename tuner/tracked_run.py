"""What a tracking store has of a run, and the texts and numbers that go there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.run_notes import NOTE
from tuner.telling import safe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LONGEST_TEXT = 5000  # of a parameter or tag; MLflow takes 6000 and 8000


@dataclass
class TrackedRun:
    """What the store has of a run: its end, its latest values, and at which steps it has a metric."""

    id: str
    began_ms: int
    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)
    inputs: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, run: "Run") -> "TrackedRun":
        """A run that the store has."""
        data, info = run.data, run.info
        there = run.inputs.dataset_inputs if run.inputs else ()
        inputs = {(of.dataset.name, of.dataset.digest) for of in there}
        known = dict(data.tags), dict(data.params), dict(data.metrics)
        return cls(info.run_id, info.start_time, info.status, *known, inputs=inputs)

    def lacks(self, tags: Mapping[str, Any]) -> dict[str, str]:
        """Those of ``tags`` that the run does not have so, as a store keeps them; a description may go on there."""
        return {key: text for key, text in texts(tags).items() if not self._has(key, text)}

    def _has(self, key: str, text: str) -> bool:
        there = self.tags.get(key)
        return there == text or (key == NOTE and there is not None and there.startswith(f"{text}\n\n"))


def log_new(
    client: "MlflowClient", run_id: str, known: Mapping[str, float], values: Mapping[str, float], now_ms: int,
    tags: Mapping[str, Any] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Write those values (at step 0) that differ from the ``known`` ones, and tags, in one request if there are any."""
    from mlflow.entities import Metric, RunTag

    rows = [Metric(name, value, now_ms, 0) for name, value in values.items() if known.get(name) != value]
    marks = [RunTag(*of) for of in texts(tags).items()]
    if rows or marks:
        client.log_batch(run_id, metrics=rows, tags=marks)


def text_of(value: Any) -> str:
    """What a store keeps of a text: no secret, nothing that a terminal obeys or a database refuses."""
    return printable(safe(str(value)))[:LONGEST_TEXT]


def texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as a store keeps them; a description has several lines."""
    return {
        key: "\n".join(map(text_of, str(value).splitlines())) if key == NOTE else text_of(value)
        for key, value in tags.items()
    }
