"""The leaderboard for people, spreadsheets and pages: rich tables, CSV and Markdown.

Names in a store were written by others: nothing here lets them act on a terminal, a spreadsheet or a page.
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.leaderboard import Row, TrialRow
from tuner.leaderboard_columns import SCORE, TIME, WORDS, Column, Rows, columns_of
from tuner.telling import in_words, markdown
from tuner.zero_shot import PREFIX

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

NARROW = 110  # below so many columns of characters, times are dates
WIDEST_WORDS, NARROW_WORDS = 26, 20  # characters before a name goes on in another line
FRAME = 3  # of each column: a line and two spaces
KEYS = ("corpus", "architecture", "trial")  # they begin each part of a table in several parts
ACTIVE = set("[:\\")  # what markup and emoji begin with
FORMULA = tuple("=+-@＝＋－＠")


def tables(
    rows: Rows, columns: Sequence[Column] | None = None, width: int | None = None, *, asked: bool = False
) -> "tuple[list[Table], list[Column]]":
    """The rows as tables no wider than ``width``, and the columns that had no room.

    Columns in which nothing stands are left out, and of the rest those that do not fit; where they were ``asked`` for
    all are there, in as many tables as that needs. Without ``width`` everything stands in one table.
    """
    short = width is not None and width < NARROW
    columns = columns_of(rows, type(rows[0]) if rows else Row) if columns is None else columns
    there = columns if asked else [column for column in columns if column.rank and _says_something(column, rows)]
    most = NARROW_WORDS if short else WIDEST_WORDS
    cells = {of.name: [_broken(of, of.text(row, short=short), most) for row in rows] for of in there}
    wide = {column.name: _width(column, cells[column.name]) for column in there}
    if width is None:
        parts = [list(there)]
    elif asked:
        parts = _in_parts(there, wide, width)
    else:
        parts = [_fitting(there, wide, width)]
    left = [column for column in there if not any(column in part for part in parts)]
    return [_table(rows, part, cells, wide, number) for number, part in enumerate(parts)], left


def as_csv(rows: Rows, columns: Sequence[Column]) -> str:
    """Names of columns, then the rows: numbers in full, times in ISO 8601.

    A text that a spreadsheet would take for a formula has an apostrophe before it, which spreadsheets do not show.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(no_formula(printable(column.name)) for column in columns)
    for row in rows:
        values = ((column, column.value(row)) for column in columns)
        writer.writerow(
            no_formula(column.text(row)) if column.kind == WORDS else "" if value is None else value
            for column, value in values
        )
    return text.getvalue()


def as_markdown(rows: Rows, columns: Sequence[Column]) -> str:
    """A table for a page, its runs as links where the store is a server."""
    shown = [column for column in columns if column.name != "link"]
    lines = [[markdown(column.heading) for column in shown]]
    lines.append(["---" if column.kind in (WORDS, TIME) else "---:" for column in shown])
    for row in rows:
        texts = {column.name: markdown(column.text(row)) for column in shown}
        if row.link and "run" in texts:
            texts["run"] = f"[{row.run[:8]}]({row.link})"
        lines.append(list(texts.values()))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def of_use(rows: Rows, columns: Sequence[Column]) -> list[Column]:
    """The columns that are shown by themselves, without those in which nothing stands."""
    return [column for column in columns if column.rank and _says_something(column, rows)]


def zero_shot_note(rows: Rows, columns: Sequence[Column]) -> str:
    """Which parts of the corpora zero-shot scores are of, and by which protocol; empty where none is shown."""
    of = {column.name.removeprefix(PREFIX) for column in columns if column.name.startswith(PREFIX)}
    ways = {
        (corpus, f"split {score['split']}, protocol {score['protocol']}")
        for row in rows
        for corpus, score in getattr(row, "zero_shot", {}).items()
        if corpus in of
    }
    by_way: dict[str, list[str]] = {}
    for corpus, way in sorted(ways):
        by_way.setdefault(way, []).append(corpus)
    return "; ".join(f"zero-shot on {', '.join(corpora)}: {way}" for way, corpora in by_way.items())


def union_note(rows: Rows, columns: Sequence[Column]) -> str:
    """What the test score of models trained on several corpora is; empty where none is shown."""
    unions = any("+" in row.corpus and getattr(row, "test", None) is not None for row in rows)
    shown = unions and any(column.name == "test" for column in columns)
    return "test of models trained on several corpora: the mean over those that have test tracks" if shown else ""


def _says_something(column: Column, rows: Rows) -> bool:
    values = [column.value(row) for row in rows]
    # A score of 0 is one, zero hours are not worth a column.
    return column.name in KEYS or any(value is not None and (value != 0 or column.kind == SCORE) for value in values)


def _broken(column: Column, text: str, most: int) -> str:
    """A name of more than ``most`` characters on several lines, broken where it is joined if it can be."""
    if column.kind != WORDS or len(text) <= most:
        return text
    lines = [""]
    for part in re.split(r"(?<=[+,. ])", text):
        if lines[-1] and len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(line[at : at + most].strip() for line in lines for at in range(0, len(line), most))


def _heading(column: Column) -> str:
    """On two lines where there are two things to say: numbers are narrower than their names."""
    return column.heading if column.name == "protocol" else column.heading.replace(" ", "\n", 1)


def _width(column: Column, cells: Sequence[str]) -> int:
    from rich.cells import cell_len

    texts = {line for text in (_heading(column), *cells) for line in text.split("\n")}
    return max(map(cell_len, texts), default=0)


def _fitting(columns: Sequence[Column], wide: dict[str, int], width: int) -> list[Column]:
    """As many as there is room for, those of the lowest rank first; never fewer than the first one."""
    taken: list[Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        if not taken or _room([*taken, column], wide) <= width:
            taken.append(column)
    return [column for column in columns if column in taken]


def _in_parts(columns: Sequence[Column], wide: dict[str, int], width: int) -> list[list[Column]]:
    """All of them, in parts that fit, each of which begins with what names the row."""
    keys = [column for column in columns if column.name in KEYS]
    if _room(columns, wide) <= width or not keys:
        keys = []
    parts: list[list[Column]] = [list(keys)]
    for column in columns:
        if column in keys:
            continue
        if len(parts[-1]) > len(keys) and _room([*parts[-1], column], wide) > width:
            parts.append(list(keys))
        parts[-1].append(column)
    return parts


def _room(columns: Sequence[Column], wide: dict[str, int]) -> int:
    return sum(wide[column.name] + FRAME for column in columns) + 1


def _table(
    rows: Rows, columns: Sequence[Column], cells: dict[str, list[str]], wide: dict[str, int], number: int
) -> "Table":  # fmt: skip
    from rich.table import Table

    shown = Table(title=_cell(f"{_title(rows)}{', continued' if number else ''}"), title_justify="left")
    for column in columns:
        justify: Any = "left" if column.kind in (WORDS, TIME) else "right"
        # Of a heading of two words each stands on its line; numbers are as wide as they are.
        shown.add_column(_cell(_heading(column)), justify=justify, min_width=wide[column.name], no_wrap=True)
    linked = next((column.name for column in columns if column.name in ("trial", "architecture")), "")
    for at, row in enumerate(rows):
        shown.add_row(*(_cell(cells[of.name][at], row.link if of.name == linked else "") for of in columns))
    return shown


def _cell(text: str, link: str = "") -> "Text | str":
    """What stands in a table, in which rich finds no markup and no emoji."""
    from rich.style import Style
    from rich.text import Text

    plain = not link and not ACTIVE & set(text)
    return text if plain else Text(text, Style(link=link) if link else "")


def _title(rows: Rows) -> str:
    metrics = {row.metric for row in rows if row.metric}
    metric = printable(in_words(metrics.pop())) if len(metrics) == 1 else "score"
    if rows and isinstance(rows[0], TrialRow):
        return f"Trials, by validation {metric}"
    every = any(isinstance(row, Row) and not row.best for row in rows)
    return f"{'Every version: ' if every else 'Best '}{metric} per corpus and architecture"


def no_formula(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
