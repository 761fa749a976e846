"""Texts for people: on one line, without what a terminal obeys, and without secrets."""

import os
import re
import sys
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from data_prep.refused import printable

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


def say(text: str) -> None:
    """One line on standard error; nothing where nobody reads that any more."""
    with suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def _secrets() -> list[str]:
    """Secrets in the environment as they may stand in a text, longest first."""
    uri = os.environ.get(TRACKING_URI, "")
    found = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    user, at, _ = uri.partition("://")[2].rpartition("@")
    if at:
        found |= {user.partition(":")[2], unquote(user.partition(":")[2])}
    found |= {value for name, value in parse_qsl(urlsplit(uri).query) if _SECRET_KEY.search(name)}
    return sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
