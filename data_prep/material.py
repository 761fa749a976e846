"""What recordings and performances corpora are made of: those that share some are not apart, however they are named."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.refused import Refused

if TYPE_CHECKING:
    from data_prep.manifest import Manifest

# By the adapter that yields the tracks; of your own recordings (folder) only their manifest says where they lie.
MATERIAL = {
    "adtof_yt": {"adtof_yt"},
    "demo": {"demo"},
    "demo_stems": {"demo"},
    "demo_unseen": {"demo_unseen"},  # grooves in styles that demo lacks
    "egmd": {"gmd"},  # the performances of the Groove MIDI Dataset, recorded on other kits
    "enst": {"enst"},
    "enst_mdb": {"enst", "mdb"},
    "groove": {"gmd"},
    "groove_stems": {"gmd"},
    "mdb": {"mdb"},
    "music": {"music"},
    "sadtp": {"sadtp"},
    "slakh": {"slakh"},
}
_VOCABULARY = re.compile(r"-[0-9]+$")  # what a corpus's name ends with where it has another number of classes
_STEMS = "_stems"  # a corpus of this ending has the performances of the one without


def material_of(corpus: str, shards: str | Path | None = None) -> frozenset[str]:
    """What a prepared corpus is made of; two corpora have something in common where these sets have.

    By the manifest in ``shards``, a folder or a URI; by the corpus's name where that is not at hand.
    """
    manifest = None if shards is None else _manifest(corpus, shards)
    name = _VOCABULARY.sub("", corpus)
    found = {f"of the name {name.removesuffix(_STEMS)}"}
    if manifest is None:
        return frozenset(found | MATERIAL.get(name, set()))
    if manifest.adapter not in MATERIAL and manifest.source:
        found.add(f"in the folder {manifest.source}")
    return frozenset(found | MATERIAL.get(manifest.adapter, set()))


def _manifest(corpus: str, shards: str | Path) -> "Manifest | None":
    from data_prep.manifest import Manifest
    from data_prep.remote_corpora import remote_manifest
    from data_prep.storage import Storage

    try:
        folder = Storage.at(shards) / corpus
        return Manifest.load(folder.path) if folder.is_local else remote_manifest(folder, corpus)
    except (Refused, OSError):
        return None
