"""The preparation job: any corpus to shards, in parallel over shards, continuing where it was stopped.

A shard's tracks are fixed by the list of tracks alone, so the layout is the same for any number of workers. Each
finished shard leaves a record in `parts/`; a shard is made again only if its record does not fit the tracks, their
source files and the front end as they are now. `manifest.json` comes last.
"""

import hashlib
import itertools
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.classes import DRUM_CLASSES
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.files import checksum, write_atomically, write_json
from data_prep.onsets import MERGE_WITHIN_S, ONSET, onset_frames, target_grid
from data_prep.refused import Refused
from data_prep.shards import MANIFEST, SPLITS, Manifest, Moments, ShardWriter, SplitSummary
from data_prep.spectrogram import BANDS, FEATURES, FRAMES_PER_S, log_spectrogram

# Enough shards to keep workers busy on a small corpus, few enough files on a large one.
MOST_TRACKS_A_SHARD, SHARDS_WANTED = 64, 16
# An annotation of which more lies beyond its audio belongs to another recording.
MAX_BEYOND_END_SHARE = 0.1
CONDITION = "clean"
Progress = Callable[[int, int, str], None]  # tracks done, tracks in all, what was just done


@dataclass(frozen=True)
class Part:
    """The tracks of one shard, and where it goes."""

    name: str
    folder: Path
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
        described = repr((FEATURES, CONDITION, DRUM_CLASSES, MERGE_WITHIN_S, version_of("mirtune"), self.tracks, stamps))
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


def prepare_track(track: Track) -> tuple[np.ndarray, np.ndarray, dict[str, Any], Counter[str]]:
    """A track's bands (T, F) float16, targets (T, K) uint8, its row with its onsets, and what was left out.

    Raises Refused where the track cannot be used.
    """
    samples, onsets, notes = track.recording.read()
    bands = log_spectrogram(samples).astype(np.float16)
    inside = onset_frames(onsets.times_s) < len(bands)
    if not len(onsets):
        raise Refused(f"track {track.id} has an annotation without a single onset; expected at least one: complete it or remove it")
    if (beyond := int((~inside).sum())) > MAX_BEYOND_END_SHARE * len(onsets):
        raise Refused(
            f"track {track.id} has {beyond} of {len(onsets)} onsets after the end of its audio "
            f"({len(samples) / 44_100:.1f} s, last onset {onsets.times_s[-1]:.1f} s); the annotation is of another recording: "
            "pair them anew"
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
        "onsets": [column.tolist() for column in (merged.times_s, merged.classes, np.nan_to_num(merged.velocities, nan=-1.0))],
    }
    return bands, target_grid(merged, len(bands), len(DRUM_CLASSES)), row, notes


def write_part(part: Part) -> dict[str, Any]:
    """Prepare the tracks of one shard and leave its record; memory holds one track at a time."""
    rows, refused, notes = [], [], Counter[str]()
    moments = {split: Moments() for split in SPLITS}
    with write_atomically(part.shard) as temporary:
        with ShardWriter(temporary, BANDS, len(DRUM_CLASSES)) as writer:
            for track in part.tracks:
                try:
                    bands, targets, row, left_out = prepare_track(track)
                except Refused as reason:
                    refused.append({"id": track.id, "split": track.split, "reason": str(reason)})
                    continue
                writer.write(bands, targets)
                notes.update(left_out)
                moments[track.split] += Moments.of(bands)
                onsets = np.bincount(np.nonzero(targets == ONSET)[1], minlength=len(DRUM_CLASSES))
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


def plan_parts(tracks: Iterable[Track], folder: Path) -> list[Part]:
    """Tracks in the order of split and id, cut into shards; a shard holds tracks of one split."""
    ordered = sorted(tracks, key=lambda track: (SPLITS.index(track.split), track.id))
    doubled = [track_id for track_id, count in Counter(track.id for track in ordered).items() if count > 1]
    assert not doubled, f"a corpus module yielded {doubled[:3]} twice"
    size = min(MOST_TRACKS_A_SHARD, -(-len(ordered) // SHARDS_WANTED))
    parts: list[Part] = []
    for _, of_split in itertools.groupby(ordered, key=lambda track: track.split):
        while batch := tuple(itertools.islice(of_split, size)):
            parts.append(Part(f"shard-{len(parts):05d}", folder, batch))
    return parts


def check_splits(tracks: Iterable[Track]) -> None:
    """Refused where tracks of one performance stand in different splits."""
    split_of: dict[str, str] = {}
    for track in tracks:
        if split_of.setdefault(track.performance, track.split) != track.split:
            raise Refused(
                f"performance {track.performance!r} stands in the splits {split_of[track.performance]} and {track.split}; "
                "a performance belongs to one split: correct the corpus's table"
            )


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray quietly on this machine; does nothing if that is done."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False if "RAY_ADDRESS" not in os.environ else None)


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


def prepare(
    corpus: str, *, source: Path | None, shards: Path, options: PrepOptions | None = None, progress: Progress | None = None
) -> Manifest:
    """Prepare a corpus into ``shards / corpus`` and return its manifest.

    Finished shards of an earlier run are kept where their sources did not change. Raises Refused on an unknown
    corpus, a missing source folder, a corpus without tracks, or one whose every track was refused.
    """
    options = options or PrepOptions()
    if corpus not in CORPORA:
        raise Refused(f"unknown corpus {corpus!r}; choose from {', '.join(sorted(CORPORA))}")
    described = CORPORA[corpus]
    check_source(described, source)
    tracks = list(described.tracks(source, options))
    check_splits(tracks)
    folder = shards / corpus
    (folder / MANIFEST).unlink(missing_ok=True)  # from here on the folder is not whole
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    parts = plan_parts(tracks, folder)
    records = {part.name: record for part in parts if (record := part.finished())}
    done = sum(len(part.tracks) for part in parts if part.name in records)
    report = progress or (lambda *_: None)
    report(done, len(tracks), f"{len(records)} of {len(parts)} shards are there already" if records else "")
    for part, record in run_parts([part for part in parts if part.name not in records], options.workers):
        records[part.name] = record
        done += len(part.tracks)
        report(done, len(tracks), part.name)
    return finish(described, options, folder, [records[part.name] for part in parts])


def check_source(described: CorpusSource, source: Path | None) -> None:
    """Refused where a corpus that needs a source folder got none, or one that is not there."""
    if not described.needs_source:
        return
    if source is None:
        raise Refused(f"corpus {described.name!r} ({described.title}) is read from a folder; give it with --source DIR")
    if not source.is_dir():
        raise Refused(f"--source {source} is no folder; expected the top folder of {described.title}: check the path")


def finish(described: CorpusSource, options: PrepOptions, folder: Path, records: list[dict[str, Any]]) -> Manifest:
    """Write the tables and, last, the manifest; remove shards that no longer belong."""
    rows = [row for record in records for row in record["rows"]]
    refused = tuple(entry for record in records for entry in record["refused"])
    if not rows:
        reason = refused[0]["reason"] if refused else "the corpus names no track"
        raise Refused(f"no track of corpus {described.name!r} could be prepared; the first reason: {reason}")
    names = {row["shard"] for row in rows}
    for stray in [*folder.glob("shard-*.arrow"), *(folder / "parts").glob("shard-*.json")]:
        if f"{stray.stem}.arrow" not in names:
            stray.unlink()
    tracks = pd.DataFrame([{key: value for key, value in row.items() if key != "onsets"} for row in rows])
    onsets = pd.concat(
        [
            pd.DataFrame({"track": row["id"], "time_s": times, "class": np.array(classes, np.int8), "velocity": velocities})
            for row in rows
            for times, classes, velocities in [row["onsets"]]
        ]
    )
    onsets["velocity"] = onsets["velocity"].where(onsets["velocity"] >= 0).astype(np.float32)
    for name, table in (("tracks.parquet", tracks), ("onsets.parquet", onsets)):
        with write_atomically(folder / name) as temporary:
            table.to_parquet(temporary, index=False)
    digests = {row["shard"]: record["checksum"] for record in records for row in record["rows"]}
    splits = {}
    for split in SPLITS:
        of_split = tracks[tracks["split"] == split]
        moments = reduce(Moments.__add__, (Moments(**record["moments"][split]) for record in records), Moments())
        counts = np.array(of_split["onsets_per_class"].tolist(), int).reshape(-1, len(DRUM_CLASSES)).sum(axis=0)
        splits[split] = SplitSummary(
            tracks=len(of_split),
            frames=int(of_split["frames"].sum()),
            seconds=float(of_split["seconds"].sum()),
            moments=moments,
            onsets=dict(zip(DRUM_CLASSES, counts.tolist(), strict=True)),
        )
    manifest = Manifest(
        corpus=described.name,
        classes=DRUM_CLASSES,
        features=FEATURES,
        bands=BANDS,
        frames_per_s=FRAMES_PER_S,
        condition=CONDITION,
        targets="onsets",
        options={
            **{key: value for key, value in asdict(options).items() if key in ("hours", "seed")},
            "kits": [str(path) for path in options.kits],
            "accompaniment": str(options.accompaniment or ""),
            "merged_within_s": MERGE_WITHIN_S,
        },
        splits=splits,
        files=digests | {name: checksum(folder / name) for name in ("tracks.parquet", "onsets.parquet")},
        refused=refused,
        notes=dict(sum((Counter(record["notes"]) for record in records), Counter())),
        versions={name: version_of(name) for name in ("mirtune", "numpy", "scipy", "soundfile", "pyarrow", "torchaudio")}
        | {"python": platform.python_version()},
    )
    manifest.save(folder)
    return manifest

