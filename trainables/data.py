"""Windows of prepared corpora, as a model sees them in training. B batch, T frames, F bands, K classes.

Nothing here grows with the corpus but a few whole numbers a track and a window: frames stay in the mapped shards, which
every process on a machine shares, until a window is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pyarrow import compute
from torch import Tensor

from data_prep.manifest import CLEAN, MANIFEST, MUSIC, STEMS, WINDOW_FRAMES, Manifest, window_count
from data_prep.refused import Refused
from data_prep.shards import Corpus, frames_at, union_moments
from trainables.metrics import SILENT_FRAMES

MIXED = (STEMS, MUSIC)  # conditions of corpora that are there for training to mix


class Spans(NamedTuple):
    """Windows (B,): each one's track, and the frame of the track it begins at."""

    tracks: np.ndarray
    starts: np.ndarray

    def pieces(self, size: int) -> Iterator["Spans"]:
        """So many windows at a time."""
        for first in range(0, len(self.tracks), size):
            yield Spans(*(of[first : first + size] for of in self))


class Frames(NamedTuple):
    """Bands (T, F) float16 and targets (T, K) uint8 halves."""

    bands: np.ndarray
    targets: np.ndarray


class SplitData:
    """All windows of one split of some corpora, one corpus behind the other.

    ``frames`` (tracks,): how long each track is. ``windows_of_corpora`` (corpora,): how many windows each has.
    """

    def __init__(self, corpora: Sequence[Corpus], split: str) -> None:
        self.key = (split, *((str(corpus.folder), corpus.checksum) for corpus in corpora))
        self.bands, self.classes = corpora[0].manifest.bands, len(corpora[0].manifest.classes)
        self._shards: list[np.ndarray] = []
        places = [self._places(corpus, split) for corpus in corpora]
        shards, first_bytes, frames = (np.concatenate(column) for column in zip(*places, strict=True))
        self._shard_of, self._first_bytes, self.frames = shards, first_bytes, frames
        windows = window_count(frames)
        ends = windows.cumsum()
        self.windows_of_corpora = np.array([int(window_count(of[2]).sum()) for of in places])
        tracks = np.repeat(np.arange(len(frames)), windows)
        self.in_order = Spans(tracks, (np.arange(ends[-1]) - (ends - windows)[tracks]) * WINDOW_FRAMES)

    def _places(self, corpus: Corpus, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shard (a number), first byte and frames of each track of a corpus's split; Refused where one is not there."""
        corpus.require(split)
        table = corpus.table.select(["id", "split", "shard", "first_byte", "frames"])
        if split != "all":
            table = table.filter(compute.equal(table["split"], split))
        names = table["shard"].combine_chunks().dictionary_encode()
        shard_of = names.indices.to_numpy()
        first_bytes, frames = table["first_byte"].to_numpy(), table["frames"].to_numpy()
        for number, name in enumerate(names.dictionary.to_pylist()):
            of = shard_of == number
            missing = np.flatnonzero(of)[~corpus.holds(name, first_bytes[of], frames[of])]
            if len(missing):
                raise corpus.not_there(name, table["id"][int(missing[0])].as_py())
        known = len(self._shards)
        self._shards += [corpus.mapped(name) for name in names.dictionary.to_pylist()]
        return shard_of.astype(np.int64) + known, first_bytes, frames

    def __len__(self) -> int:
        return len(self.in_order.tracks)

    def shuffled(self, generator: np.random.Generator) -> Spans:
        """Every window once in random order, each moved by up to half a window but kept within its track.

        The last window of a track, which would reach beyond its end, lies against it.
        """
        order = generator.permutation(len(self))
        shifts = generator.integers(-WINDOW_FRAMES // 2, WINDOW_FRAMES // 2 + 1, len(self))
        tracks, starts = (of[order] for of in self.in_order)
        last = np.maximum(self.frames[tracks] - WINDOW_FRAMES, 0)
        return Spans(tracks, np.clip(starts + shifts[order], 0, last))

    def track(self, number: int) -> Frames:
        """A track's frames, views of the mapped shard."""
        shard, first = self._shards[self._shard_of[number]], self._first_bytes[number]
        return Frames(*frames_at(shard, first, self.frames[number], self.bands, self.classes))

    def empty(self, windows: int, *, pinned: bool = False, frames: int = WINDOW_FRAMES) -> tuple[Tensor, Tensor]:
        """Room for so many windows: bands (B, T, F) float16 and targets (B, T, K) uint8."""
        shape = (windows, frames)
        bands = torch.empty(*shape, self.bands, dtype=torch.float16, pin_memory=pinned)
        return bands, torch.empty(*shape, self.classes, dtype=torch.uint8, pin_memory=pinned)

    def read(
        self, spans: Spans, into: tuple[Tensor, Tensor] | None = None, frames: int = WINDOW_FRAMES
    ) -> tuple[Tensor, Tensor]:
        """Bands (B, T, F) float16 and targets (B, T, K) uint8 halves of windows, silence beyond a track's end.

        ``into``: room for at least as many, which is used. ``frames``: T, where windows of another length are wanted.
        """
        count = len(spans.tracks)
        room = self.empty(count, frames=frames) if into is None else (into[0][:count], into[1][:count])
        bands, targets = (of.numpy() for of in room)
        for place, (number, start) in enumerate(zip(*map(np.ndarray.tolist, spans), strict=True)):
            for held, of in zip((bands[place], targets[place]), self.track(number), strict=True):
                piece = of[start : start + frames]
                held[: len(piece)] = piece
                held[len(piece) :] = 0
        return room

    @cached_property
    def line_starts(self) -> np.ndarray:
        """Where each window in order begins (windows,) on one time line of all tracks, with silence between them."""
        return np.arange(len(self)) * WINDOW_FRAMES + (self.in_order.tracks + 1) * SILENT_FRAMES

    @property
    def line_frames(self) -> int:
        """Length of that time line."""
        return len(self) * WINDOW_FRAMES + (len(self.frames) + 1) * SILENT_FRAMES


def check_fit(manifests: Sequence[Manifest], targets: str) -> None:
    """Refused where a corpus does not hold what a task learns, or cannot be learned from together with the others."""
    first = next((of for of in manifests if of.condition not in MIXED), None)
    if first is None:
        named = ", ".join(repr(manifest.corpus) for manifest in manifests)
        raise Refused(
            f"{named} {'is' if len(manifests) == 1 else 'are'} there to be mixed in training, and cannot validate it; "
            "name a corpus as it is recorded or rendered as well, for example groove beside groove_stems"
        )
    for manifest in manifests:
        if manifest.targets != targets:
            raise Refused(
                f"corpus {manifest.corpus!r} holds {manifest.targets}, the task learns {targets}; choose another"
            )
        for what in ("classes", "features", *(("bands",) if manifest.condition != STEMS else ())):
            if getattr(manifest, what) != getattr(first, what):
                raise Refused(
                    f"corpora {first.corpus!r} and {manifest.corpus!r} differ in their {what} "
                    f"({getattr(first, what)} and {getattr(manifest, what)}); prepare them with the same settings"
                )


@dataclass(frozen=True)
class TrainingData:
    """What training needs of its corpora: windows to learn from and to validate on, and what the manifests know.

    ``sources``: all splits to learn from, ``train`` (recordings as they are) and stems. ``music``: what training mixes
    under them. ``mixed``: names of the corpora of stems and music. Mean, deviation: of ``train``; or by band, (F,).
    """

    train: SplitData
    sources: tuple[SplitData, ...]
    music: SplitData | None
    validation: SplitData
    classes: tuple[str, ...]
    bands: int
    features: str
    mean: float | Tensor
    deviation: float | Tensor
    rates: np.ndarray  # (K,) onsets of each class a training frame
    mixed: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[SplitData, ...]:
        """All splits that a training reads."""
        return (*self.sources, *([self.music] if self.music else []), self.validation)

    @classmethod
    def open(cls, corpora: Sequence[str], shards: Path, targets: str) -> "TrainingData":
        """Open prepared corpora; Refused where one is not prepared, or does not fit the task or the others."""
        if not corpora:
            raise Refused("no corpus was named to train on; name at least one")
        folders = [shards / name for name in corpora]
        stamps = tuple((path.stat().st_mtime_ns if (path := folder / MANIFEST).exists() else 0) for folder in folders)
        return _opened(tuple(folders), stamps, targets)

    @classmethod
    def of(cls, opened: Sequence[Corpus], targets: str) -> "TrainingData":
        """What training needs of opened corpora; Refused where they do not fit the task or each other."""
        check_fit([corpus.manifest for corpus in opened], targets)
        plain, stems, music = (
            [corpus for corpus in opened if corpus.manifest.condition in conditions]
            for conditions in ((CLEAN,), (STEMS,), (MUSIC,))
        )
        first = plain[0].manifest
        moments = union_moments(plain, "train")
        splits = [corpus.manifest.splits["train"] for corpus in (*plain, *stems)]
        onsets = np.array([[split.onsets[name] for name in first.classes] for split in splits]).sum(axis=0)
        train = SplitData(plain, "train")
        return cls(
            train=train,
            sources=(train, SplitData(stems, "train")) if stems else (train,),
            music=SplitData(music, "train") if music else None,
            validation=SplitData(plain, "validation"),
            classes=first.classes,
            bands=first.bands,
            features=first.features,
            mean=moments.mean,
            deviation=moments.deviation,
            rates=onsets / sum(split.frames for split in splits),
            mixed=tuple(corpus.manifest.corpus for corpus in (*stems, *music)),
        )


@lru_cache(maxsize=1)
def _opened(folders: tuple[Path, ...], stamps: tuple[int, ...], targets: str) -> TrainingData:
    """The next trial in a process finds the corpora open; ``stamps`` change where one is prepared anew."""
    return TrainingData.of([Corpus.open(folder) for folder in folders], targets)
