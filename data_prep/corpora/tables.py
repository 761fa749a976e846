"""Tables that list a corpus: csv files with a header, whose every row must make sense. R rows."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.bounded import read_bounded
from data_prep.refused import Refused

MAX_VALUE_CHARACTERS = 1000
MAX_TABLE_BYTES = 64 * 2**20  # E-GMD's 45,537 rows are ten


def read_rows(path: Path, columns: Sequence[str], advice: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a csv table with their line numbers; ``advice`` ends the sentence of a refusal.

    Raises Refused where the table is missing, too large, not UTF-8, empty, lacks a column, or a row is of another
    length, too long or empty in one of the columns. A byte order mark and any line ends are fine.
    """
    content = read_bounded(path, MAX_TABLE_BYTES, "table", advice)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path} line {line} is not UTF-8; {advice}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if missing := [name for name in columns if name not in header]:
            raise Refused(f"{path} line 1 lacks the columns {', '.join(missing)}; {advice}")
        empty = True
        for values in filter(None, reader):
            empty = False
            row = dict(zip(header, values, strict=False))
            if len(values) != len(header):
                raise Refused(
                    f"{path} line {reader.line_num} has {len(values)} values for {len(header)} columns; {advice}"
                )
            if long := [name for name, value in row.items() if len(value) > MAX_VALUE_CHARACTERS]:
                raise Refused(
                    f"{path} line {reader.line_num} has a {long[0][:40]} of more than {MAX_VALUE_CHARACTERS} "
                    f"characters; {advice}"
                )
            if blank := [name for name in columns if not row[name]]:
                raise Refused(f"{path} line {reader.line_num} has no {blank[0]}; {advice}")
            yield reader.line_num, row
    except csv.Error as error:
        raise Refused(f"{path} line {reader.line_num} is no csv ({error}); {advice}") from error
    if empty:
        raise Refused(f"{path} lists nothing; {advice}")


class Inside:
    """Whether paths in a table stay inside the folder of the corpus."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._folders: dict[str, bool] = {}  # of which a corpus has few: links are looked up once for each

    def __call__(self, name: str) -> bool:
        """False for absolute names, names with `..`, and links out of the folder."""
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name:
            return False
        above = name.rpartition("/")[0]
        if above not in self._folders:
            self._folders[above] = self._holds(above)
        return self._folders[above] and (not os.path.islink(f"{self._folder}/{name}") or self._holds(name))

    def _holds(self, name: str) -> bool:
        real = os.path.realpath(f"{self._folder}/{name}")
        return real == self._folder or real.startswith(f"{self._folder.rstrip('/')}/")
