"""Shards: tables of frames that are memory-mapped, beside a manifest that says what is in them.

A corpus folder holds `shard-*.arrow` (Arrow IPC, uncompressed, one record batch a track: `bands` float16 x F and
`targets` uint8 x K halves a frame), `tracks.parquet`, `onsets.parquet` and, written last, `manifest.json`.
T frames, F bands, K classes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data_prep.files import checksum
from data_prep.manifest import MANIFEST, Manifest, Moments
from data_prep.refused import Refused


def schema(bands: int, classes: int) -> pa.Schema:
    """The columns of a shard: one row a frame."""
    return pa.schema([("bands", pa.list_(pa.float16(), bands)), ("targets", pa.list_(pa.uint8(), classes))])


class ShardWriter:
    """Writes one shard, a track at a time, so memory holds one track."""

    def __init__(self, path: Path, bands: int, classes: int) -> None:
        self._schema = schema(bands, classes)
        self._writer = pa.ipc.new_file(str(path), self._schema)

    def write(self, bands: np.ndarray, targets: np.ndarray) -> None:
        """Append a track: bands (T, F) float16, targets (T, K) uint8."""
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for values in (bands, targets)
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class Corpus:
    """A prepared corpus: its manifest, its table of tracks, and every track's frames as views of the mapped shards.

    ``tracks`` is a table with the columns id, split, shard, batch, frames, seconds, performance, sources, checksums.
    """

    def __init__(self, folder: Path, manifest: Manifest, tracks: pd.DataFrame) -> None:
        self.folder, self.manifest, self.tracks = folder, manifest, tracks
        self._readers: dict[str, pa.RecordBatchFileReader] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "Corpus":
        """Open a prepared corpus; with ``verify`` every file's checksum is compared with the manifest's.

        Raises Refused where the corpus is not prepared, or a file is missing or damaged.
        """
        manifest = Manifest.load(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            again = f"run `mirtune prep {manifest.corpus} --shards {folder.parent}` again: it redoes what is damaged"
            if Path(name).name != name or not path.is_file():
                raise Refused(f"{path}, which {folder / MANIFEST} lists, is missing; {again}")
            if verify and checksum(path) != expected:
                raise Refused(f"{path} is damaged: its checksum is not the one in {folder / MANIFEST}; {again}")
        corpus = cls(folder, manifest, pd.read_parquet(folder / "tracks.parquet"))
        corpus._check_tracks()
        return corpus

    def _check_tracks(self) -> None:
        """Refused where the table names a shard that is not the corpus's, or a performance crosses splits."""
        table = self.folder / "tracks.parquet"
        if strays := sorted(set(self.tracks["shard"]) - set(self.manifest.files)):
            raise Refused(
                f"{table} names {strays[0]!r}, which is no file of {self.folder / MANIFEST}; prepare it again"
            )
        splits = self.tracks.groupby("performance")["split"].nunique()
        if len(crossing := splits.index[splits > 1]):
            raise Refused(
                f"{table} has performance {crossing[0]!r} in several splits; what is learned would be tested: prepare "
                "it again from a table where each performance belongs to one split"
            )

    @property
    def checksum(self) -> str:
        """SHA-256 of the manifest, which names the checksums of everything else."""
        return self.manifest.checksum

    def rows(self, split: str) -> pd.DataFrame:
        """The tracks of one split, or of "all"; Refused where there are none."""
        rows = self.tracks if split == "all" else self.tracks[self.tracks["split"] == split]
        if rows.empty:
            held = ", ".join(name for name, summary in self.manifest.splits.items() if summary.tracks)
            raise Refused(f"corpus {self.manifest.corpus!r} has no {split} tracks; it holds {held or 'none at all'}")
        return rows

    def frames(self, row: Any) -> tuple[np.ndarray, np.ndarray]:
        """A track's bands (T, F) float16 and targets (T, K) uint8 halves, both views without a copy."""
        if row.shard not in self._readers:
            try:
                self._readers[row.shard] = pa.ipc.open_file(pa.memory_map(str(self.folder / row.shard)))
            except (OSError, pa.ArrowInvalid) as error:
                raise Refused(
                    f"{self.folder / row.shard} is damaged ({error}); run `mirtune prep {self.manifest.corpus}` again"
                ) from error
        batch = self._readers[row.shard].get_batch(row.batch)
        bands, targets = (column.flatten().to_numpy().reshape(len(batch), -1) for column in batch.columns)
        return bands, targets

    def moments(self, split: str) -> Moments:
        """Moments of one split's values."""
        return self.manifest.splits[split].moments


def union_moments(corpora: Iterable[Corpus], split: str) -> Moments:
    """Exact moments of the union of several corpora's splits."""
    return sum((corpus.moments(split) for corpus in corpora if split in corpus.manifest.splits), Moments())
