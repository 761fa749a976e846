"""A folder on this machine or in an object store, and its files, which are whole or absent."""

import os
import re
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from data_prep.refused import Refused

SCHEMES = ("s3", "gs")  # object stores; file:// and paths are folders
MAX_NAME_BYTES = 200  # a temporary one is longer, and 255 is what disks take
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.(part|old)")  # as write_atomically names them


def is_name(name: str) -> bool:
    """Whether it can stand for something directly in a folder: it leads nowhere else and is not a temporary one."""
    if name in ("", ".", "..") or not name.isprintable() or set(name) & {"/", "\\"}:
        return False
    return len(os.fsencode(name)) <= MAX_NAME_BYTES and not TEMPORARY.fullmatch(name)


def check_name(name: str) -> str:
    """``name``; Refused where ``is_name`` says no."""
    if not is_name(name):
        raise Refused(
            f"{name[:80]!r} cannot name a file or folder; expected 1 to {MAX_NAME_BYTES} bytes of printable characters "
            "without / and \\, and not . or ..: choose another name"
        )
    return name


def temporary_name(name: str) -> str:
    """A new name, which ``names`` hides, for what will be ``name``."""
    return f".{check_name(name)}.{uuid.uuid4().hex[:8]}.part"


class Storage(ABC):
    """A folder on this machine or in an object store; what is written is whole or absent.

    It need not exist: writing makes it. It travels to other processes, without secrets: an object store's come from
    the environment of each. All that takes a name raises Refused where ``check_name`` does, and OSError where the disk
    or the store fails; FileNotFoundError is for what is not there.
    """

    location: str  # an absolute path or a URI, without secrets

    @staticmethod
    def at(location: str | Path) -> "Storage":
        """The folder at a path or URI; Refused on an unknown scheme and on credentials in the URI."""
        # Here, as both are made of what stands in this module.
        from data_prep.folder import Folder

        text = str(location)
        scheme, separator, _ = text.partition("://")
        if not separator:
            return Folder(Path(location))
        if scheme == "file" and not (urlsplit(text).netloc or urlsplit(text).query):
            return Folder(Path(unquote(urlsplit(text).path)))
        if scheme not in SCHEMES:
            known = ", ".join(f"{of}://BUCKET/FOLDER" for of in SCHEMES)
            raise Refused(f"storage of the kind {scheme[:40]!r} is not known; expected a path, file:///PATH, {known}")
        from data_prep.object_store import ObjectStore

        return ObjectStore.of_uri(text)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder on this machine."""
        return False

    @property
    def path(self) -> Path:
        """The folder, where it is local; ValueError where it is not."""
        raise ValueError(f"{self.location} is no folder on this machine")

    @abstractmethod
    def __truediv__(self, name: str) -> "Storage":
        """The folder ``name`` in this one."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it; if that fails or is cut short, what was there before is there still."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there; False where it is. Of several that create one at once, one gets True."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""

    @abstractmethod
    def names(self) -> list[str]:
        """The files and folders directly in this one, sorted; none where it is not there.

        Left out is what ``is_name`` does not take, temporary names above all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file or a whole folder; nothing happens where there is none. Links are not followed."""

    @abstractmethod
    def put(self, name: str, source: Path, last: str = "") -> None:
        """Copy a file or folder of this machine to ``name``, replacing what is there.

        A folder's file ``last`` comes last (and, in an object store, goes first where it is replaced): whoever sees it
        sees all others. On a disk the whole folder appears at once.
        """

    @abstractmethod
    def local(self) -> AbstractContextManager[Path]:
        """This folder on this machine: itself, or a copy that is removed afterwards. FileNotFoundError without one."""

    @abstractmethod
    def size_bytes(self, name: str) -> int:
        """The size of a file, or of all files in a folder together."""

    @abstractmethod
    def sweep_away(self, older_than_s: float) -> None:
        """Remove what killed processes left half-written directly in this folder that long ago."""

    def probe(self) -> None:
        """Refused where nothing can be written here."""
        name = "writable-" + uuid.uuid4().hex
        try:
            self.write(name, b"")
            self.remove(name)
        except OSError as error:
            why = error.strerror or str(error)
            raise Refused(f"{self.location} cannot be written ({why[:300]}); check the place and the rights") from error

    def __str__(self) -> str:
        return self.location

    def __repr__(self) -> str:
        return f"Storage.at({self.location!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.location == other.location

    def __hash__(self) -> int:
        return hash(self.location)
