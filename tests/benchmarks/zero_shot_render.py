"""Stems of drums by all processors: performances on packed kits, as shards. Kits are loaded once, before the fork."""

import multiprocessing
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from zero_shot_pack import Excerpt, corpus_of, packed_excerpts, packed_refs, write_tracks

from data_prep.classes import VOCABULARIES
from data_prep.kits import KitRef
from data_prep.manifest import STEMS, Manifest
from data_prep.rates import FRAMES_PER_S
from data_prep.render import STEMS as STEM_CLASSES
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS, FEATURES
from data_prep.stems import TAIL_S, framed_stems

SHARD_S = 600.0  # of music in a shard: 50 MB
MANIFEST = Manifest(
    corpus="groove_stems",
    adapter="groove_stems",
    title="Groove MIDI Dataset, training performances rendered, drum classes apart",
    licence="CC BY 4.0",
    classes=VOCABULARIES[5],
    features=FEATURES,
    bands=BANDS * len(STEM_CLASSES),
    frames_per_s=FRAMES_PER_S,
    condition=STEMS,
    targets="onsets",
    whole_tracks=False,
    options={},
    splits={},
    files={},
)
_READY: dict[str, Any] = {}  # what the workers find after the fork


def render_stems_corpus(folder: Path, shards: Path, hours: float, processes: int, until: float) -> Corpus:
    """So many hours of stems, or as many as are done at the moment ``until`` of the monotonic clock.

    Each performance once, then again on other kits, and so on; the same for any number of processes.
    """
    target = shards / MANIFEST.corpus
    target.mkdir(parents=True)
    _READY.update(excerpts=packed_excerpts(folder), kits=packed_refs(folder), folder=target)
    rows: list[dict[str, Any]] = []
    context = multiprocessing.get_context("fork")
    with context.Pool(processes) as pool:
        coming = pool.imap_unordered(_render, list(enumerate(_batches(_READY["excerpts"], hours))))
        while (left_s := until - time.monotonic()) > 0:
            try:
                rows += coming.next(timeout=left_s)
            except (StopIteration, multiprocessing.TimeoutError):
                break
    return corpus_of(target, MANIFEST, sorted(rows, key=lambda row: row["id"]))


def _batches(excerpts: list[Excerpt], hours: float) -> Iterator[list[tuple[int, int]]]:
    """(excerpt, take) for the tracks of shard after shard."""
    batch: list[tuple[int, int]] = []
    held_s, left_s, take = 0.0, hours * 3600, 0
    while left_s > 0:
        for number in np.random.default_rng(take).permutation(len(excerpts)).tolist():
            seconds = float(excerpts[number].notes.times_s[-1]) + TAIL_S
            batch.append((number, take))
            held_s, left_s = held_s + seconds, left_s - seconds
            if held_s >= SHARD_S or left_s <= 0:
                yield batch
                batch, held_s = [], 0.0
            if left_s <= 0:
                return
        take += 1


def _render(batch: tuple[int, list[tuple[int, int]]]) -> list[dict[str, Any]]:
    number, tracks = batch
    return write_tracks(_READY["folder"] / f"shard-{number:05d}.arrow", MANIFEST, _tracks(tracks, _READY["kits"]))


def _tracks(
    tracks: list[tuple[int, int]], kits: tuple[KitRef, ...]
) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    for number, take in tracks:
        excerpt: Excerpt = _READY["excerpts"][number]
        name = f"{excerpt.name}-take{take}"
        bands, targets = framed_stems(excerpt.notes, kits, seed=zlib.crc32(name.encode()))
        yield {"id": name, "split": "train", "performance": excerpt.name}, bands, targets
