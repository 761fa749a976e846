"""A prepared corpus for the benchmarks of training: real shards, tables and manifest around made-up music.

Tracks last from 2 s to 3 minutes, as many windows in all as asked for. Every onset of a class rings in that class's own
bands over noise, so a network has something to learn. T frames, F bands, K classes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_prep.manifest import SPLITS, WINDOW_FRAMES, Manifest, Moments, SplitSummary, window_count
from data_prep.onsets import Onsets, target_grid
from data_prep.rates import FRAMES_PER_S
from data_prep.shards import Corpus, ShardWriter
from data_prep.spectrogram import BANDS, FEATURES
from trainables.data import TrainingData

ONSETS_PER_S = {"kick": 1.9, "snare": 1.7, "toms": 0.4, "hi-hat": 3.6, "cymbals": 0.7}  # about as in E-GMD
CLASSES = tuple(ONSETS_PER_S)
MEDIAN_S, SPREAD, SHORTEST_S, LONGEST_S = 20.0, 1.0, 2.0, 180.0  # of a track; spread: deviation of the logarithm
NOISE, LOUDNESS, DECAY = 0.15, 1.5, 0.7  # in log-magnitude; decay a frame
RINGING_FRAMES = 12
SHARD_FRAMES = 1 << 20  # 184 MB


def make_corpus(folder: Path, *, train_windows: int, validation_windows: int, seed: int = 0) -> Corpus:
    """Write shards of so many windows into ``folder`` and open them; a test split there is none."""
    generator = np.random.default_rng(seed)
    sounds = generator.random((len(CLASSES), BANDS)).astype(np.float32) ** 6  # peaky, each class's own
    rows: list[dict[str, object]] = []
    splits = {}
    for split, windows in (("train", train_windows), ("validation", validation_windows), ("test", 0)):
        before, moments, onsets = len(rows), Moments(), np.zeros(len(CLASSES), np.int64)
        for shard, lengths in enumerate(_shards(list(_lengths(windows, generator)))):
            name = f"shard-{split}-{shard}.arrow"
            with ShardWriter(folder / name, BANDS, len(CLASSES)) as writer:
                for frames in lengths:
                    bands, targets = _track(frames, sounds, generator)
                    first_byte = writer.write(bands, targets)
                    moments += Moments.of(bands)
                    onsets += (targets == 2).sum(axis=0)
                    rows.append(_row(f"{split}-{len(rows)}", split, frames, name, first_byte))
        own = rows[before:]
        frames = sum(int(str(row["frames"])) for row in own)
        splits[split] = SplitSummary(
            tracks=len(own),
            frames=frames,
            windows=windows,
            seconds=frames / FRAMES_PER_S,
            moments=moments,
            onsets=dict(zip(CLASSES, onsets.tolist(), strict=True)),
        )
    assert set(splits) == set(SPLITS)
    manifest = Manifest(
        corpus="synthetic",
        adapter="synthetic",
        title="Synthetic",
        licence="none",
        classes=CLASSES,
        features=FEATURES,
        bands=BANDS,
        frames_per_s=FRAMES_PER_S,
        condition="clean",
        targets="onsets",
        whole_tracks=True,
        options={"seed": seed},
        splits=splits,
        files={},  # their checksums need a package that a GPU machine may lack
    )
    return Corpus(folder, manifest, pa.Table.from_pylist(rows))


def training_data(corpus: Corpus) -> TrainingData:
    """What training needs of it."""
    return TrainingData.of([corpus], "onsets")


def _row(name: str, split: str, frames: int, shard: str, first_byte: int) -> dict[str, object]:
    """A row of the table of tracks."""
    return {
        "id": name,
        "split": split,
        "performance": name,
        "frames": frames,
        "windows": window_count(frames),
        "seconds": frames / FRAMES_PER_S,
        "sources": [],
        "checksums": [],
        "shard": shard,
        "first_byte": first_byte,
    }


def _lengths(windows: int, generator: np.random.Generator) -> Iterator[int]:
    """Frames of track after track, until they hold exactly so many windows."""
    while windows:
        seconds = np.clip(generator.lognormal(np.log(MEDIAN_S), SPREAD), SHORTEST_S, LONGEST_S)
        frames = min(int(seconds * FRAMES_PER_S), windows * WINDOW_FRAMES)
        yield frames
        windows -= window_count(frames)


def _shards(lengths: list[int]) -> Iterator[list[int]]:
    """The tracks of each shard."""
    held: list[int] = []
    for frames in lengths:
        held.append(frames)
        if sum(held) >= SHARD_FRAMES:
            yield held
            held = []
    if held:
        yield held


def _track(frames: int, sounds: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bands (T, F) float16 and targets (T, K) uint8 halves of one track."""
    seconds = frames / FRAMES_PER_S
    counts = generator.poisson(np.array(list(ONSETS_PER_S.values())) * seconds)
    classes = np.repeat(np.arange(len(CLASSES)), counts)
    onsets = Onsets.of(generator.random(len(classes)) * seconds, classes).merged()
    targets = target_grid(onsets, frames, len(CLASSES))
    bands = generator.random((frames, BANDS), np.float32) * NOISE
    at, of = np.nonzero(targets == 2)
    struck = sounds[of] * (LOUDNESS * (0.3 + 0.7 * generator.random((len(at), 1), np.float32)))
    for later in range(RINGING_FRAMES):
        inside = at + later < frames
        np.add.at(bands, at[inside] + later, struck[inside] * DECAY**later)
    return bands.astype(np.float16), targets
