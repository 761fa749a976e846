"""Tables, `.csv`: a column of times in seconds and one of labels, found by name; velocities where there are any.

Commas, semicolons or tabs stand between the cells, whichever the first line has. Blank lines and lines that begin with
`#` are skipped. Without a header there are two columns, times and labels. Velocities are all within 0..1, or all
within 1..127; an empty cell means unknown.
"""

import csv
import math
import re
from pathlib import Path

from data_prep.annotations.labels import MAX_VELOCITY, Labels, is_time, number, without_fraction
from data_prep.annotations.text import text_lines
from data_prep.refused import Refused

# names in small letters, other characters as underscores ("Onset (s)" -> "onset_s"); the first that is there is taken
TIMES = tuple(
    name + unit
    for name in ("time", "times", "onset", "onsets", "onset_time", "onset_times", "start", "start_time")
    for unit in ("", "_s", "_sec", "_seconds")
)
LABELS = (
    "label",
    "labels",
    "class",
    "drum",
    "instrument",
    "pitch",
    "midi_pitch",
    "note",
    "midi_note",
    "event",
    "value",
)
VELOCITIES = ("velocity", "velocities", "vel")
EXPECTED = "expected a table of times in seconds and labels"


def read_csv(path: Path) -> Labels:
    """The labels of a table, in the order of its lines.

    Raises Refused where the file is missing, too large or no text, columns cannot be found, or a line has no time and
    label.
    """
    times_s, labels, velocities, line_numbers = [], [], [], []
    columns: tuple[int, int, int | None] | None = None
    width, delimiter = 0, ","
    for line_number, line in text_lines(path, EXPECTED):
        if not line.strip() or line.startswith("#"):
            continue
        if columns is None:
            delimiter = next((mark for mark in "\t;" if mark in line), ",")
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            raise Refused(
                f"{path} line {line_number} is no line of a table ({error}); {EXPECTED}: correct it"
            ) from error
        if columns is None:
            width = len(cells)
            if math.isnan(_number(cells[0], delimiter)):
                columns = _columns(path, cells)
                continue
            if width != 2:
                raise Refused(
                    f"{path} has {width} columns and no header; expected a first line such as `time,label`: add one"
                )
            columns = (0, 1, None)
        cells += [""] * (width - len(cells))
        time_s, label = _number(cells[columns[0]], delimiter), without_fraction(cells[columns[1]])
        if not is_time(time_s) or not label or any(cells[width:]):
            raise Refused(
                f"{path} line {line_number} is {line[:60]!r}; expected a time in seconds and a label in their columns: "
                "correct the line"
            )
        times_s.append(time_s)
        labels.append(label)
        line_numbers.append(line_number)
        word = "" if columns[2] is None else cells[columns[2]]
        velocities.append(_number(word, delimiter) if word else None)
    return Labels.of(path, times_s, labels, _scaled(path, velocities, line_numbers))


def _number(word: str, delimiter: str) -> float:
    """The number that a cell is, else NaN; next to semicolons the decimal mark may be a comma."""
    return number(word.replace(",", ".") if delimiter == ";" else word)


def _columns(path: Path, header: list[str]) -> tuple[int, int, int | None]:
    """Where times, labels and velocities stand; None without velocities."""
    names = [re.sub("[^a-z0-9]+", "_", cell.lower()).strip("_") for cell in header]
    time, label, velocity = (
        next((names.index(name) for name in known if name in names), None) for known in (TIMES, LABELS, VELOCITIES)
    )
    if time is None or label is None:
        raise Refused(
            f"{path} has the columns {', '.join(header)[:200]!r}; expected one of times in seconds (time, onset_s, "
            f"start, ...) and one of labels ({', '.join(LABELS)}): rename them"
        )
    return time, label, velocity


def _scaled(path: Path, velocities: list[float | None], line_numbers: list[int]) -> list[float]:
    """Velocities in 0..1, NaN where unknown."""
    most, least = (1.0, 0.0) if all(of is None or of <= 1 for of in velocities) else (MAX_VELOCITY, 1.0)
    for velocity, line_number in zip(velocities, line_numbers, strict=True):
        if velocity is not None and not least <= velocity <= most:
            raise Refused(
                f"{path} line {line_number} has a velocity outside {least:g}..{most:g}; expected 0..1 or "
                f"1..{MAX_VELOCITY} throughout: correct the line"
            )
    return [math.nan if velocity is None else velocity / most for velocity in velocities]
