"""Parts of a preparation: the tracks of one shard, prepared in one go by one worker, with a record of how it went."""

import hashlib
import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.audio import SAMPLE_RATE_HZ
from data_prep.corpora import Track
from data_prep.files import checksum, disk_space, write_atomically, write_json
from data_prep.onsets import MERGE_WITHIN_S, ONSET, onset_frames, target_grid
from data_prep.refused import Refused
from data_prep.shards import SPLITS, Moments, ShardWriter
from data_prep.spectrogram import BANDS, FEATURES, FRAMES_PER_S, log_spectrogram

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
        """Changes when a track, the size or time of a source file, or the front end changes."""
        sources = sorted({path for track in self.tracks for path in track.recording.sources})
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources if path.is_file()]
        described = repr(
            (FEATURES, CONDITION, self.classes, MERGE_WITHIN_S, version_of("mirtune"), self.tracks, stamps)
        )
        return hashlib.sha256(described.encode()).hexdigest()

    def finished(self) -> dict[str, Any] | None:
        """The record of an earlier run, if it still fits and the shard's bytes are what they were."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            fits = record["key"] == self.key() and checksum(self.shard) == record["checksum"]
        except (OSError, ValueError, KeyError):
            return None
        return record if fits else None


def version_of(package: str) -> str:
    """Installed version of a package, or "unknown"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


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
                except Refused as reason:
                    refused.append({"id": track.id, "split": track.split, "reason": str(reason)})
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
            yield running.pop(reference), ray.get(reference)
