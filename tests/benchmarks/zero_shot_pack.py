"""What a GPU machine without a network needs, in few files: notes, kits, frames. T frames, F bands, K classes.

Stems of drums are rendered there, from notes and packed kits: they would be gigabytes. Corpora that are small travel as
the frames they were prepared into: the validation, what is scored at the end, and music (in 8 bits).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.kit_splits import split_kits
from data_prep.kits import KitRef, find_kits, load_kit
from data_prep.manifest import MUSIC, SPLITS, Manifest, Moments, SplitSummary, window_count
from data_prep.midi import Notes
from data_prep.packed_kits import RECORDINGS, TABLE, PackedKit, pack_kits, packed_kits, read_table, write_table
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused
from data_prep.shards import Corpus, ShardWriter

NOTES = "notes.arrow"
FILE_FRAMES = 1 << 17  # of a corpus: 22 minutes, 15 MB exactly and 6 MB in 8 bits
VALIDATION, SCORED, AROUND = "validation", "scored", "around"  # what a corpus is for; nothing is chosen by scored ones
LOUDEST = 4.0  # of a band's value: 80 dB
PART_BYTES = 56 << 20  # of what one call carries beside the repository


@dataclass(frozen=True)
class Excerpt:
    """A performance for training, or a part of it."""

    name: str
    notes: Notes


def pack(
    folder: Path, *, groove: Path, kits: Sequence[Path], shards: Path, validation: Sequence[str], scored: Sequence[str],
    music: Sequence[str], recordings_mib: float, music_hours: float,
) -> list[Path]:  # fmt: skip
    """Write everything into ``folder``/part-1, part-2, ..., each small enough for one call; the most needed first."""
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty; give a new folder, as its parts would be carried with these")
    whole = folder / "whole"
    pack_notes(groove, whole)
    pack_training_kits(kits, whole, round(recordings_mib * 2**20 / 2))
    named = [whole / NOTES, whole / TABLE]
    for name in validation:
        named += pack_corpus(shards / name, whole, VALIDATION, ("validation", "test"))
    named += sorted(whole.glob(RECORDINGS))
    for name in scored:
        named += pack_corpus(shards / name, whole, SCORED, SPLITS)
    for name in music:
        named += pack_corpus(shards / name, whole, AROUND, ("train",), music_hours / len(music))
    return parted(named, folder)


def parted(files: Sequence[Path], folder: Path) -> list[Path]:
    """Move files, in this order, into folders of at most PART_BYTES each."""
    parts: list[Path] = []
    held = math.inf
    for file in files:
        held += file.stat().st_size
        if held > PART_BYTES:
            parts.append(folder / f"part-{len(parts) + 1}")
            parts[-1].mkdir(parents=True, exist_ok=True)
            held = file.stat().st_size
        file.rename(parts[-1] / file.name)
    return parts


def pack_notes(groove: Path, folder: Path) -> None:
    """The training performances of the Groove MIDI Dataset, in excerpts."""
    from data_prep.corpora.groove import TABLE as INFO  # these need what a GPU machine lacks
    from data_prep.corpora.groove import excerpts, read_table

    rows = [row for row in read_table(groove / INFO) if row["split"] == "train"]
    found = [(name, excerpt.notes()) for row in rows for name, excerpt, _ in excerpts(row, groove, "train")]
    found = [(name, notes) for name, notes in found if len(notes)]
    columns: dict[str, Any] = {"name": [name for name, _ in found]}
    for of in ("times_s", "pitches", "velocities"):
        columns[of] = [getattr(notes, of) for _, notes in found]
    write_table(folder / NOTES, pa.table(columns))


def packed_excerpts(folder: Path) -> list[Excerpt]:
    """What ``pack_notes`` wrote."""
    columns = read_table(folder / NOTES).to_pydict()
    notes = zip(columns["times_s"], columns["pitches"], columns["velocities"], strict=True)
    return [
        Excerpt(name, Notes(np.array(times_s), np.array(pitches), np.array(velocities)))
        for name, (times_s, pitches, velocities) in zip(columns["name"], notes, strict=True)
    ]


def pack_training_kits(places: Sequence[Path], folder: Path, most_samples: int) -> list[str]:
    """The kits for training, first one of each family, then a second one, as many as ``most_samples`` allow."""
    by_family: dict[str, list[KitRef]] = {}
    for ref in split_kits(find_kits(places))["train"]:
        by_family.setdefault(ref.family, []).append(ref)
    order = filter(None, chain.from_iterable(zip_longest(*by_family.values())))
    return pack_kits((PackedKit(ref.family, "train", load_kit(ref)) for ref in order), folder, most_samples)


def packed_refs(folder: Path) -> tuple[KitRef, ...]:
    """The kits in ``folder``, loaded, to be drawn from."""
    kits = packed_kits(folder)
    return tuple(KitRef(name, of.family, folder, "packed", split=of.split) for name, of in kits.items())


def pack_corpus(source: Path, folder: Path, role: str, splits: Sequence[str], hours: float = math.inf) -> list[Path]:
    """Frames of a prepared corpus's splits, the tracks in an order by chance, ``hours`` of them; music in 8 bits."""
    corpus, coarse = Corpus.open(source), role == AROUND
    if (corpus.manifest.condition == MUSIC) != coarse:
        raise Refused(f"{source} is {corpus.manifest.condition}; expected music for --music, recordings elsewhere")
    rows = [row for row in corpus.tracks.itertuples() if row.split in splits]
    manifest = {"manifest": json.dumps(asdict(corpus.manifest)), "role": json.dumps(role)}
    written: list[Path] = []
    held: list[dict[str, Any]] = []
    left, frames = hours * 3600 * FRAMES_PER_S, 0

    def write() -> None:
        written.append(folder / f"corpus-{corpus.manifest.corpus}-{len(written):03d}.arrow")
        schema = pa.schema([(name, pa.large_binary() if isinstance(of, bytes) else pa.array([of]).type)
                            for name, of in held[0].items()], metadata=manifest)  # fmt: skip
        write_table(written[-1], pa.Table.from_pylist(held, schema))

    for number in np.random.default_rng(0).permutation(len(rows)):
        row = rows[number]
        if row.frames > left:
            continue
        left -= row.frames
        bands, targets = corpus.frames(row)
        held.append(
            {"id": row.id, "split": row.split, "performance": row.performance, "frames": row.frames,
             "bands": packed_bands(bands, coarse), "targets": np.ascontiguousarray(targets.T).tobytes()}
        )  # fmt: skip
        frames += row.frames
        if frames >= FILE_FRAMES:
            write()
            held, frames = [], 0
    if held:
        write()
    return written


def packed_bands(bands: np.ndarray, coarse: bool) -> bytes:
    """(T, F) float16 band after band; coarse: roots in 8 bits, else high bytes before low ones."""
    columns = np.ascontiguousarray(bands.T)
    if coarse:
        return np.round(np.sqrt(columns.astype(np.float32) / LOUDEST).clip(0, 1) * 255).astype(np.uint8).tobytes()
    return np.ascontiguousarray(np.moveaxis(columns.view(np.uint8).reshape(*columns.shape, 2), 2, 0)).tobytes()


def unpacked_bands(content: bytes, frames: int, coarse: bool) -> np.ndarray:
    """(T, F) float16 of ``packed_bands``."""
    values = np.frombuffer(content, np.uint8)
    if coarse:
        roots = values.reshape(-1, frames).astype(np.float32) / 255
        return np.ascontiguousarray((roots**2 * LOUDEST).astype(np.float16).T)
    halves = np.moveaxis(values.reshape(2, -1, frames), 0, 2)
    return np.ascontiguousarray(np.ascontiguousarray(halves).view(np.float16)[:, :, 0].T)


def unpack_corpora(folder: Path, shards: Path) -> dict[str, list[Corpus]]:
    """Shards of all the corpora that are packed in ``folder``, or of as many tracks of them as are there, by role."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("corpus-*.arrow")):
        files.setdefault(path.stem.removeprefix("corpus-").rpartition("-")[0], []).append(path)
    found: dict[str, list[Corpus]] = {role: [] for role in (VALIDATION, SCORED, AROUND)}
    for name, paths in files.items():
        role, corpus = _unpacked(paths, shards / name)
        found[role].append(corpus)
    return found


def _unpacked(paths: list[Path], folder: Path) -> tuple[str, Corpus]:
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(paths):
        table = read_table(path)
        content = {name.decode(): json.loads(of) for name, of in table.schema.metadata.items()}
        (folder / "manifest.json").write_text(json.dumps(content["manifest"]), encoding="utf-8")
        manifest = Manifest.load(folder)
        rows += write_tracks(folder / f"shard-{number:05d}.arrow", manifest, _tracks(table, content["role"] == AROUND))
    return content["role"], corpus_of(folder, manifest, rows)


def _tracks(table: pa.Table, coarse: bool) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    for row in table.to_pylist():
        targets = np.frombuffer(row.pop("targets"), np.uint8).reshape(-1, row["frames"]).T
        yield row, unpacked_bands(row.pop("bands"), row["frames"], coarse), targets


def write_tracks(
    path: Path, manifest: Manifest, tracks: Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]
) -> list[dict[str, Any]]:
    """One shard of tracks (id, split and performance; bands; targets); their rows of the table of tracks."""
    rows = []
    with ShardWriter(path, manifest.bands, len(manifest.classes)) as writer:
        for named, bands, targets in tracks:
            first_byte = writer.write(bands, np.ascontiguousarray(targets))
            frames = len(bands)
            rows.append(
                {**named, "frames": frames, "windows": window_count(frames), "seconds": frames / FRAMES_PER_S,
                 "sources": [], "checksums": [], "onsets_per_class": (targets == 2).sum(axis=0).tolist(),
                 "shard": path.name, "first_byte": first_byte}
            )  # fmt: skip
    return rows


def corpus_of(folder: Path, manifest: Manifest, rows: list[dict[str, Any]]) -> Corpus:
    """A corpus of shards that were just written; without checksums, which need a package that a machine may lack."""
    if not rows:
        raise Refused(f"no track of {manifest.corpus!r} is there; pack more, or give more time")
    splits = {}
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        onsets = np.sum([row["onsets_per_class"] for row in own] or [[0] * len(manifest.classes)], axis=0).tolist()
        sums = {of: sum(row[of] for row in own) for of in ("frames", "windows", "seconds")}
        onsets_of = dict(zip(manifest.classes, onsets, strict=True))
        splits[split] = SplitSummary(tracks=len(own), moments=Moments(), onsets=onsets_of, **sums)
    return Corpus(folder, replace(manifest, splits=splits, files={}), pa.Table.from_pylist(rows))
