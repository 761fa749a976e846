"""The corpora of a sweep as it knew them, as far as they are to be had without much ado."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.options import SweepOptions
from tuner.reporting.gather import Gathered

if TYPE_CHECKING:
    from data_prep.shards import Corpus
    from data_prep.transfer import Progress

_CHECKSUM = re.compile(r"[0-9a-f]{64}")


def opened(sweep: Gathered, shards: str | Path | None, progress: "Progress | None") -> "list[Corpus]":
    """The sweep's corpora as it knew them; Refused where one is not at hand or was prepared anew."""
    from data_prep.remote_corpora import at_hand
    from data_prep.shards import Corpus
    from tuner.prepared import refuse_unknown

    names = [str(name) for name in sweep.file.options.get("corpora") or ()]
    where = shards if shards is not None else str(sweep.file.options.get("shards", SweepOptions.shards))
    if not names:
        raise Refused("the sweep's folder names no corpora")
    folders = [] if Storage.at(where).is_local else _cached(sweep, names)
    if not folders and shards is None and not Storage.at(where).is_local:
        raise Refused(
            f"{', '.join(names)} in {where} would have to be fetched to this machine first; --shards {where} does that"
        )
    if not folders:
        for name in names:
            refuse_unknown(name, where)
        folder = at_hand(where, names, progress=progress)
        folders = [folder / name for name in names]
    corpora = [Corpus.open(folder, verify=False) for folder in folders]
    for name, corpus in zip(names, corpora, strict=True):
        if sweep.file.manifests.get(name) != corpus.checksum:
            raise Refused(f"corpus {name!r} in {where} was prepared anew since the sweep began")
    return corpora


def _cached(sweep: Gathered, names: list[str]) -> list[Path]:
    """The folders of corpora that were fetched to this machine before, as the sweep knew them; none unless all were."""
    from data_prep.remote_corpora import cache_folder

    checksums = [str(sweep.file.manifests.get(name, "")) for name in names]
    folders = [cache_folder() / "shards" / of for of in checksums if _CHECKSUM.fullmatch(of)]
    return folders if len(folders) == len(names) and all(of.is_dir() for of in folders) else []
