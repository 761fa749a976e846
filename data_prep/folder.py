# ruff: noqa: D102 (what the methods do stands in Storage)
"""Storage on a disk: files are written under temporary names, synchronised, then renamed."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prep.files import write_atomically
from data_prep.storage import TEMPORARY, Storage, check_name, is_name, temporary_name


class Folder(Storage):
    """A folder on this machine: files are written under temporary names, synchronised, then renamed."""

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.abspath(path))
        self.location = str(self._path)

    @property
    def is_local(self) -> bool:
        return True

    @property
    def path(self) -> Path:
        return self._path

    def __truediv__(self, name: str) -> "Folder":
        return Folder(self._path / check_name(name))

    def read(self, name: str) -> bytes:
        return (self._path / check_name(name)).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        with self._written(name, content) as temporary:
            os.replace(temporary, self._path / name)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path / check_name(name)
        if path.exists():
            return False
        with self._written(name, content) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                # A file system without links: the empty file claims the name, then the content replaces it.
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                except FileExistsError:
                    return False
                os.replace(temporary, path)
        return True

    def exists(self, name: str) -> bool:
        return os.path.lexists(self._path / check_name(name))

    def names(self) -> list[str]:
        try:
            return sorted(filter(is_name, os.listdir(self._path)))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        path = self._path / check_name(name)
        if path.is_dir() and not path.is_symlink():
            gone = self._path / temporary_name(name)
            with suppress(FileNotFoundError):
                path.rename(gone)  # whole or absent for whoever looks meanwhile
                shutil.rmtree(gone, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def put(self, name: str, source: Path, last: str = "") -> None:
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        with write_atomically(self._path / check_name(name)) as temporary:
            # Not shutil.copytree: its error hides that the disk is full.
            for path in [source, *source.rglob("*")]:
                copy = temporary / path.relative_to(source)
                copy.mkdir() if path.is_dir() else shutil.copyfile(path, copy)
            for path in [temporary, *temporary.rglob("*")]:
                _synchronise(path)
        _synchronise(self._path)

    @contextmanager
    def local(self) -> Iterator[Path]:
        if not self._path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
        yield self._path

    def size_bytes(self, name: str) -> int:
        path = self._path / check_name(name)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if not file.is_dir())

    def sweep_away(self, older_than_s: float) -> None:
        for path in self._path.iterdir() if self._path.is_dir() else ():
            with suppress(FileNotFoundError):  # another process was faster
                if TEMPORARY.fullmatch(path.name) and time.time() - path.lstat().st_mtime > older_than_s:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    @contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """A temporary file with the content, safe on the disk; what the block makes of it is made safe, too."""
        temporary = self._path / temporary_name(name)
        self._path.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
            _synchronise(self._path)
        except OSError as error:
            error.filename = error.filename or str(self._path / name)  # writing names none
            raise
        finally:
            temporary.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Have the system write a file or folder to the disk; file systems that cannot do it for folders do not matter."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)
