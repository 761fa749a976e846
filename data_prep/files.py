"""Files that are whole or absent: written under a temporary name, then renamed."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, else remove it.

    The block may make the temporary path a file or a folder; a folder that stands at ``path`` is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir() and not path.is_symlink():
            old = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.old"
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def is_disk_full(error: Exception) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_space(folder: Path) -> Iterator[None]:
    """Turn a full disk into Refused, which says what to do; what was written before stays good."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise Refused(
            f"no space left on the disk that holds {folder}; free some and run the same command "
            "again: what is finished is kept"
        ) from error


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Refused where another process stands in such a block with the same file; a process that is killed leaves it.

    ``what`` begins the sentence of the refusal. A file system that knows no locks lets everyone in.
    """
    with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{what}; wait for it to end or stop it") from error
        except OSError:  # some network file systems
            pass
        os.utime(file.fileno())  # when it was last held
        yield


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically; NaN and infinity are refused with ValueError."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def checksum(path: Path) -> str:
    """BLAKE3 of a file's bytes, in hexadecimal, as `b3sum` prints it: three times as fast as SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _blake3).hexdigest()


def fingerprint(values: "np.ndarray") -> str:
    """BLAKE3 of the bytes of an array, in hexadecimal."""
    import numpy as np  # here, as commands that only write files come at once

    digest = _blake3()
    digest.update(np.ascontiguousarray(values).data.cast("B"))
    return digest.hexdigest()


def _blake3() -> Any:
    from blake3 import blake3  # here, as models are trained on machines that lack it

    return blake3()
