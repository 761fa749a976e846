"""Shards: tables of frames that are memory-mapped, beside a manifest that says what is in them.

A corpus folder holds `shard-*.arrow` (Arrow IPC, uncompressed, one record batch a track: `bands` float16 x F and
`targets` uint8 x K halves a frame), `tracks.parquet`, `onsets.parquet` and, written last, `manifest.json`. The table of
tracks says at which byte of its shard a track begins, so that opening a corpus of any number of tracks costs no object
for each of them. T frames, F bands, K classes.
"""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from data_prep.files import checksum
from data_prep.manifest import MANIFEST, MOST_COUNTED, Manifest, Moments
from data_prep.refused import Refused

if TYPE_CHECKING:
    import pandas as pd

TRACKS = "tracks.parquet"
TRACKS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "split", "performance")),
        *((name, pa.int64()) for name in ("frames", "windows")),
        ("seconds", pa.float64()),
        *((name, pa.list_(pa.string())) for name in ("sources", "checksums")),
        ("fingerprint", pa.string()),
        ("onsets_per_class", pa.list_(pa.int64())),
        ("shard", pa.string()),
        ("first_byte", pa.int64()),
    ]
)
COLUMNS = set(TRACKS_SCHEMA.names) - {"fingerprint", "onsets_per_class"}  # those that are read
MOST_TABLE_BYTES = 1 << 31
ALIGNMENT_BYTES = 8  # of buffers in Arrow IPC


def schema(bands: int, classes: int) -> pa.Schema:
    """The columns of a shard: one row a frame."""
    return pa.schema([("bands", pa.list_(pa.float16(), bands)), ("targets", pa.list_(pa.uint8(), classes))])


def bytes_a_frame(bands: int, classes: int) -> int:
    """What a frame takes: its bands in float16 and its targets in uint8."""
    return 2 * bands + classes


def padded(size_bytes: Any) -> Any:
    """``size_bytes`` (a number or an array) as it is rounded up in the file."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class ShardWriter:
    """Writes one shard, a track at a time, so memory holds one track."""

    def __init__(self, path: Path, bands: int, classes: int) -> None:
        self._schema = schema(bands, classes)
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def write(self, bands: np.ndarray, targets: np.ndarray) -> int:
        """Append a track: bands (T, F) float16, targets (T, K) uint8. Returns the byte of the file it begins at."""
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for values in (bands, targets)
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        return int(self._file.tell() - padded(bands.nbytes) - padded(targets.nbytes))

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._writer.close()
        finally:  # of a full disk, too: an open file keeps its room there
            self._file.close()


def frames_at(
    content: np.ndarray, first_byte: int, frames: int, bands: int, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """A track's bands (T, F) and targets (T, K) as views of its shard's bytes."""
    of_bands = np.frombuffer(content, np.float16, frames * bands, first_byte)
    of_targets = np.frombuffer(content, np.uint8, frames * classes, first_byte + padded(of_bands.nbytes))
    return of_bands.reshape(frames, bands), of_targets.reshape(frames, classes)


def _read_tracks(path: Path, manifest: Manifest, again: str) -> pa.Table | None:
    """The table of tracks, its columns of the types they should have; None where it is another table.

    Raises Refused where it is damaged, or says what cannot be: numbers beyond any array, or more rows than counted.
    """
    try:
        described = parquet.read_metadata(path)
        size_bytes = sum(described.row_group(number).total_byte_size for number in range(described.num_row_groups))
        if not set(described.schema.to_arrow_schema().names) >= COLUMNS:
            return None
        tracks = sum(split.tracks for split in manifest.splits.values())
        if described.num_rows != tracks or not 0 <= size_bytes <= MOST_TABLE_BYTES:
            raise Refused(
                f"{path} has {described.num_rows:,} rows of {size_bytes:,} bytes for {tracks:,} tracks; {again}"
            )
        table = parquet.read_table(path)
        for name in COLUMNS:
            column = table[name].cast(TRACKS_SCHEMA.field(name).type)
            table = table.set_column(table.column_names.index(name), name, column)
        extremes = [compute.min_max(table[name]).as_py() for name in ("frames", "first_byte")]
        if any(of["min"] is not None and not -MOST_COUNTED < of["min"] <= of["max"] < MOST_COUNTED for of in extremes):
            raise Refused(f"{path} has frames or places that no shard can hold; {again}")
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"{path} is damaged ({error}); {again}") from error
    return table


class Corpus:
    """A prepared corpus: its manifest, its table of tracks, and every track's frames as views of the mapped shards.

    ``table`` has at least COLUMNS; ``tracks`` is the same for pandas.
    """

    def __init__(self, folder: Path, manifest: Manifest, table: pa.Table) -> None:
        self.folder, self.manifest, self.table = folder, manifest, table
        self._mapped: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "Corpus":
        """Open a prepared corpus; its table's checksum, with ``verify`` every file's, is compared with the manifest's.

        Raises Refused where the corpus is not prepared, or a file is missing or damaged.
        """
        manifest = Manifest.load(folder)
        again = manifest.again(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if Path(name).name != name or not os.path.isfile(path):  # False for names that no file can have
                raise Refused(f"{path}, which {folder / MANIFEST} lists, is missing; {again}")
            if (verify or name == TRACKS) and checksum(path) != expected:
                raise Refused(f"{path} is damaged: its checksum is not the one in {folder / MANIFEST}; {again}")
        path = folder / TRACKS
        table = _read_tracks(path, manifest, again) if TRACKS in manifest.files else None
        if table is None:
            raise Refused(f"{path} is not the table of tracks of {folder / MANIFEST}; {again}")
        sums = table.group_by("split").aggregate([("split", "count"), ("frames", "sum")]).to_pylist()
        held = {row["split"]: (row["split_count"], row["frames_sum"]) for row in sums}
        if held != {name: (of.tracks, of.frames) for name, of in manifest.splits.items() if of.tracks}:
            raise Refused(f"{path} has other splits than {folder / MANIFEST} counts ({str(held)[:100]}); {again}")
        if strays := sorted(set(map(str, compute.unique(table["shard"]).to_pylist())) - set(manifest.files)):
            raise Refused(f"{path} names {strays[0][:80]!r}, which is no file of {folder / MANIFEST}; {again}")
        splits = table.group_by("performance").aggregate([("split", "count_distinct")])
        crossing = splits.filter(compute.greater(splits["split_count_distinct"], 1))["performance"]
        if len(crossing):
            raise Refused(
                f"{path} has performance {crossing[0].as_py()!r} in several splits, so what is learned would be "
                "tested; correct the corpus's table of splits and prepare it again"
            )
        return cls(folder, manifest, table)

    @cached_property
    def tracks(self) -> "pd.DataFrame":
        """The table of tracks."""
        return self.table.to_pandas()

    def __getstate__(self) -> dict[str, Any]:
        """Whoever gets it maps the shards itself: pickled, they would travel whole."""
        return {**self.__dict__, "_mapped": {}}

    @property
    def checksum(self) -> str:
        """SHA-256 of the manifest, which names the checksums of everything else."""
        return self.manifest.checksum

    def require(self, split: str) -> None:
        """Refused where one split, or "all", has no tracks."""
        held = [name for name, summary in self.manifest.splits.items() if summary.tracks]
        if split not in held and not (split == "all" and held):
            shown = ", ".join(held) or "none at all"
            instead = "; --split all takes these" if split == "test" and held else ""
            raise Refused(f"corpus {self.manifest.corpus!r} has no {split} tracks; it holds {shown}{instead}")

    def rows(self, split: str) -> "pd.DataFrame":
        """The tracks of one split, or of "all"; Refused where there are none."""
        self.require(split)
        return self.tracks if split == "all" else self.tracks[self.tracks["split"] == split]

    def frames(self, row: Any) -> tuple[np.ndarray, np.ndarray]:
        """A track's bands (T, F) float16 and targets (T, K) uint8 halves, both views without a copy."""
        content, first = self.mapped(row.shard), int(row.first_byte)
        if not self.holds(row.shard, first, row.frames):
            raise self.not_there(row.shard, row.id)
        return frames_at(content, first, row.frames, self.manifest.bands, len(self.manifest.classes))

    def holds(self, shard: str, first_byte: Any, frames: Any) -> Any:
        """Whether tracks (numbers or arrays of them) lie within a shard."""
        end = first_byte + padded(2 * frames * self.manifest.bands) + frames * len(self.manifest.classes)
        aligned = first_byte % ALIGNMENT_BYTES == 0
        return (first_byte >= 0) & (frames > 0) & aligned & (end <= len(self.mapped(shard)))

    def not_there(self, shard: str, track: str) -> Refused:
        """What to raise where ``holds`` says no."""
        return Refused(
            f"{self.folder / shard} does not hold track {track!r} as {self.folder / TRACKS} says; "
            f"{self.manifest.again(self.folder)}"
        )

    def mapped(self, shard: str) -> np.ndarray:
        """A shard's bytes, mapped; Refused where it is damaged."""
        if shard in self._mapped:
            return self._mapped[shard]
        path, again = self.folder / shard, self.manifest.again(self.folder)
        try:
            buffer = pa.memory_map(str(path)).read_buffer()
            found = pa.ipc.open_file(buffer).schema
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Refused(f"{path} is damaged ({error}); {again}") from error
        if found != schema(self.manifest.bands, len(self.manifest.classes)):
            raise Refused(f"{path} holds other columns than {self.folder / MANIFEST} says; {again}")
        return self._mapped.setdefault(shard, np.frombuffer(buffer, np.uint8))

    def moments(self, split: str) -> Moments:
        """Moments of one split's values."""
        return self.manifest.splits[split].moments


def union_moments(corpora: Iterable[Corpus], split: str) -> Moments:
    """Exact moments of the union of several corpora's splits."""
    return sum((corpus.moments(split) for corpus in corpora if split in corpus.manifest.splits), Moments())
