"""Parts of a preparation: the tracks of one shard, prepared in one go by one worker, with a record of how it went.

A part leaves a shard, and in `parts/` its rows of the tables of tracks and onsets and, last, a record in JSON.
"""

import hashlib
import itertools
import json
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from data_prep.bounded import read_bounded
from data_prep.corpora import Track
from data_prep.corpora.track import UnknownLabels
from data_prep.decoding import crashing
from data_prep.files import checksum, disk_space, is_disk_full, write_atomically, write_json
from data_prep.framing import FramedTrack, frame_track
from data_prep.manifest import SPLITS, Moments
from data_prep.refused import Refused, reason_of
from data_prep.shards import TRACKS_SCHEMA, ShardWriter
from data_prep.spectrogram import BANDS

# Enough shards to keep workers busy on a small corpus, few enough to have all of a large one open.
TRACKS_A_SHARD, FEWEST_SHARDS, MOST_SHARDS = 64, 16, 512
BESIDE = {  # modules that no shard hangs on
    *("check", "clicks", "colours", "job", "onset_table", "options", "pictures", "show"),
    *("folder", "local_ray", "object_store", "remote_corpora", "remote_prep", "storage", "transfer", "workers"),
}
MAX_RECORD_BYTES = 256 * 2**20  # every track refused at length
TABLES = {
    "tracks": TRACKS_SCHEMA,
    "onsets": pa.schema(
        [("track", pa.string()), ("time_s", pa.float64()), ("class", pa.int8()), ("velocity", pa.float32())]
    ),
}


@dataclass(frozen=True)
class Part:
    """The tracks of one shard, all of one split, and where it goes."""

    name: str
    folder: Path
    classes: tuple[str, ...]
    tracks: tuple[Track, ...]
    bands: int = BANDS

    @property
    def shard(self) -> Path:
        """The shard's file."""
        return self.folder / f"{self.name}.arrow"

    def table(self, of: str) -> Path:
        """The part's rows of a table ("tracks" or "onsets")."""
        return self.folder / "parts" / f"{self.name}.{of}.parquet"

    @property
    def record(self) -> Path:
        """What is known of the finished part."""
        return self.folder / "parts" / f"{self.name}.json"

    @property
    def begun(self) -> Path:
        """There while the part is prepared: a process that dies leaves it behind."""
        return self.folder / "parts" / f".{self.name}.begun"

    def key(self) -> str:
        """Changes when a track, the size or time of a file it is made from, or the code of the preparation changes."""
        recordings = [track.recording for track in self.tracks]
        paths = sorted({path for recording in recordings for path in (*recording.sources, *recording.materials)})
        stamps = [stamp for path in paths for stamp in stamps_below(path)]
        described = repr((code_checksum(), self.bands, self.classes, self.tracks, stamps))
        return hashlib.sha256(described.encode()).hexdigest()

    def finished(self) -> dict[str, Any] | None:
        """The record of an earlier run, if it still fits and the files' bytes are what they were."""
        try:
            record = json.loads(read_bounded(self.record, MAX_RECORD_BYTES, "record", "it is made again"))
            fits = record.pop("itself") == _digest(record) and record["key"] == self.key()
            fits = fits and record["checksums"] == self._checksums()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return record if fits else None

    def _checksums(self) -> dict[str, str]:
        paths = (self.shard, *(self.table(name) for name in TABLES))
        return {path.name: checksum(path) for path in paths if path.is_file()}  # a pipe would be waited for

    def prepare(self) -> dict[str, Any]:
        """Prepare the tracks and leave the record; memory holds one track at a time.

        Where a process died over the part before, tracks whose audio crashes its decoder are refused.
        """
        with disk_space(self.folder):
            audio = [path for track in self.tracks for path in track.recording.audio] if self.begun.exists() else []
            crashes = crashing(audio)
            self.begun.touch()
            try:
                return self._prepare(crashes)
            finally:
                self.begun.unlink(missing_ok=True)

    def _prepare(self, crashes: dict[Path, str]) -> dict[str, Any]:
        began = time.perf_counter()
        refused: list[dict[str, str]] = []
        notes, unknown = Counter[str](), Counter[str]()
        moments, labels = Moments(), 0
        key = self.key()  # before anything is read: what changes meanwhile is noticed by the next run
        rows: list[dict[str, Any]] = []
        onsets: list[pa.Table] = []
        with write_atomically(self.shard) as temporary, ShardWriter(temporary, self.bands, len(self.classes)) as writer:
            for track in self.tracks:
                try:
                    check_decoder(track, crashes)
                    framed = frame_track(track, len(self.classes))
                except Exception as reason:  # whatever is wrong with one track, it never stops a corpus
                    if is_disk_full(reason):
                        raise
                    if isinstance(reason, UnknownLabels):
                        labels += reason.labels
                        unknown += reason.unknown
                    if isinstance(reason, OSError | MemoryError):
                        key = ""  # that may pass: the next run tries again
                    refused.append({"id": track.id, "split": track.split, "reason": reason_of(reason, track.id)})
                    continue
                first_byte = writer.write(framed.bands, framed.targets)
                moments += Moments.of(framed.bands)
                labels += framed.labels
                unknown += framed.unknown
                notes += framed.left_out
                onsets.append(_onset_table(framed))
                rows.append({**framed.row, "shard": self.shard.name, "first_byte": first_byte})
        tables = {
            "tracks": pa.Table.from_pylist(rows, TABLES["tracks"]),
            "onsets": pa.concat_tables([TABLES["onsets"].empty_table(), *onsets]),
        }
        for name, table in tables.items():
            with write_atomically(self.table(name)) as temporary:
                parquet.write_table(table, temporary)
        record = {
            "key": key,
            "checksums": self._checksums(),
            "split": self.tracks[0].split,
            **{name: sum(row[name] for row in rows) for name in ("frames", "windows", "seconds")},
            "tracks": len(rows),
            "onsets": np.sum([row["onsets_per_class"] for row in rows] or [[0] * len(self.classes)], axis=0).tolist(),
            "refused": refused,
            "notes": notes,
            "labels": labels,
            "unknown": unknown,
            "moments": asdict(moments),
            "took_s": time.perf_counter() - began,
        }
        if self.record.is_dir() and not self.record.is_symlink():  # damaged beyond words
            shutil.rmtree(self.record)
        write_json(self.record, {**record, "itself": _digest(record)})
        return record


def check_decoder(track: Track, crashes: dict[Path, str]) -> None:
    """Refused where audio of the track is among the files that crash their decoder."""
    for path in track.recording.audio:
        if path in crashes:
            raise Refused(
                f"{path} crashes its decoder ({crashes[path]}); it is damaged, or not what its suffix says: convert it "
                "anew or download it again"
            )


def _digest(record: dict[str, Any]) -> str:
    """What tells a damaged record."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _onset_table(framed: FramedTrack) -> pa.Table:
    onsets = framed.onsets
    velocities = pa.array(onsets.velocities.astype(np.float32), from_pandas=True)  # NaN becomes null
    columns = [pa.array([framed.row["id"]] * len(onsets)), onsets.times_s, onsets.classes.astype(np.int8), velocities]
    return pa.table(columns, schema=TABLES["onsets"])


def stamps_below(path: Path) -> list[tuple[str, int, int]]:
    """(path, bytes, time of change) of a file, or of all files in a folder; none where there is nothing."""
    stamps = []
    for file in sorted(path.rglob("*")) if os.path.isdir(path) else [path]:
        with suppress(OSError):  # gone meanwhile, links that loop, names that are too long: whoever reads it says so
            status = file.stat()
            if stat.S_ISREG(status.st_mode):
                stamps.append((str(file), status.st_size, status.st_mtime_ns))
    return stamps


@cache
def code_checksum() -> str:
    """Of the code and the tables that shape what is prepared: other code may make other shards."""
    folder = Path(__file__).parent
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".py", ".json") and path.relative_to(folder).with_suffix("").as_posix() not in BESIDE
    ]
    return hashlib.sha256("".join(map(checksum, files)).encode()).hexdigest()


def plan_parts(tracks: Iterable[Track], folder: Path, classes: tuple[str, ...], bands: int = BANDS) -> list[Part]:
    """Tracks in the order of split and id, cut into shards; a shard holds tracks of one split."""
    ordered = sorted(tracks, key=lambda track: (SPLITS.index(track.split), track.id))
    doubled = [track_id for track_id, count in Counter(track.id for track in ordered).items() if count > 1]
    assert not doubled, f"a corpus module yielded {doubled[:3]} twice"
    size = max(min(TRACKS_A_SHARD, -(-len(ordered) // FEWEST_SHARDS)), -(-len(ordered) // MOST_SHARDS))
    parts: list[Part] = []
    for _, of_split in itertools.groupby(ordered, key=lambda track: track.split):
        while batch := tuple(itertools.islice(of_split, size)):
            parts.append(Part(f"shard-{len(parts):05d}", folder, classes, batch, bands))
    return parts


def merge_tables(parts: Iterable[Part], of: str, path: Path) -> None:
    """One table of all parts' rows, atomically; memory holds the rows of one part."""
    with write_atomically(path) as temporary, parquet.ParquetWriter(temporary, TABLES[of]) as writer:
        for part in parts:
            writer.write_table(parquet.read_table(part.table(of)))


def tracks_of(parts: Iterable[Part], columns: list[str]) -> Iterator[dict[str, Any]]:
    """Some columns of the table of tracks, row by row."""
    for part in parts:
        yield from parquet.read_table(part.table("tracks"), columns=columns).to_pylist()
