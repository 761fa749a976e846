"""The one exception that speaks to the user."""

from collections.abc import Iterable


class Refused(ValueError):
    """Input that mirtune will not work on.

    Its text is one sentence: what came, what was expected, where, and what to do. The command line prints it and
    exits with status 2.
    """


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise Refused where ``name`` is none of the known ones."""
    if name not in known:
        raise Refused(f"unknown {kind} {name!r}; choose from {', '.join(known)}")
