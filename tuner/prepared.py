"""Prepared corpora, by name, in a folder or an object store."""

from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.refused import Refused, did_you_mean
from data_prep.storage import Storage

if TYPE_CHECKING:
    from data_prep.shards import Corpus


def refuse_unknown(corpus: str, shards: str | Path) -> None:
    """Refuse a corpus that lies prepared in ``shards`` under no such name; one the project knows may be prepared."""
    from data_prep.corpora import CORPORA
    from data_prep.manifest import MANIFEST

    folder = Storage.at(shards)
    if (folder.is_local and (folder.path / corpus / MANIFEST).is_file()) or corpus in CORPORA:
        return
    prepared = sorted(name for name in folder.names() if (folder / name).exists(MANIFEST))
    if corpus not in prepared:
        listed = f"choose from {', '.join(prepared)}, or run" if prepared else "nothing is prepared there: run"
        raise Refused(
            f"unknown corpus {corpus!r} in {shards}; {listed} `mirtune prep` first{did_you_mean(corpus, prepared)}"
        )


def open_corpus(name: str, shards: str | Path, *, verify: bool = True) -> "Corpus":
    """A prepared corpus of whatever name, with ``verify`` compared with its checksums; Refused where there is none."""
    from data_prep.remote_corpora import at_hand
    from data_prep.shards import Corpus

    refuse_unknown(name, shards)
    folder = at_hand(shards, [name], verify=verify)
    return Corpus.open(folder / name, verify=verify and Storage.at(shards).is_local)  # what was fetched is compared
