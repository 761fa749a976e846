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

TRACKS = "tracks.parquet"
COLUMNS = {"id", "split", "performance", "frames", "windows", "seconds", "sources", "checksums", "shard", "batch"}


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

    ``tracks`` is a table with at least COLUMNS.
    """

    def __init__(self, folder: Path, manifest: Manifest, tracks: pd.DataFrame) -> None:
        self.folder, self.manifest, self.tracks = folder, manifest, tracks
        self._readers: dict[str, pa.RecordBatchFileReader] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "Corpus":
        """Open a prepared corpus; its table's checksum, with ``verify`` every file's, is compared with the manifest's.

        Raises Refused where the corpus is not prepared, or a file is missing or damaged.
        """
        manifest = Manifest.load(folder)
        again = manifest.again(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if Path(name).name != name or not path.is_file():
                raise Refused(f"{path}, which {folder / MANIFEST} lists, is missing; {again}")
            if (verify or name == TRACKS) and checksum(path) != expected:
                raise Refused(f"{path} is damaged: its checksum is not the one in {folder / MANIFEST}; {again}")
        table = folder / TRACKS
        try:
            tracks = pd.read_parquet(table) if TRACKS in manifest.files else None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Refused(f"{table} is damaged ({error}); {again}") from error
        if tracks is None or not set(tracks) >= COLUMNS:
            raise Refused(f"{table} is not the table of tracks of {folder / MANIFEST}; {again}")
        if strays := sorted(set(tracks["shard"].astype(str)) - set(manifest.files)):
            raise Refused(f"{table} names {strays[0][:80]!r}, which is no file of {folder / MANIFEST}; {again}")
        splits = tracks.groupby("performance")["split"].nunique()
        if len(crossing := splits.index[splits > 1]):
            raise Refused(
                f"{table} has performance {crossing[0]!r} in several splits, so what is learned would be tested; "
                "correct the corpus's table of splits and prepare it again"
            )
        return cls(folder, manifest, tracks)

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
        reader = self._readers.get(row.shard) or self._reader(row.shard)
        try:
            batch = reader.get_batch(row.batch)
            batch.validate()  # that its columns lie within the file
            bands, targets = (column.flatten().to_numpy().reshape(row.frames, -1) for column in batch.columns)
        except (OSError, ValueError, IndexError, OverflowError, pa.ArrowException) as error:
            raise Refused(
                f"{self.folder / row.shard} does not hold track {row.id!r} as {self.folder / TRACKS} says; "
                f"{self.manifest.again(self.folder)}"
            ) from error
        return bands, targets

    def _reader(self, shard: str) -> pa.RecordBatchFileReader:
        """A shard, mapped; Refused where it is damaged."""
        path, again = self.folder / shard, self.manifest.again(self.folder)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Refused(f"{path} is damaged ({error}); {again}") from error
        if reader.schema != schema(self.manifest.bands, len(self.manifest.classes)):
            raise Refused(f"{path} holds other columns than {self.folder / MANIFEST} says; {again}")
        return self._readers.setdefault(shard, reader)

    def moments(self, split: str) -> Moments:
        """Moments of one split's values."""
        return self.manifest.splits[split].moments


def union_moments(corpora: Iterable[Corpus], split: str) -> Moments:
    """Exact moments of the union of several corpora's splits."""
    return sum((corpus.moments(split) for corpus in corpora if split in corpus.manifest.splits), Moments())
