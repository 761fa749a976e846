"""Parts of a preparation: the tracks of one shard, prepared in one go by one worker, with a record of how it went."""

import hashlib
import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.audio import SAMPLE_RATE_HZ
from data_prep.corpora import Track
from data_prep.files import checksum, disk_space, is_disk_full, write_atomically, write_json
from data_prep.onsets import ONSET, onset_frames, target_grid
from data_prep.refused import Refused
from data_prep.shards import SPLITS, Moments, ShardWriter
from data_prep.spectrogram import BANDS, FRAMES_PER_S, log_spectrogram

# Enough shards to keep workers busy on a small corpus, few enough files on a large one.
MOST_TRACKS_A_SHARD, SHARDS_WANTED = 64, 16
# An annotation of which more lies beyond its audio belongs to another recording.
MAX_BEYOND_END_SHARE = 0.1
CONDITION = "clean"


@dataclass(frozen=True)
class Part:
    """The tracks of one shard, and where it goes."""

    name: str
    folder: Path
    classes: tuple[str, ...]
    tracks: tuple[Track, ...]

    @property
    def shard(self) -> Path:
        """The shard's file."""
        return self.folder / f"{self.name}.arrow"

    @property
    def record(self) -> Path:
        """What is known of the finished shard."""
        return self.folder / "parts" / f"{self.name}.json"

    def key(self) -> str:
        """Changes when a track, the size or time of a file it is made from, or the code of the preparation changes."""
        recordings = [track.recording for track in self.tracks]
        paths = sorted({path for recording in recordings for path in (*recording.sources, *recording.materials)})
        stamps = [stamp for path in paths for stamp in stamps_below(path)]
        described = repr((code_checksum(), CONDITION, self.classes, self.tracks, stamps))
        return hashlib.sha256(described.encode()).hexdigest()

    def finished(self) -> dict[str, Any] | None:
        """The record of an earlier run, if it still fits and the shard's bytes are what they were."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            fits = record["key"] == self.key() and checksum(self.shard) == record["checksum"]
        except (OSError, ValueError, KeyError):
            return None
        return record if fits else None


def stamps_below(path: Path) -> list[tuple[str, int, int]]:
    """(path, bytes, time of change) of a file, or of all files in a folder; none where there is nothing."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


@cache
def code_checksum() -> str:
    """SHA-256 over the code and the tables of the preparation: other code may make other shards."""
    files = [path for path in sorted(Path(__file__).parent.rglob("*")) if path.suffix in (".py", ".json")]
    return hashlib.sha256("".join(map(checksum, files)).encode()).hexdigest()


def prepare_track(track: Track, classes: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any], Counter[str]]:
    """A track's bands (T, F) float16, targets (T, ``classes``) uint8, its row with its onsets, and what was left out.

    Raises Refused where the track cannot be used.
    """
    samples, onsets, notes = track.recording.read()
    bands = log_spectrogram(samples).astype(np.float16)
    inside = onset_frames(onsets.times_s) < len(bands)
    if not len(onsets):
        raise Refused(
            f"track {track.id} has an annotation without an onset; expected at least one: complete it or remove it"
        )
    if (beyond := int((~inside).sum())) > MAX_BEYOND_END_SHARE * len(onsets):
        raise Refused(
            f"track {track.id} has {beyond} of {len(onsets)} onsets after the end of its audio "
            f"({len(samples) / SAMPLE_RATE_HZ:.1f} s, last onset {onsets.times_s[-1]:.1f} s); the annotation "
            "is another recording's: pair them anew"
        )
    notes["onsets after the end"] += beyond
    merged = onsets[inside].merged()
    notes["onsets merged with their neighbour"] += int(inside.sum()) - len(merged)
    row = {
        "id": track.id,
        "split": track.split,
        "performance": track.performance,
        "frames": len(bands),
        "seconds": len(bands) / FRAMES_PER_S,
        "sources": [str(path) for path in track.recording.sources],
        "checksums": [checksum(path) for path in track.recording.sources],
        "onsets": [
            column.tolist() for column in (merged.times_s, merged.classes, np.nan_to_num(merged.velocities, nan=-1.0))
        ],
    }
    return bands, target_grid(merged, len(bands), classes), row, notes


def write_part(part: Part) -> dict[str, Any]:
    """Prepare the tracks of one shard and leave its record; memory holds one track at a time."""
    with disk_space(part.folder):
        return _write_part(part)


def _write_part(part: Part) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    notes = Counter[str]()
    moments = {split: Moments() for split in SPLITS}
    with write_atomically(part.shard) as temporary:
        with ShardWriter(temporary, BANDS, len(part.classes)) as writer:
            for track in part.tracks:
                try:
                    bands, targets, row, left_out = prepare_track(track, len(part.classes))
                except Exception as reason:  # whatever is wrong with one track, it never stops a corpus
                    if is_disk_full(reason):
                        raise
                    text = str(reason) if isinstance(reason, Refused) else f"{track.id}: {reason!r}"
                    refused.append({"id": track.id, "split": track.split, "reason": text})
                    continue
                writer.write(bands, targets)
                notes.update(left_out)
                moments[track.split] += Moments.of(bands)
                onsets = np.bincount(np.nonzero(targets == ONSET)[1], minlength=len(part.classes))
                rows.append({**row, "shard": part.shard.name, "batch": len(rows), "onsets_per_class": onsets.tolist()})
        digest = checksum(temporary)
    record = {
        "key": part.key(),
        "checksum": digest,
        "rows": rows,
        "refused": refused,
        "notes": +notes,
        "moments": {split: asdict(of) for split, of in moments.items()},
    }
    write_json(part.record, record)
    return record


def plan_parts(tracks: Iterable[Track], folder: Path, classes: tuple[str, ...]) -> list[Part]:
    """Tracks in the order of split and id, cut into shards; a shard holds tracks of one split."""
    ordered = sorted(tracks, key=lambda track: (SPLITS.index(track.split), track.id))
    doubled = [track_id for track_id, count in Counter(track.id for track in ordered).items() if count > 1]
    assert not doubled, f"a corpus module yielded {doubled[:3]} twice"
    size = min(MOST_TRACKS_A_SHARD, -(-len(ordered) // SHARDS_WANTED))
    parts: list[Part] = []
    for _, of_split in itertools.groupby(ordered, key=lambda track: track.split):
        while batch := tuple(itertools.islice(of_split, size)):
            parts.append(Part(f"shard-{len(parts):05d}", folder, classes, batch))
    return parts


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray quietly on this machine; does nothing if that is done."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
        )


def run_parts(parts: list[Part], workers: int | None) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Yield each part with its record as it is done: in this process for one worker, else on Ray."""
    if workers == 1 or not parts:
        yield from ((part, write_part(part)) for part in parts)
        return
    import ray

    start_ray()
    task = ray.remote(num_cpus=1, max_retries=2)(write_part)
    waiting = list(parts)
    running: dict[Any, Part] = {}
    at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    while waiting or running:
        while waiting and len(running) < at_once:
            part = waiting.pop(0)
            running[task.remote(part)] = part
        done, _ = ray.wait(list(running))
        for reference in done:
            try:
                record = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # what the worker said, without its traceback
            yield running.pop(reference), record
