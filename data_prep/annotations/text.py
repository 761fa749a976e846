"""Text annotations, `.txt`: one `seconds label` a line.

Blanks, tabs or commas stand between the words; what follows the label is not read. A label track of Audacity has
`start end label` lines: its labels begin at `start`. Blank lines and lines that begin with `#` are skipped.
"""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.annotations.labels import MAX_TEXT_BYTES, Labels, is_time, number
from data_prep.bounded import read_bounded
from data_prep.refused import Refused

EXPECTED = "expected a text file of `seconds label` lines"
MAX_LINE_BYTES = 4096
DECIMAL_COMMA = re.compile(r"\d+,\d+\s")  # 0,5 KD


def read_text(path: Path) -> Labels:
    """The labels of a text annotation.

    Raises Refused where the file is missing, too large or not text, or a line is no `seconds label`.
    """
    times_s, labels = [], []
    for line_number, line in text_lines(path):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        time_s, label = number(words[0]), words[1] if len(words) > 1 else ""
        if len(words) > 2 and "." in label and number(label) >= time_s:
            label = words[2]
        if not is_time(time_s) or not label or DECIMAL_COMMA.match(line.lstrip()):
            raise Refused(
                f"{path} line {line_number} is {' '.join(line.split())[:60]!r}; expected `seconds label`, as in "
                "`1.25 SD`: correct the line"
            )
        times_s.append(time_s)
        labels.append(label)
    return Labels.of(path, times_s, labels)


def text_lines(path: Path, expected: str = EXPECTED, what: str = "annotation") -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and lines of a small text file in UTF-8, without byte order mark and line ends.

    ``what`` and ``expected`` are for the sentences. Raises Refused where the file is missing, too large, not UTF-8, or
    has lines of over 4096 bytes.
    """
    content = read_bounded(path, MAX_TEXT_BYTES, what, f"{expected}: restore it")
    content = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line_number, ended in enumerate(io.BytesIO(content), start=1):  # one line in memory at a time
        line = ended.removesuffix(b"\n")
        if len(line) > MAX_LINE_BYTES:
            raise Refused(f"{path} line {line_number} is longer than {MAX_LINE_BYTES} bytes; {expected}: restore it")
        try:
            yield line_number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"{path} line {line_number} is not UTF-8; {expected}: save it as UTF-8") from error
