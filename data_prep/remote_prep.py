"""Preparing a corpus into an object store: on this machine first, then sent there, the manifest last.

What is prepared here stays, in the cache, so a job that is run again continues. While a corpus is sent it has no
manifest, and `sending.json` in its place: the files' checksums as they will be. Every object that is there then is as
that file says (objects appear whole, and others are removed before), so what was sent before is not sent again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data_prep import job
from data_prep.corpora import CORPORA, PrepOptions
from data_prep.files import alone
from data_prep.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest
from data_prep.object_store import ObjectStore
from data_prep.options import prepared_name
from data_prep.refused import Refused, check_known
from data_prep.remote_corpora import cache_folder, remote_manifest
from data_prep.storage import Storage, check_name
from data_prep.transfer import Progress, Transfer

SENDING = "sending.json"


def prepare(
    corpus: str,
    *,
    source: Path | None,
    shards: str | Path,
    options: PrepOptions | None = None,
    progress: job.Progress | None = None,
    sending: Progress | None = None,
) -> Manifest:
    """Prepare a corpus into ``shards``, a folder or a URI, and return its manifest; see `data_prep.job.prepare`.

    For a URI all is done on this machine. Raises Refused where that does, and where the store cannot be
    written or holds another corpus under the name.
    """
    options = options or PrepOptions()
    store = Storage.at(shards)
    if not isinstance(store, ObjectStore):
        folder = Path(shards) if "://" not in str(shards) else store.path
        return job.prepare(corpus, source=source, shards=folder, options=options, progress=progress)
    check_known("corpus", corpus, sorted(CORPORA))
    name = check_name(prepared_name(corpus, options))
    with _reached(store):
        _refuse_another(store / name, name, corpus)
        (store / name).probe()
    here = cache_folder() / "prepared" / hashlib.sha256(store.location.encode()).hexdigest()[:16]
    manifest = job.prepare(corpus, source=source, shards=here, options=options, progress=progress, here=True)
    with alone(here / f".{name}.lock", f"another process sends {name!r} to {store.location}"), _reached(store):
        send(here / name, manifest, store / name, sending)
    return manifest


def send(folder: Path, manifest: Manifest, store: ObjectStore, progress: Progress | None) -> None:
    """Make the corpus in the store the one in a folder of this machine; whatever of it is there already stays."""
    wanted = dict(manifest.files)
    held = _promised(store)
    sizes = store.sizes()
    here = {name: (folder / name).stat().st_size for name in wanted}
    good = {name for name in wanted if held.get(name) == wanted[name] and sizes.get(name) == here[name]}
    if good == set(wanted) and MANIFEST in sizes and _same(store, manifest):
        return
    store.write(SENDING, _in_json(held))  # before the manifest goes: what is there is still as this says
    store.remove(MANIFEST)
    for name in sizes:
        if "/" not in name and name not in (*good, MANIFEST, SENDING):
            store.remove(name)
    store.write(SENDING, _in_json(wanted))

    def move(name: str, told: Callable[[int], None]) -> None:
        told(0)
        store.put(name, folder / name)
        told(here[name])

    Transfer(f"corpus {manifest.corpus}", {name: here[name] for name in wanted if name not in good}, progress).run(move)
    if wrong := [name for name, size in store.sizes().items() if name in here and size != here[name]]:
        raise OSError(f"{store.location}/{wrong[0]} is not of the size that was sent; does somebody else send, too?")
    store.write(MANIFEST, (folder / MANIFEST).read_bytes())
    store.remove(SENDING)


def _promised(store: ObjectStore) -> dict[str, str]:
    """Name -> checksum of the objects that are known to be good, where they are there."""
    try:
        return dict(remote_manifest(store, store.location.rpartition("/")[2]).files)
    except Refused:  # none, or none that is worth keeping
        pass
    try:
        content = json.loads(store.read(SENDING)) if store.size_bytes(SENDING) <= MAX_MANIFEST_BYTES else None
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _same(store: ObjectStore, manifest: Manifest) -> bool:
    return remote_manifest(store, manifest.corpus).checksum == manifest.checksum


def _in_json(checksums: Mapping[str, str]) -> bytes:
    return json.dumps(checksums, indent=2).encode()


def _refuse_another(store: ObjectStore, name: str, corpus: str) -> None:
    """Refused where another corpus was prepared under the name."""
    try:
        held = remote_manifest(store, name)
    except Refused:  # nothing, or nothing that is worth keeping
        return
    if held.adapter != corpus:
        raise Refused(
            f"{store.location} holds corpus {held.adapter!r} ({held.title}), not {corpus!r}; give another --name, or "
            "remove that one first"
        )


@contextmanager
def _reached(store: ObjectStore) -> Iterator[None]:
    """Turn a failure of the store into Refused; errors of this machine's disk pass."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not isinstance(error, FileNotFoundError | InterruptedError):
            raise
        raise Refused(
            f"{store.location} fails ({str(error)[:400]}); check it and the environment's AWS_* variables, and run the "
            "same command again: what was sent is kept"
        ) from error
