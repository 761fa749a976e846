"""Where frames lie while a model is trained on them. B batch, T frames, F bands, K classes.

On a processor windows are read from the mapped shards. On a GPU all frames of a corpus that fits are put there once,
and windows are gathered there; windows of a larger corpus stream through pinned memory ahead of the step.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from data_prep.shards import bytes_a_frame
from trainables.data import Spans, SplitData

CONTEXT_BYTES = 2**30  # what a process with CUDA, cuDNN and cuBLAS holds of a GPU before its first tensor
FOR_FRAMES = 0.8  # of a trial's share of a GPU's memory at most; the network needs the rest
UPLOAD_FRAMES, UPLOAD_THREADS = 1 << 18, 4  # 45 MB at a time; numpy's copies run beside each other
AHEAD = 2  # batches on their way to the GPU while a step is computed

Batches = Iterator[tuple[Tensor, ...]]  # bands (B, T, F) float16, targets (B, T, K) uint8 halves


class TrainingWindows(ABC):
    """What a network learns from: an epoch of windows after another, on a device."""

    kind = ""

    def __init__(self, split: SplitData, device: torch.device) -> None:
        self.split, self.device = split, device

    def __len__(self) -> int:
        return len(self.split)

    @abstractmethod
    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """An epoch of training, all chance drawn from the generator."""

    def epoch(self, number: int, batch_size: int, generator: np.random.Generator) -> Batches:
        """The epoch of that number, counted from 0, for windows that take turns from one epoch to the next."""
        return self.shuffled(batch_size, generator)


class Windows(TrainingWindows):
    """The windows of a split, read batch by batch onto a device; how, is a subclass's matter."""

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """An epoch of training: every window once, in random order and at a random offset."""
        return self.batches(self.split.shuffled(generator), batch_size)

    def in_order(self, batch_size: int) -> Batches:
        """Every window once, track after track; the last one of a track is padded with silence."""
        return self.batches(self.split.in_order, batch_size)

    @abstractmethod
    def batches(self, spans: Spans, batch_size: int) -> Batches:
        """The windows at these places, so many at a time."""

    def read(self, spans: Spans, frames: int) -> tuple[Tensor, Tensor]:
        """Windows of ``frames`` each at these places, on the device."""
        bands, targets = self.split.read(spans, frames=frames)
        return bands.to(self.device), targets.to(self.device)


class MappedWindows(Windows):
    """Read from the mapped shards when they are asked for: a copy of the window and no more."""

    kind = "mapped"

    def batches(self, spans: Spans, batch_size: int) -> Batches:
        """Copied window by window."""
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
        for of in (self._bands, self._targets):
            of[-1] = 0
        self._upload()
        self._around = torch.arange(WINDOW_FRAMES, device=device)

    def _upload(self) -> None:
        """Two buffers in turn: while one is sent, threads fill the other from the mapped shards."""
        room, is_gpu = min(UPLOAD_FRAMES, self._silence), self.device.type == "cuda"
        there = (self._bands, self._targets)
        buffers = [
            tuple(torch.empty(room, of.shape[1], dtype=of.dtype, pin_memory=is_gpu) for of in there) for _ in range(2)
        ]
        sent: list[torch.cuda.Event | None] = [None, None]
        with ThreadPoolExecutor(UPLOAD_THREADS, "upload") as threads:
            for turn, first in enumerate(range(0, self._silence, room)):
                end = min(first + room, self._silence)
                if (earlier := sent[turn % 2]) is not None:
                    earlier.synchronize()
                here = buffers[turn % 2]
                lowest, highest = np.searchsorted(self._ends, (first, end - 1), side="right")
                parts = np.array_split(np.arange(lowest, highest + 1), UPLOAD_THREADS)
                list(threads.map(lambda part, at=first, until=end, into=here: self._fill(into, part, at, until), parts))
                for whole, part in zip(there, here, strict=True):
                    whole[first:end].copy_(part[: end - first], non_blocking=True)
                if is_gpu:
                    sent[turn % 2] = torch.cuda.current_stream(self.device).record_event()
        for event in sent:
            if event is not None:
                event.synchronize()

    def _fill(self, into: tuple[Tensor, ...], tracks: np.ndarray, first: int, end: int) -> None:
        """Copy what of these tracks lies between two frames of the device's row into a buffer that begins at first."""
        for number in tracks.tolist():
            begin, until = max(self._firsts[number], first), min(self._ends[number], end)
            for buffer, of in zip(into, self.split.track(number), strict=True):
                buffer.numpy()[begin - first : until - first] = of[
                    begin - self._firsts[number] : until - self._firsts[number]
                ]

    def batches(self, spans: Spans, batch_size: int) -> Batches:
        """Gathered on the device."""
        begins, ends = self._edges(spans)
        for begin, end in zip(begins.split(batch_size), ends.split(batch_size), strict=True):
            yield self._gathered(begin, end, self._around)

    def read(self, spans: Spans, frames: int) -> tuple[Tensor, Tensor]:
        """Windows of ``frames`` each at these places, gathered on the device."""
        return self._gathered(*self._edges(spans), torch.arange(frames, device=self.device))

    def _edges(self, spans: Spans) -> tuple[Tensor, Tensor]:
        begins = torch.from_numpy(self._firsts[spans.tracks] + spans.starts).to(self.device)
        return begins, torch.from_numpy(self._ends[spans.tracks]).to(self.device)

    def _gathered(self, begins: Tensor, ends: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        rows = begins.unsqueeze(1) + around
        rows = torch.where(rows < ends.unsqueeze(1), rows, self._silence)
        bands, targets = (of.index_select(0, rows.view(-1)) for of in (self._bands, self._targets))
        return bands.view(*rows.shape, -1), targets.view(*rows.shape, -1)


class StreamedWindows(Windows):
    """Read by a thread into pinned buffers and sent on a stream of their own, ahead of the step that needs them."""

    kind = "streamed"

    def __init__(self, split: SplitData, device: torch.device) -> None:
        super().__init__(split, device)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def batches(self, spans: Spans, batch_size: int) -> Batches:
        """Read ahead; what is broken off leaves no thread."""
        stream = self._stream
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


def place(split: SplitData, device: torch.device, share: float = 1.0, beside: Sequence[SplitData] = ()) -> Windows:
    """The split's windows on ``device``, of whose memory this process may use ``share``.

    What was put on a GPU stays there for the next trial of the process, until other corpora are asked for than its own
    and those of the splits that it is used ``beside``.
    """
    if device.type != "cuda":
        return MappedWindows(split, device)
    device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    used = {of.key[1:] for of in (split, *beside)}
    for stale in [key for key in _PLACED if key[0] != device or key[1][1:] not in used]:
        del _PLACED[stale]
    key = (device, split.key)
    if key not in _PLACED:
        _PLACED[key] = _on_gpu(split, device, share)
    return _PLACED[key]


def _on_gpu(split: SplitData, device: torch.device, share: float) -> Windows:
    torch.cuda.empty_cache()  # what this process has let go of counts as free
    free, total = torch.cuda.mem_get_info(device)
    held = sum(frame_bytes(windows.split) for windows in _PLACED.values() if isinstance(windows, ResidentWindows))
    if frame_bytes(split) > min(FOR_FRAMES * share * total - held, free):
        return StreamedWindows(split, device)
    try:
        return ResidentWindows(split, device)
    except torch.OutOfMemoryError:
        pass  # another process was quicker
    torch.cuda.empty_cache()  # beyond the except clause: the error's frames held what had been placed
    return StreamedWindows(split, device)


def frame_bytes(split: SplitData) -> int:
    """Bytes of all its frames."""
    return int(split.frames.sum()) * bytes_a_frame(split.bands, split.classes)
