"""Prepared corpora in an object store: each is fetched once to every machine, into a cache, and read from there.

The cache holds a corpus under its manifest's checksum, so one that is prepared anew is another, and whoever reads the
old one goes on reading it. What a command reads is a folder of links, from the corpora's names to the cached ones.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prep.files import checksum, disk_space
from data_prep.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest
from data_prep.object_store import ObjectStore
from data_prep.refused import Refused
from data_prep.storage import Storage, is_name
from data_prep.transfer import Progress, Transfer

CACHE = "MIRTUNE_CACHE"
ATTEMPTS, PAUSE_S = 3, 5.0  # of fetching a corpus: stores fail for a moment, and corpora are replaced


class _Passing(Exception):
    """What may pass: the store failed, or what it holds does not fit together at the moment."""


def at_hand(
    shards: str | Path, corpora: Sequence[str], *, verify: bool = False, progress: Progress | None = None
) -> Path:
    """A folder of this machine that holds the prepared corpora: ``shards`` itself, or what was fetched from a URI.

    What is fetched is compared with the manifest's checksums; with ``verify`` so is what was fetched before, and
    fetched again where it is damaged. Raises Refused where a corpus is not there or damaged, where the store cannot be
    read, and where the disk is full.
    """
    store = Storage.at(shards)
    if not isinstance(store, ObjectStore):
        return Path(shards) if "://" not in str(shards) else store.path
    cache = cache_folder() / "shards"
    with disk_space(cache):
        cache.mkdir(parents=True, exist_ok=True)
        cached = {name: _cached(store / name, name, cache, verify, progress) for name in corpora}
        return _view(cached, cache / "views")


def cache_folder() -> Path:
    """Where this machine keeps copies of what is in object stores: $MIRTUNE_CACHE, or ~/.cache/mirtune."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "mirtune").absolute()


def remote_manifest(folder: Storage, name: str) -> Manifest:
    """The manifest of a prepared corpus in a store; Refused where it is missing or damaged, OSError as the store's."""
    with tempfile.TemporaryDirectory() as beside:
        here = Path(beside) / name
        here.mkdir()
        with suppress(FileNotFoundError):
            size = folder.size_bytes(MANIFEST)
            content = folder.read(MANIFEST) if size <= MAX_MANIFEST_BYTES else bytes(MAX_MANIFEST_BYTES + 1)
            (here / MANIFEST).write_bytes(content)
        try:
            return Manifest.load(here)
        except Refused as refused:
            said = str(refused).replace(str(here), folder.location)
            raise Refused(said.replace(beside, folder.location.rpartition("/")[0])) from None


def _view(cached: dict[str, Path], views: Path) -> Path:
    """A folder of links to cached corpora, made at once."""
    key = hashlib.sha256(json.dumps({name: of.name for name, of in sorted(cached.items())}).encode()).hexdigest()
    view = views / key[:32]
    if not view.is_dir():
        temporary = views / f".{view.name}.{uuid.uuid4().hex[:8]}.part"
        temporary.mkdir(parents=True)
        for name, of in cached.items():
            (temporary / name).symlink_to(Path("..", "..", of.name))
        try:
            temporary.rename(view)
        except OSError:  # another process was faster
            if not view.is_dir():
                raise
            shutil.rmtree(temporary)
    return view


def _cached(store: ObjectStore, name: str, cache: Path, verify: bool, progress: Progress | None) -> Path:
    """The cached copy of one corpus, fetched where it is not there."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            manifest = remote_manifest(store, name)
            target = cache / manifest.checksum
            if target.is_dir() and not verify:
                return target
            with _alone(cache / f"{target.name}.lock", lambda: _tell_waiting(progress, name)):
                if not target.is_dir() or not _is_good(target, manifest):
                    _fetch(store, manifest, target, progress)
            return target
        except _Passing as passing:
            why = str(passing)
        except OSError as error:
            if error.errno is not None and not isinstance(error, FileNotFoundError):
                raise  # of this machine's disk
            why = str(error)
        if attempt < ATTEMPTS:
            time.sleep(PAUSE_S)
    raise Refused(
        f"corpus {name!r} cannot be fetched from {store.location} ({why[:400]}); check the store and the environment's "
        "AWS_* variables, or prepare the corpus there again"
    )


def _fetch(store: ObjectStore, manifest: Manifest, target: Path, progress: Progress | None) -> None:
    """Fetch what is not there yet; the folder gets its name when all is there."""
    partial = target.with_name(f"{target.name}.part")
    if target.is_dir():  # damaged: what is good in it is kept
        target.rename(partial)
    partial.mkdir(exist_ok=True)
    for half_fetched in partial.glob(".*.part"):  # by a process that was killed: this one is alone here
        half_fetched.unlink(missing_ok=True)
    sizes = store.sizes()
    for name in manifest.files:
        if not is_name(name) or Path(name).name != name:
            raise Refused(
                f"{store.location}/{MANIFEST} lists {name[:80]!r}, which is no file in its folder; prepare the corpus "
                "again, and do not trust whom this one came from"
            )
        if name not in sizes:
            raise _Passing(f"{store.location}/{name}, which its manifest lists, is missing")
    todo = {name: sizes[name] for name, of in manifest.files.items() if not _has(partial / name, of)}
    _refuse_without_room(partial, sum(todo.values()))

    def fetch(name: str, told: Callable[[int], None]) -> None:
        temporary = partial / f".{name}.{uuid.uuid4().hex[:8]}.part"
        try:
            store.fetch(name, temporary, told)
            if checksum(temporary) != manifest.files[name]:
                raise _Passing(f"{store.location}/{name} is not what its manifest says: its checksum is another")
            temporary.replace(partial / name)
        finally:
            temporary.unlink(missing_ok=True)

    Transfer(f"corpus {manifest.corpus}", todo, progress).run(fetch)
    manifest.save(partial)
    partial.rename(target)


def _is_good(target: Path, manifest: Manifest) -> bool:
    return all(_has(target / name, of) for name, of in manifest.files.items())


def _has(path: Path, expected: str) -> bool:
    return path.is_file() and checksum(path) == expected


def _refuse_without_room(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise Refused(
            f"{needed_bytes / 1e9:,.2f} GB are to be fetched and {free / 1e9:,.2f} GB are free in {folder}; free some, "
            f"or name a folder on a larger disk with {CACHE}"
        )


def _tell_waiting(progress: Progress | None, name: str) -> None:
    if progress:
        progress(0, 0, f"corpus {name}: another process fetches it, waiting")


@contextmanager
def _alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """One process at a time; the others wait, after they have said so."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems know no locks; files and folders appear whole all the same
            pass
        yield
