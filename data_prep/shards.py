"""Shards: tables of frames that are memory-mapped, and the manifest that says what is in them.

A corpus folder holds `shard-*.arrow` (Arrow IPC, uncompressed, one record batch a track: `bands` float16 x F and
`targets` uint8 x K halves a frame), `tracks.parquet`, `onsets.parquet` and, written last, `manifest.json`.
T frames, F bands, K classes.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data_prep.files import checksum, write_json
from data_prep.refused import Refused

SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of feature values; moments of a union are the sums of its parts' moments."""

    count: int = 0
    sum: float = 0.0
    sum_of_squares: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Moments of the values as stored (float16), added up in float64."""
        flat = values.astype(np.float64).ravel()
        # not flat @ flat: its last bits hang on the number of threads
        return cls(flat.size, float(flat.sum()), float(np.square(flat).sum()))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.sum + other.sum, self.sum_of_squares + other.sum_of_squares)

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.sum / max(self.count, 1)

    @property
    def deviation(self) -> float:
        """Standard deviation of the values; 1 where they do not vary, so that dividing by it is harmless."""
        return max(self.sum_of_squares / max(self.count, 1) - self.mean**2, 0.0) ** 0.5 or 1.0


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds: tracks, frames, seconds, moments of its values, onsets per class."""

    tracks: int
    frames: int
    seconds: float
    moments: Moments
    onsets: dict[str, int]


@dataclass(frozen=True)
class Manifest:
    """What a prepared corpus is: small, and written last, so a folder with a manifest is whole."""

    corpus: str
    classes: tuple[str, ...]
    features: str
    bands: int
    frames_per_s: int
    condition: str
    targets: str  # what the targets are; "onsets" for now, other tasks will bring others
    options: dict[str, Any]
    splits: dict[str, SplitSummary]
    files: dict[str, str]  # name -> SHA-256
    refused: tuple[dict[str, str], ...] = ()  # tracks that could not be used, and why
    notes: dict[str, int] = field(default_factory=dict)  # what was left out of used tracks, with counts
    versions: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write manifest.json, atomically."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read manifest.json; Refused where it is missing or damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise Refused(
                f"corpus {folder.name!r} is not prepared: there is no {path}; run `mirtune prep {folder.name} --shards "
                f"{folder.parent}` first"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for split, summary in content["splits"].items():
                content["splits"][split] = SplitSummary(**{**summary, "moments": Moments(**summary["moments"])})
            content["classes"], content["refused"] = tuple(content["classes"]), tuple(content["refused"])
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"{path} is damaged ({error!r}); delete {folder} and run `mirtune prep {folder.name}` again"
            ) from error


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
        return cls(folder, manifest, pd.read_parquet(folder / "tracks.parquet"))

    @property
    def checksum(self) -> str:
        """SHA-256 of the manifest, which names the checksums of everything else."""
        return checksum(self.folder / MANIFEST)

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
