"""A trained network over whole recordings: in windows of the training length whose margins are thrown away.

Recurrent networks read a whole file 0.5 to 2 points worse than windows joined by their centres. No window reaches
beyond a recording's ends, as none does in training: what lies within a margin of an end comes from the first or last
window as it stands. Only a recording that is shorter than a window has silence behind it.
A recording may come as a stream, of which no more is held than a batch of windows. B windows, T frames, F bands,
K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from trainables.memory import MemoryGuard
from trainables.network import Network, autocast

MARGIN_FRAMES = 50
CENTRE_FRAMES = WINDOW_FRAMES - 2 * MARGIN_FRAMES
AS_IT_IS = (0.0,)  # the gains of what is listened to once
BATCH_WINDOWS = {"cpu": 32, "cuda": 512}  # at once, where no gradients are needed


@torch.inference_mode()
def activations(
    network: Network, tracks: Sequence[np.ndarray], precision: str = "auto", gains_db: Sequence[float] = AS_IT_IS
) -> list[Tensor]:
    """Bands (T_i, F) of some tracks -> each class's probability a frame, (T_i, K) float32 on the network's device.

    The mean over the tracks as they sound with each gain; see probabilities_of.
    """
    device = next(network.parameters()).device
    network.eval()
    centres = [(track, start) for track, bands in enumerate(tracks) for start in range(0, len(bands), CENTRE_FRAMES)]
    begins = [_begin(start, len(tracks[of])) for of, start in centres]
    pieces: list[list[Tensor]] = [[] for _ in tracks]
    size = BATCH_WINDOWS[device.type]
    guard = MemoryGuard(size)
    for first in range(0, len(centres), size):
        batch = centres[first : first + size]
        windows = _windows(tracks, [track for track, _ in batch], begins[first : first + size])
        on_device = torch.from_numpy(windows).to(device)
        probabilities = guard.run(partial(probabilities_of, network, on_device, precision, gains_db), len(batch))
        for window, (track, start), begin in zip(probabilities, batch, begins[first : first + size], strict=True):
            end = min(start + CENTRE_FRAMES, len(tracks[track]))
            pieces[track].append(window[start - begin : end - begin])
    return [torch.cat(of) for of in pieces]


@torch.inference_mode()
def activation_blocks(
    network: Network, blocks: Iterable[np.ndarray], precision: str = "auto", gains_db: Sequence[float] = AS_IT_IS
) -> Iterator[Tensor]:
    """Consecutive bands (T, F) of one recording -> consecutive probabilities (T', K), in blocks of other lengths.

    Together they are what ``activations`` gives for the whole, to the last bit: the same windows in the same batches.
    """
    device = next(network.parameters()).device
    network.eval()
    size = BATCH_WINDOWS[device.type]
    guard = MemoryGuard(size)
    pending: list[np.ndarray] = []
    dropped, heard, start = 0, 0, 0  # frames that are no longer held, frames in all, the next centre's first one

    def centres(count: int, frames: int) -> Tensor:
        nonlocal pending, dropped, start
        held = np.concatenate(pending)
        starts = range(start, min(start + count * CENTRE_FRAMES, frames), CENTRE_FRAMES)
        begins = [_begin(of, frames) for of in starts]
        windows = _windows([held], [0] * len(begins), [begin - dropped for begin in begins])
        on_device = torch.from_numpy(windows).to(device)
        found = guard.run(partial(probabilities_of, network, on_device, precision, gains_db), len(begins))
        ends = [min(of + CENTRE_FRAMES, frames) for of in starts]
        start += len(begins) * CENTRE_FRAMES
        kept = max(start - WINDOW_FRAMES, dropped)  # the last window of all reaches back so far at most
        pending, dropped = [held[kept - dropped :].copy()], kept
        parts = zip(found, starts, begins, ends, strict=True)
        return torch.cat([window[of - begin : end - begin] for window, of, begin, end in parts])

    for block in blocks:
        pending.append(block)
        heard += len(block)
        while heard >= max(start + (size - 1) * CENTRE_FRAMES - MARGIN_FRAMES, 0) + WINDOW_FRAMES:
            yield centres(size, heard)
    while start < heard:
        yield centres(size, heard)


def _begin(start: int, frames: int) -> int:
    """The first frame of the window whose centre begins at ``start``, in a recording of so many frames."""
    return min(max(start - MARGIN_FRAMES, 0), max(frames - WINDOW_FRAMES, 0))


def probabilities_of(
    network: Network, bands: Tensor, precision: str, gains_db: Sequence[float], at_once: int
) -> Tensor:
    """Windows (B, T, F) -> (B, T, K) float32: mean probabilities over the windows as they sound with each gain.

    ``at_once`` windows go through the network at a time. Gains other than (0.0,) are for the network to apply.
    """
    if tuple(gains_db) == AS_IT_IS:
        return logits_of(network, bands, precision, at_once).sigmoid()
    heard = [logits_of(partial(network, gain_db=gain), bands, precision, at_once).sigmoid() for gain in gains_db]
    return torch.stack(heard).mean(dim=0)


def logits_of(network: Callable[[Tensor], Tensor], bands: Tensor, precision: str, at_once: int) -> Tensor:
    """(B, T, F) -> (B, T, K) float32, ``at_once`` windows at a time."""
    with autocast(bands.device, precision):
        return torch.cat([network(some).float() for some in bands.split(at_once)])


def _windows(tracks: Sequence[np.ndarray], numbers: Sequence[int], begins: Sequence[int]) -> np.ndarray:
    """(B, T, F): windows of tracks from the frames at which each begins; beyond a track's end there is silence, 0."""
    windows = np.zeros((len(numbers), WINDOW_FRAMES, tracks[0].shape[1]), tracks[0].dtype)
    for window, track, begin in zip(windows, numbers, begins, strict=True):
        held = tracks[track][begin : begin + WINDOW_FRAMES]
        window[: len(held)] = held
    return windows
