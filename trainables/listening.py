"""What a checkpoint hears in a prepared corpus, beside what is annotated. B batch, T frames, K classes, R rows.

A row is what is matched by itself: a whole track or a segment of 400 frames. See evaluation for the two protocols.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from pyarrow import compute
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from data_prep.onset_table import read_onsets
from data_prep.onsets import ONSET, onset_frames
from data_prep.shards import Corpus
from trainables.data import SplitData
from trainables.inference import AS_IT_IS, BATCH_WINDOWS, activations, probabilities_of
from trainables.memory import MemoryGuard
from trainables.metrics import FRAME_US, SILENT_FRAMES, Events, join_tracks
from trainables.network import Network
from trainables.peaks import PeakRule, pick_peaks
from trainables.placement import MappedWindows

FRAMES_AT_ONCE = 1 << 18  # of whole tracks: 44 minutes of music


@dataclass(frozen=True)
class Heard:
    """Activations (B, T, K) of some rows, the first of them numbered ``first_row``.

    begins (rows here,): the frame each begins at where the B batch elements lie end to end, ascending.
    """

    activations: Tensor
    first_row: int
    begins: np.ndarray

    def onsets(self, rule: PeakRule) -> Events:
        """What the rule takes for onsets, times in frames."""
        picked = pick_peaks(self.activations, rule)
        _, frames, classes = picked.shape
        line, frame = np.divmod(picked.places.cpu().numpy(), frames)
        element, of = np.divmod(line, classes)
        at = element * frames + frame
        row = np.maximum(self.begins.searchsorted(at, side="right") - 1, 0)
        return Events(self.first_row + row, of, at - self.begins[row])

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each row's number and its activations (T, K), with the silence behind it."""
        flat = self.activations.flatten(0, 1).cpu().numpy()
        yield from enumerate(np.split(flat, self.begins)[1:], self.first_row)


class Rows(NamedTuple):
    """Rows in order, (R,) each: their tracks, the frame of the track they begin at, and their frames."""

    tracks: np.ndarray
    starts: np.ndarray
    frames: np.ndarray

    def events(self, tracks: np.ndarray, classes: np.ndarray, frames: np.ndarray, times_us: np.ndarray) -> Events:
        """Onsets (N,) of tracks, each in the row that its frame falls in, their times from the row's start."""
        far = int(self.starts.max(initial=0)) + int(self.frames.max(initial=0)) + 1
        rows = (self.tracks * far + self.starts).searchsorted(tracks * far + frames, side="right") - 1
        return Events(rows, classes, times_us - self.starts[rows] * FRAME_US)


def _tracks(network: Network, data: SplitData, precision: str, gains_db: Sequence[float]) -> Iterator[Heard]:
    """Some whole tracks at a time, on one time line with silence between, (1, L, K)."""
    of_group = data.frames.cumsum() // FRAMES_AT_ONCE
    for group in np.split(np.arange(len(data.frames)), np.flatnonzero(np.diff(of_group)) + 1):
        found = activations(network, [data.track(number).bands for number in group], precision, gains_db)
        ends = (data.frames[group] + SILENT_FRAMES).cumsum()
        yield Heard(join_tracks(found), int(group[0]), ends - data.frames[group])


@torch.inference_mode()
def _segments(network: Network, data: SplitData, precision: str, gains_db: Sequence[float]) -> Iterator[Heard]:
    """A batch of segments at a time, each run apart from its neighbours, (B, 400, K)."""
    device, first_row = next(network.parameters()).device, 0
    size = BATCH_WINDOWS[device.type]
    guard = MemoryGuard(size)
    for bands, _ in MappedWindows(data, device).in_order(size):
        found = guard.run(partial(probabilities_of, network, bands, precision, gains_db), len(bands))
        yield Heard(found, first_row, np.arange(len(bands)) * bands.shape[1])
        first_row += len(bands)


PROTOCOLS = {"tracks": _tracks, "segments": _segments}


@dataclass(frozen=True)
class Scored:
    """One split of a corpus as it is scored by a protocol, row by row; ids and performances of its tracks in order."""

    data: SplitData
    protocol: str
    ids: list[str]
    performances: list[str]
    rows: Rows

    @classmethod
    def of(cls, corpus: Corpus, split: str, protocol: str) -> "Scored":
        """Refused where the split has no tracks, or a shard lacks one."""
        data = SplitData([corpus], split)
        table = corpus.table.select(["id", "split", "performance"])
        if split != "all":
            table = table.filter(compute.equal(table["split"], split))
        rows = Rows(np.arange(len(data.frames)), np.zeros_like(data.frames), data.frames)
        if protocol == "segments":
            tracks, starts = data.in_order
            rows = Rows(tracks, starts, np.minimum(data.frames[tracks] - starts, WINDOW_FRAMES))
        return cls(data, protocol, table["id"].to_pylist(), table["performance"].to_pylist(), rows)

    def hear(self, network: Network, precision: str, gains_db: Sequence[float] = AS_IT_IS) -> Iterator[Heard]:
        """What the network hears, the mean over these changes of level, some rows at a time."""
        return PROTOCOLS[self.protocol](network, self.data, precision, gains_db)

    def marked(self) -> Events:
        """Onsets as the targets have them, times in frames."""
        parts = []
        for number in range(len(self.ids)):
            frames, classes = np.nonzero(self.data.track(number).targets == ONSET)
            events = self.rows.events(np.full(len(frames), number), classes, frames, frames * FRAME_US)
            parts.append(Events(events.rows, classes, events.times // FRAME_US))
        return Events.join(parts)

    def exact(self, corpus: Corpus) -> tuple[Events, np.ndarray]:
        """Onsets as the table of onsets has them, times in microseconds, and velocities (N,) in 0..1, NaN: unknown."""
        table = read_onsets(corpus, ["track", "time_s", "class", "velocity"])
        track = table["track"].combine_chunks()
        numbers = {name: number for number, name in enumerate(self.ids)}
        known = np.array([numbers.get(name, -1) for name in track.dictionary.to_pylist()] or [-1])
        tracks = known[track.indices.to_numpy()]
        times_s, classes, velocities = (table[name].to_numpy() for name in ("time_s", "class", "velocity"))
        frames = onset_frames(times_s)
        inside = (tracks >= 0) & (frames >= 0) & (frames < self.data.frames[tracks])
        times_us = np.rint(times_s * 1e6).astype(np.int64)
        columns = (tracks, classes.astype(np.int64), frames, times_us)
        return self.rows.events(*(of[inside] for of in columns)), velocities[inside]
