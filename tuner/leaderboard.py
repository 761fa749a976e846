"""The best model of each corpus and architecture: rows, a table, JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner import registry, store
from tuner.telling import in_words

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One registered model; `validation` and `test` are values of `metric`, `test` the mean over corpora if several."""

    corpus: str  # several joined by "+"
    architecture: str
    metric: str
    validation: float
    test: float | None
    protocol: str  # of the test score; several joined by "+"
    parameters: int
    trials: int  # of the sweep that made it
    sweep: str
    version: int
    when: str  # ISO 8601, UTC

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the scores under the metric's name."""
        content = asdict(self)
        metric = content.pop("metric")
        content[f"validation_{metric}"] = content.pop("validation")
        content[f"test_{metric}"] = content.pop("test")
        return content


def leaderboard(tracking_uri: str | None = None, corpora: Sequence[str] = ()) -> list[Row]:
    """A row per registered best model, each corpus's best first; with ``corpora`` only those trained on one of them.

    Without ``tracking_uri`` the store is `store.default_uri`. Models that other programs registered are left out.
    """
    rows = []
    for version in registry.all_best(tracking_uri or store.default_uri()):
        tags = version.tags
        row = Row(
            corpus=tags["corpora"],
            architecture=tags["architecture"],
            metric=tags["metric"],
            validation=float(tags["validation"]),
            test=float(tags["test"]) if "test" in tags else None,
            protocol=tags.get("protocol", ""),
            parameters=int(tags["parameters"]),
            trials=int(tags["trials"]),
            sweep=tags["sweep"],
            version=int(version.version),
            when=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        )
        if not corpora or set(corpora) & set(row.corpus.split("+")):
            rows.append((row, 1 if tags["mode"] == "max" else -1))
    return [row for row, sign in sorted(rows, key=lambda pair: (pair[0].corpus, -pair[1] * pair[0].validation))]


def table(rows: Sequence[Row]) -> "Table":
    """The rows for people; what a store holds is shown as it is, and never obeyed by rich or a terminal."""
    from rich.markup import escape
    from rich.table import Table

    def shown_as(text: str) -> str:
        return escape(printable(text))

    metrics = {row.metric for row in rows}
    metric = shown_as(in_words(metrics.pop())) if len(metrics) == 1 else "score"
    shown = Table(title=f"Best {metric} per corpus and architecture")
    for title in ("corpus", "architecture"):
        shown.add_column(title)
    for title in (f"validation {metric}", f"test {metric}"):
        shown.add_column(title, justify="right")
    shown.add_column("by protocol")
    for title in ("parameters", "trials"):
        shown.add_column(title, justify="right")
    shown.add_column("when")
    for row in rows:
        test = "" if row.test is None else f"{row.test:.3f}"
        numbers = (f"{row.validation:.3f}", test, shown_as(row.protocol), f"{row.parameters:,}", str(row.trials))
        shown.add_row(
            shown_as(row.corpus),
            shown_as(row.architecture),
            *numbers,
            f"{datetime.fromisoformat(row.when):%Y-%m-%d %H:%M}",
        )
    return shown
