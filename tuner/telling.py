"""Texts for people: on one line, without what a terminal obeys, and without secrets; and how far long work has come."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from data_prep.refused import printable

if TYPE_CHECKING:
    from types import TracebackType

TRACKING_URI = "MLFLOW_TRACKING_URI"
SECRET_VARIABLES = (
    "PGPASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
HIDDEN = "***"
SHORTEST_SECRET = 4  # shorter ones stand in too many words to be hidden wherever they occur
_SECRET_KEY = re.compile(r"pass|pwd|token|secret|key|credential", re.IGNORECASE)
# Not after the three slashes of sqlite:///, where what comes is a path.
_USER_IN_URI = re.compile(r"(?<=://)(?!/)[^\s]*@")
_SECRET_IN_QUERY = re.compile(
    r"([?&;][^=&\s]*(?:pass|pwd|token|secret|key|credential)[^=&\s]*=)[^&;\s]*", re.IGNORECASE
)


def safe(text: str) -> str:
    """``text`` without users and passwords of the URIs in it, and without the secrets in the environment."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _SECRET_IN_QUERY.sub(rf"\1{HIDDEN}", _USER_IN_URI.sub("", text))


def holds_secret(uri: str) -> bool:
    """Whether there is a password or token in a store's URI."""
    scheme, _, rest = uri.partition("://")
    user, at, _ = rest.rpartition("@")
    if at and not rest.startswith("/") and (":" in user or scheme.startswith("http")):
        return True
    return any(_SECRET_KEY.search(name) for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True))


def first_line(error: BaseException | None) -> str:
    """Kind and first line of an error's text, without secrets and without what a terminal obeys."""
    # SQLAlchemy's first line may be about itself.
    lines = [line for line in safe(str(error)).strip().splitlines() if not line.startswith("(raised as a result of")]
    return f"{type(error).__name__}: {printable(lines[0][:200])}" if lines else type(error).__name__


def in_words(metric: str) -> str:
    """A metric as people read it: "validation micro F1"."""
    return " ".join("F1" if word == "f1" else word for word in metric.split("_"))


_MARKUP = re.compile(r"([\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_]))")  # of underscores those inside of a word are none
_LINKED = re.compile(r":(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)  # of bare addresses, and of names that pages link to


def markdown(text: str) -> str:
    """``text`` so that a page of Markdown shows it as it is, on one line and in a table's cell too.

    None of it becomes markup, HTML, a picture or a link.
    """
    marked = _MARKUP.sub(r"\\\1", printable(text))
    plain = marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKED.sub(lambda mark: f"&#{ord(mark[0])};", plain)


_QUIET = [False]  # whether the command that runs was given --quiet


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """While the block runs no notes and no progress are shown; warnings, errors and results are."""
    before, _QUIET[0] = _QUIET[0], on
    try:
        yield
    finally:
        _QUIET[0] = before


def is_quiet() -> bool:
    """Whether nobody wants to read notes and progress."""
    return _QUIET[0]


def say(text: str) -> None:
    """A note: one line on standard error; nothing under --quiet or where nobody reads that any more."""
    if not is_quiet():
        warn(text)


def warn(text: str) -> None:
    """One line on standard error that --quiet does not hide; nothing where nobody reads that any more."""
    with suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def is_live(stream: Any) -> bool:
    """Whether a stream is a terminal that can draw over what it has shown."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown") and stream is not None and stream.isatty()


class Progress:
    """How far long work has come, on standard error: a bar on a terminal, elsewhere a line every few seconds.

    Nothing under --quiet. Use it in a ``with`` statement; ``say`` and ``warn`` may be called within, from any thread.
    """

    SECONDS_BETWEEN_LINES = 5.0

    def __init__(self, what: str, total: int | None, unit: str = "") -> None:
        """``what`` was done with the units, as in "transcribed"; ``total``: how many, None where nobody knows."""
        self.what, self.total, self.unit = what, total, unit
        self.done, self.note, self.ended = 0.0, "", False
        self.began = self.last = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        self.began = self.last = time.monotonic()
        if self.total is not None:  # else there may be something to refuse before there is anything to count
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self.ended and error is None and self.done:
            self._line()

    def advance(self, count: float = 1, note: str = "") -> None:
        """``count`` more units are done; ``note``: which, or whatever else there is to say."""
        self.reach(self.done + count, self.total, note)

    def reach(self, done: float, total: int | None = None, note: str = "") -> None:
        """``done`` units of ``total`` are done, for those who count themselves."""
        self.done, self.note = done, printable(note)
        self.total = total if total is not None else self.total
        self._draw()
        if self._bar is not None:
            self._bar.update(
                self._task, completed=done, total=self.total, count=self._count(), note=self.note, refresh=True
            )
            return
        now, at_end = time.monotonic(), self.total is not None and done >= self.total
        if (at_end and not self.ended) or (not at_end and now - self.last >= self.SECONDS_BETWEEN_LINES):
            self.last, self.ended = now, at_end
            self._line()

    def _draw(self) -> None:
        if self._bar is None and not is_quiet() and is_live(sys.stderr):
            self._bar = _bar(self.what)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, count=self._count(), note="")

    def _count(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.done:,.0f}{of} {self.unit}".rstrip()

    def _line(self) -> None:
        note = f" ({self.note})" if self.note else ""
        say(f"{self.what} {self._count()}, {time.monotonic() - self.began:.0f} s{note}")


def _bar(what: str) -> Any:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    shortened = TextColumn(
        "{task.fields[note]}", markup=False, style="dim",
        table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
    )  # fmt: skip
    columns = [
        TextColumn(escape(what)),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        shortened,
    ]
    # What a command prints to a pipe meanwhile must not land on the terminal.
    return Bar(
        *columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty(), expand=True, refresh_per_second=4
    )


def _secrets() -> list[str]:
    """Secrets in the environment as they may stand in a text, longest first."""
    uri = os.environ.get(TRACKING_URI, "")
    found = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    user, at, _ = uri.partition("://")[2].rpartition("@")
    if at:
        found |= {user.partition(":")[2], unquote(user.partition(":")[2])}
    found |= {value for name, value in parse_qsl(urlsplit(uri).query) if _SECRET_KEY.search(name)}
    return sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
