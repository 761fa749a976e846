"""The table of onsets of a prepared corpus: a row an onset, as its targets hold them, with exact times."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet

from data_prep.files import checksum
from data_prep.manifest import MANIFEST
from data_prep.refused import Refused
from data_prep.shards import Corpus

ONSETS = "onsets.parquet"


def read_onsets(corpus: Corpus, columns: Sequence[str], filters: list[tuple[str, str, str]] | None = None) -> pa.Table:
    """Some of the columns track, time_s, class and velocity; Refused where the table is not the one prepared."""
    path = corpus.folder / ONSETS
    if not path.is_file() or checksum(path) != corpus.manifest.files.get(ONSETS):
        raise Refused(
            f"{path} is damaged: its checksum is not the one in {corpus.folder / MANIFEST}; "
            f"{corpus.manifest.again(corpus.folder)}"
        )
    # an id stands there once for each onset of its track: kept as words they would be gigabytes
    return parquet.read_table(path, columns=list(columns), filters=filters, read_dictionary=["track"])
