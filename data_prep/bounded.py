"""Files from outside, read whole and only when they are small regular files."""

import os
import stat
from pathlib import Path

from data_prep.refused import Refused


def read_bounded(path: Path, max_bytes: int, what: str, advice: str) -> bytes:
    """The bytes of a regular file of at most ``max_bytes``; links to one are followed.

    ``what`` names the kind of file ("MIDI file") and ``advice`` ends the sentence of a refusal: what was expected and
    what to do. Raises Refused where there is no such file, it is a folder, a pipe or a device, is too large, or cannot
    be read.
    """
    try:
        # without O_NONBLOCK the opening of a pipe that nobody writes to would wait for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Refused(f"no {what} at {path}; {advice}") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise Refused(f"{path} cannot be opened ({getattr(error, 'strerror', error)}); {advice}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is a folder, a pipe or a device, no {what}; {advice}")
        if status.st_size > max_bytes:
            raise Refused(f"{path} holds {status.st_size:,} bytes, and at most {max_bytes:,} are read; {advice}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)  # a file may grow, and /proc says 0
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}); {advice}") from error
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise Refused(f"{path} holds more than the {max_bytes:,} bytes that are read; {advice}")
    return content
