"""Where frames lie while a model is trained on them. B batch, T frames, F bands, K classes.

On a processor windows are read from the mapped shards. On a GPU all frames of a corpus that fits are put there once,
and windows are gathered there; windows of a larger corpus stream through pinned memory ahead of the step.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from trainables.data import Spans, SplitData

FOR_FRAMES = 0.8  # of a trial's share of a GPU's memory at most; the network needs the rest
UPLOAD_FRAMES = 1 << 18  # 45 MB at a time
AHEAD = 2  # batches on their way to the GPU while a step is computed

Batches = Iterator[tuple[Tensor, ...]]  # bands (B, T, F) float16, targets (B, T, K) uint8 halves


class Windows:
    """The windows of a split, read batch by batch onto a device; how, is a subclass's matter."""

    kind = ""

    def __init__(self, split: SplitData, device: torch.device) -> None:
        self.split, self.device = split, device

    def __len__(self) -> int:
        return len(self.split)

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """An epoch of training: every window once, in random order and at a random offset."""
        return self._batches(self.split.shuffled(generator), batch_size)

    def in_order(self, batch_size: int) -> Batches:
        """Every window once, track after track; the last one of a track is padded with silence."""
        return self._batches(self.split.in_order, batch_size)

    def _batches(self, spans: Spans, batch_size: int) -> Batches:
        raise NotImplementedError


class MappedWindows(Windows):
    """Read from the mapped shards when they are asked for: a copy of the window and no more."""

    kind = "mapped"

    def _batches(self, spans: Spans, batch_size: int) -> Batches:
        for piece in spans.pieces(batch_size):
            bands, targets = self.split.read(piece)
            yield bands.to(self.device), targets.to(self.device)


class ResidentWindows(Windows):
    """All frames of the split lie on the device, track after track, and a frame of silence behind them."""

    kind = "resident"

    def __init__(self, split: SplitData, device: torch.device) -> None:
        super().__init__(split, device)
        ends = split.frames.cumsum()
        self._firsts, self._ends, self._silence = ends - split.frames, ends, int(ends[-1])
        self._bands = torch.empty(self._silence + 1, split.bands, dtype=torch.float16, device=device)
        self._targets = torch.empty(self._silence + 1, split.classes, dtype=torch.uint8, device=device)
        self._bands[-1], self._targets[-1] = 0, 0
        self._upload()
        self._around = torch.arange(WINDOW_FRAMES, device=device)

    def _upload(self) -> None:
        """Track after track into a buffer, which goes to the device whenever it is full."""
        held, sent = 0, 0
        room = min(UPLOAD_FRAMES, self._silence)
        bands = np.empty((room, self.split.bands), np.float16)
        targets = np.empty((room, self.split.classes), np.uint8)
        for number in range(len(self.split.frames)):
            track, taken = self.split.track(number), 0
            while taken < len(track.bands):
                count = min(room - held, len(track.bands) - taken)
                bands[held : held + count] = track.bands[taken : taken + count]
                targets[held : held + count] = track.targets[taken : taken + count]
                held, taken = held + count, taken + count
                if held == room or sent + held == self._silence:
                    self._bands[sent : sent + held].copy_(torch.from_numpy(bands[:held]))
                    self._targets[sent : sent + held].copy_(torch.from_numpy(targets[:held]))
                    held, sent = 0, sent + held

    def _batches(self, spans: Spans, batch_size: int) -> Batches:
        begins = torch.from_numpy(self._firsts[spans.tracks] + spans.starts).to(self.device)
        ends = torch.from_numpy(self._ends[spans.tracks]).to(self.device)
        for begin, end in zip(begins.split(batch_size), ends.split(batch_size), strict=True):
            rows = begin.unsqueeze(1) + self._around
            rows = torch.where(rows < end.unsqueeze(1), rows, self._silence)
            yield tuple(of.index_select(0, rows.view(-1)).view(*rows.shape, -1) for of in (self._bands, self._targets))


class StreamedWindows(Windows):
    """Read by a thread into pinned buffers and sent on a stream of their own, ahead of the step that needs them."""

    kind = "streamed"

    def _batches(self, spans: Spans, batch_size: int) -> Batches:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        slots = deque(_Slot(self.split.empty(batch_size, pinned=stream is not None)) for _ in range(AHEAD + 1))
        pieces = spans.pieces(batch_size)
        with ThreadPoolExecutor(1, "windows") as reader:
            coming: deque[Future[_Slot]] = deque()
            try:
                while True:
                    while len(coming) < AHEAD and (piece := next(pieces, None)) is not None:
                        coming.append(reader.submit(self._send, piece, slots[0], stream))
                        slots.rotate(-1)
                    if not coming:
                        return
                    slot = coming.popleft().result()
                    batch, slot.there = slot.there, ()
                    if stream is not None and slot.sent is not None:
                        step = torch.cuda.current_stream(self.device)
                        step.wait_event(slot.sent)
                        for of in batch:
                            of.record_stream(step)  # its memory is not used again before the step has read it
                    yield batch
            finally:
                for future in coming:
                    future.cancel()

    def _send(self, piece: Spans, slot: "_Slot", stream: torch.cuda.Stream | None) -> "_Slot":
        if slot.sent is not None:
            slot.sent.synchronize()  # what was read into it before has left it
        here = self.split.read(piece, slot.here)
        if stream is None:
            slot.there = tuple(of.clone() for of in here)
        else:
            with torch.cuda.stream(stream):
                slot.there = tuple(of.to(self.device, non_blocking=True) for of in here)
                slot.sent = stream.record_event()
        return slot


@dataclass
class _Slot:
    """Host memory that batch after batch passes through; ``there`` is the latest on the device, from ``sent`` on."""

    here: tuple[Tensor, Tensor]
    there: Any = ()
    sent: torch.cuda.Event | None = None


_PLACED: dict[tuple[Any, ...], Windows] = {}


def place(split: SplitData, device: torch.device, share: float = 1.0) -> Windows:
    """The split's windows on ``device``, of whose memory this process may use ``share``.

    What was put on a GPU stays there for the next trial of the process, until other corpora are asked for.
    """
    if device.type != "cuda":
        return MappedWindows(split, device)
    device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    for stale in [key for key in _PLACED if key[0] != device or key[1][1:] != split.key[1:]]:
        del _PLACED[stale]
    key = (device, split.key)
    if key not in _PLACED:
        _PLACED[key] = _on_gpu(split, device, share)
    return _PLACED[key]


def _on_gpu(split: SplitData, device: torch.device, share: float) -> Windows:
    free, total = torch.cuda.mem_get_info(device)
    held = sum(frame_bytes(windows.split) for windows in _PLACED.values() if windows.kind == ResidentWindows.kind)
    if frame_bytes(split) > min(FOR_FRAMES * share * total - held, free):
        return StreamedWindows(split, device)
    try:
        return ResidentWindows(split, device)
    except torch.OutOfMemoryError:  # another process was quicker
        torch.cuda.empty_cache()
        return StreamedWindows(split, device)


def frame_bytes(split: SplitData) -> int:
    """Bytes of all its frames."""
    return int(split.frames.sum()) * (2 * split.bands + split.classes)
