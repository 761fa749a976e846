# ruff: noqa: D102 (what the methods do stands in Storage)
"""Storage in an object store, through pyarrow's filesystems.

pyarrow's output streams complete what they hold when they are closed, when an exception leaves their block and even
when they are collected as garbage, so a block that is left in the middle makes half an object. What is sent is
therefore at hand in memory (or mapped) before a stream is opened, and sent by a thread, which no signal interrupts.
Up to 5 MB travel in one request; more in parts that are put together by the last request.
"""

import errno
import itertools
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pyarrow as pa
from pyarrow import fs

from data_prep.refused import Refused
from data_prep.storage import TEMPORARY, Storage, check_name, is_name, temporary_name

OPTIONS = ("region", "endpoint_override", "scheme")  # that a URI may have after its ?
ONE_REQUEST_BYTES = 5_000_000  # so much pyarrow keeps before it sends parts
BLOCK_BYTES = 32 * 2**20  # fetched in one request
AT_ONCE = 4  # files of a folder that are sent
STALE_CLAIM_S = 30.0
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ObjectStore(Storage):
    """A folder in an object store: the objects whose keys begin with its own."""

    def __init__(self, scheme: str, parts: tuple[str, ...], query: str) -> None:
        self._scheme, self._parts, self._query = scheme, parts, query  # parts: the bucket, then the folders
        self.location = f"{scheme}://{quote('/'.join(parts), safe='/+=:,@~!()')}{'?' * bool(query)}{query}"
        self._opened: dict[str, fs.FileSystem] = {}

    @classmethod
    def of_uri(cls, uri: str) -> "ObjectStore":
        """The folder that a URI names; Refused where it holds a secret, an unknown option, or no good name."""
        split = urlsplit(uri)
        options = parse_qsl(split.query, keep_blank_values=True)
        if "@" in split.netloc or any("@" in value for _, value in options):
            raise Refused(
                f"the {split.scheme}:// URI holds credentials, which would stand in files and logs; leave out what "
                "stands before @ and give them by the environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if unknown := [key for key, _ in options if key not in OPTIONS]:
            raise Refused(f"{unknown[0][:40]!r} is no option of a storage URI; choose from {', '.join(OPTIONS)}")
        if not _BUCKET.fullmatch(split.netloc) or split.fragment:
            raise Refused(f"{uri[:200]!r} names no bucket; expected {split.scheme}://BUCKET/FOLDER")
        folders = unquote(split.path).strip("/")
        parts = (split.netloc, *map(check_name, folders.split("/") if folders else ()))
        return cls(split.scheme, parts, urlencode(options))

    def __truediv__(self, name: str) -> "ObjectStore":
        below = ObjectStore(self._scheme, (*self._parts, check_name(name)), self._query)
        below._opened = self._opened
        return below

    def __getstate__(self) -> dict[str, Any]:
        """Whoever gets it opens the store itself, with the secrets of its own environment."""
        return {**self.__dict__, "_opened": {}}

    @property
    def _store(self) -> fs.FileSystem:
        return self._open()

    def _open(self, option: str = "") -> fs.FileSystem:
        """The store, opened once; ``option``: one more than the URI has, as KEY=VALUE."""
        if option not in self._opened:
            options = "&".join(filter(None, (self._query, option)))
            try:
                self._opened[option], _ = fs.FileSystem.from_uri(f"{self._scheme}://{self._parts[0]}?{options}")
            except pa.ArrowInvalid as error:
                raise Refused(f"{self.location} cannot be opened ({error}); correct the URI") from error
        return self._opened[option]

    def _key(self, name: str = "") -> str:
        return "/".join((*self._parts, check_name(name)) if name else self._parts)

    def read(self, name: str) -> bytes:
        with self._store.open_input_file(self._key(check_name(name))) as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        self._send(self._key(check_name(name)), content)

    def create(self, name: str, content: bytes) -> bool:
        """Among those that create it at once, one finds its claim alone.

        Each puts a claim and looks for others' after that, so of two at least one sees the other, and both go back; the
        winner's claim goes after the file has come. That holds in stores whose lists show what was just written, as S3
        and Google's do. A claim of a killed process counts for 30 s.
        """
        for attempt in itertools.count():
            if self.exists(name):
                return False
            claim = temporary_name(name)
            claim_key = f"{self._key()}/{claim}"
            self._send(claim_key, b"")
            try:
                if self._alone(name, claim):
                    if self.exists(name):
                        return False
                    self.write(name, content)
                    return True
            finally:
                with suppress(FileNotFoundError):
                    self._store.delete_file(claim_key)
            time.sleep(random.uniform(0.02, min(0.1 * 2**attempt, 2.0)))
        raise AssertionError("unreachable")

    def _alone(self, name: str, claim: str) -> bool:
        """Whether no claim to a name but one is there; stale ones do not count."""
        pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.part")
        claims = [info for info in self._children() if pattern.fullmatch(info.base_name)]
        own = [info.mtime for info in claims if info.base_name == claim]
        others = [info.mtime for info in claims if info.base_name != claim]
        return bool(own) and not any((own[0] - of).total_seconds() < STALE_CLAIM_S for of in others)

    def _send(self, key: str, content: bytes | Path) -> None:
        """Make an object of bytes or of a file, in a thread."""
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._send_here, key, content).result()

    def _send_here(self, key: str, content: bytes | Path) -> None:
        """Make an object, in a thread that no signal interrupts; a file is mapped, so that reading cannot fail."""
        if isinstance(content, Path):
            content = pa.memory_map(str(content)).read_buffer() if content.stat().st_size else b""
        # pyarrow hangs for ever where the first request of a delayed upload in parts fails.
        small = self._scheme == "s3" and len(content) < ONE_REQUEST_BYTES
        stream = self._open("allow_delayed_open=true" if small else "").open_output_stream(key)
        # All at once: pyarrow copies what it has not sent yet, but in a flush after a part that failed it hangs.
        stream.write(content)
        stream.close()

    def exists(self, name: str) -> bool:
        return self._store.get_file_info(self._key(check_name(name))).type != fs.FileType.NotFound

    def names(self) -> list[str]:
        return sorted({info.base_name for info in self._children() if is_name(info.base_name)})

    def _children(self) -> list[fs.FileInfo]:
        return self._store.get_file_info(fs.FileSelector(self._key(), allow_not_found=True))

    def remove(self, name: str) -> None:
        info = self._store.get_file_info(self._key(check_name(name)))
        with suppress(FileNotFoundError):  # another process was faster
            if info.type == fs.FileType.Directory:
                self._store.delete_dir(info.path)
            elif info.type != fs.FileType.NotFound:
                self._store.delete_file(info.path)

    def put(self, name: str, source: Path, last: str = "") -> None:
        if not source.is_dir():
            self._send(self._key(check_name(name)), source)
            return
        folder = self / name
        paths = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}
        for relative in paths:
            for part in relative.split("/"):
                check_name(part)
        if last:
            folder.remove(last)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sending = [
                pool.submit(self._send_here, f"{folder._key()}/{relative}", path)
                for relative, path in paths.items()
                if relative != last
            ]
            for sent in sending:
                sent.result()
        if last:
            folder.put(last, source / last)
        for stray in set(folder.sizes()) - set(paths):
            self._store.delete_file(f"{folder._key()}/{stray}")

    @contextmanager
    def local(self) -> Iterator[Path]:
        sizes = self.sizes()
        if not sizes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location)
        with tempfile.TemporaryDirectory(prefix="mirtune-") as folder:
            for relative in sizes:
                path = Path(folder, *map(check_name, relative.split("/")))
                path.parent.mkdir(parents=True, exist_ok=True)
                self._receive(f"{self._key()}/{relative}", path, lambda _: None)
            yield Path(folder)

    def fetch(self, name: str, target: Path, told: Callable[[int], None] = lambda _: None) -> None:
        """Write an object's bytes to a file of this machine; each block's size is ``told`` when it has come."""
        self._receive(self._key(check_name(name)), target, told)

    def size_bytes(self, name: str) -> int:
        info = self._store.get_file_info(self._key(check_name(name)))
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.location}/{name}")
        return info.size if info.type == fs.FileType.File else sum((self / name).sizes().values())

    def sweep_away(self, older_than_s: float) -> None:
        now = datetime.now(UTC)
        for info in self._children():
            if TEMPORARY.fullmatch(info.base_name) and (now - info.mtime).total_seconds() > older_than_s:
                with suppress(FileNotFoundError):
                    self._store.delete_file(info.path)

    def sizes(self) -> dict[str, int]:
        """Every object of this folder and those in it, by its name from here on: its size in bytes."""
        found = self._store.get_file_info(fs.FileSelector(self._key(), allow_not_found=True, recursive=True))
        first = len(self._key()) + 1
        return {
            info.path[first:]: info.size
            for info in found
            if info.type == fs.FileType.File and not TEMPORARY.fullmatch(info.base_name)
        }

    def _receive(self, key: str, target: Path, told: Callable[[int], None]) -> None:
        with self._store.open_input_file(key) as source, target.open("wb") as file:
            while block := source.read(BLOCK_BYTES):
                file.write(block)
                told(len(block))
            if file.tell() != source.size():
                raise OSError(f"{key} ended after {file.tell():,} of {source.size():,} bytes")
