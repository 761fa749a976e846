"""The one exception that speaks to the user."""

from collections.abc import Iterable


class Refused(ValueError):
    """Input that mirtune will not work on.

    Its text is one sentence: what came, what was expected, where, and what to do. The command line prints it and
    exits with status 2. What cannot be printed, as in the names of files, is written as escapes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    """The text on one line, with escapes for whatever a terminal obeys or a pipe cannot take."""
    if text.isprintable():
        return text
    return "".join(of if of.isprintable() else ascii(of)[1:-1] for of in text)


def reason_of(error: Exception, track: str) -> str:
    """Why a track cannot be used, for the user."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.filename} cannot be read ({error.strerror}); check it, or download the corpus again")
    if isinstance(error, MemoryError):
        return printable(f"track {track} needs more memory than there is; cut it, or give fewer --workers")
    return printable(f"track {track} cannot be used because of a mistake in mirtune, {error!r}: please report it")


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise Refused where ``name`` is none of the known ones."""
    known = list(known)
    if name not in known:
        raise Refused(f"unknown {kind} {name!r}; choose from {', '.join(known)}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The ending of a sentence that names the nearest known name: "; did you mean sweep?", or none where none is."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
