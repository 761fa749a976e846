"""The leaderboard's columns: how each is named, shown and sorted; and which rows are asked for."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from data_prep.refused import Refused, check_known, printable
from tuner.leaderboard import Row, TrialRow
from tuner.telling import in_words
from tuner.zero_shot import PREFIX

AnyRow = Row | TrialRow
Rows = Sequence[AnyRow]
WORDS, SCORE, COUNT, HOURS, RATE, TIME = "words", "score", "count", "hours", "rate", "time"
DATE_LENGTH = 10


@dataclass(frozen=True)
class Column:
    """One of them; ``name`` is what people type and the row's field, ``rank`` which go first where there is no room.

    Columns of rank 0 are shown where they are asked for alone. ``falls``: sorted by it, the largest comes first.
    """

    name: str
    heading: str
    kind: str
    rank: int
    falls: bool = False

    def value(self, row: AnyRow) -> Any:
        """The row's value, None where it has none."""
        if self.name.startswith(PREFIX):
            score = getattr(row, "zero_shot", {}).get(self.name.removeprefix(PREFIX))
            return None if score is None else score[row.metric]
        value = getattr(row, self.name)
        if isinstance(value, dict):
            return json.dumps(value) if value else None
        return None if value == "" else value

    def text(self, row: AnyRow, *, short: bool = False) -> str:
        """The value for people; ``short``: of a time the date alone."""
        value = self.value(row)
        if value is None:
            return ""
        if self.kind == SCORE:
            return f"{value:.3f}"
        if self.kind == COUNT:
            return f"{value:,}"
        if self.kind == HOURS:
            return f"{value:,.{3 if value < 0.0995 else 2 if value < 9.995 else 1}f}"
        if self.kind == RATE:
            return f"{value:,.{1 if value < 9.95 else 0}f}"
        if self.kind == TIME:
            return value[:DATE_LENGTH] if short else value[:16].replace("T", " ")
        return printable("yes" if value is True else "no" if value is False else str(value))


COLUMNS = (
    Column("corpus", "corpus", WORDS, 1),
    Column("architecture", "architecture", WORDS, 1),
    Column("version", "version", COUNT, 9, falls=True),
    Column("sweep", "sweep", WORDS, 8),
    Column("trial", "trial", WORDS, 1),
    Column("state", "state", WORDS, 4),
    Column("validation", "validation {metric}", SCORE, 1, falls=True),
    Column("test", "test {metric}", SCORE, 2, falls=True),
    Column("protocol", "by protocol", WORDS, 5),
    Column("parameters", "parameters", COUNT, 3),
    Column("trials", "trials", COUNT, 7),
    Column("epoch", "epoch", COUNT, 10),
    Column("trial_hours", "trial hours", HOURS, 6),
    Column("gpu_hours", "GPU hours", HOURS, 6),
    Column("windows_per_s", "windows/s", RATE, 7, falls=True),
    Column("when", "when", TIME, 4, falls=True),
    Column("mirtune_version", "mirtune", WORDS, 11),
    Column("task", "task", WORDS, 0),
    Column("metric", "metric", WORDS, 0),
    Column("best", "best", WORDS, 0, falls=True),
    Column("hyperparameters", "hyperparameters", WORDS, 0),
    Column("run", "run", WORDS, 0),
    Column("link", "link", WORDS, 0),
)
FIRST, ZERO_SHOT_RANK = 1, 3
AFTER = "protocol"  # which zero-shot columns stand after


def zero_shot_corpora(rows: Rows) -> list[str]:
    """The corpora on which any of the models was evaluated without having been trained on them."""
    return sorted({corpus for row in rows for corpus in getattr(row, "zero_shot", {})})


def columns_of(rows: Rows, kind: type, zero_shot: Sequence[str] | None = None) -> list[Column]:
    """The columns of rows of a ``kind``, a zero-shot one per corpus of ``zero_shot`` (every corpus); headings in words.

    Refused where there are models and none of them was evaluated on a corpus that is asked for.
    """
    there = zero_shot_corpora(rows)
    for corpus in zero_shot or ():
        if rows and corpus not in there:
            raise _no_score(corpus, there)
    names = {of.name for of in fields(kind)}
    metrics = {row.metric for row in rows if row.metric}
    metric = printable(in_words(metrics.pop())) if len(metrics) == 1 else "score"
    every = any(isinstance(row, Row) and not row.best for row in rows)
    telling = {"sweep"} if kind is TrialRow else {"version"} if every else set()  # what tells rows apart
    found = []
    for column in COLUMNS:
        if column.name in names:
            rank = FIRST if column.name in telling else column.rank
            found.append(replace(column, heading=column.heading.format(metric=metric), rank=rank))
        if column.name == AFTER and "zero_shot" in names:
            rank = 1 if zero_shot else ZERO_SHOT_RANK
            of = there if zero_shot is None else zero_shot
            found += [Column(f"{PREFIX}{name}", f"zero-shot {printable(name)}", SCORE, rank, True) for name in of]
    return found


def _no_score(corpus: str, there: Sequence[str]) -> Refused:
    some = f"choose from {', '.join(there)}, or" if there else "no model has such a score yet;"
    return Refused(
        f"no model that is shown has a zero-shot score on {corpus!r}; {some} run `mirtune evaluate "
        f"CORPUS/ARCHITECTURE --on {corpus}`"
    )


def chosen(columns: Sequence[Column], names: Iterable[str]) -> list[Column]:
    """Those named, in that order; Refused where there is no such column."""
    by_name = {column.name: column for column in columns}
    wanted = list(names)
    for name in wanted:
        if name.startswith(PREFIX) and name not in by_name and "trial" not in by_name:
            raise _no_score(name.removeprefix(PREFIX), [of.removeprefix(PREFIX) for of in by_name if PREFIX in of])
        check_known("column", name, by_name)
    return [by_name[name] for name in dict.fromkeys(wanted)]


def in_order(rows: Rows, columns: Sequence[Column], sort: str) -> list[Any]:
    """The rows by a column: the best score, the latest time or the smallest size first; "-COLUMN" turns that round.

    Rows without a value come last in either direction. Refused where there is no such column.
    """
    (column,) = chosen(columns, [sort.removeprefix("-")])
    turned = sort.startswith("-")

    def key(row: AnyRow) -> Any:
        value = column.value(row)
        return -value if column.kind == SCORE and row.mode == "min" else value

    with_value = [row for row in rows if column.value(row) is not None]
    without = [row for row in rows if column.value(row) is None]
    return [*sorted(with_value, key=key, reverse=column.falls != turned), *without]


def among(rows: Rows, field: str, wanted: Sequence[str]) -> list[Any]:
    """The rows that have one of those values; Refused where no row has one of them, unless there is no row at all."""
    there = sorted({getattr(row, field) for row in rows})
    for name in wanted if there else ():
        if name not in there:
            raise Refused(f"no model of {field} {name!r} is shown here; choose from {', '.join(there)}")
    return [row for row in rows if not wanted or getattr(row, field) in wanted]


def at_least(rows: Rows, score: float) -> list[Any]:
    """The rows of that validation score or a better one."""
    return [row for row in rows if row.validation is not None and _reaches(row.validation, score, row.mode)]


def _reaches(value: float, score: float, mode: str) -> bool:
    return value <= score if mode == "min" else value >= score


def since(rows: Rows, text: str) -> list[Any]:
    """The rows of that day (UTC) or moment and later; Refused where it is neither."""
    try:
        begin = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"--since {text[:40]!r} is no date; expected one such as 2026-11-21 or 2026-11-21T18:00"
        ) from None
    begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)
    return [row for row in rows if row.when and datetime.fromisoformat(row.when) >= begin]
