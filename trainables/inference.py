"""A trained network over whole recordings: in windows of the training length whose margins are thrown away.

Recurrent networks read a whole file 0.5 to 2 points worse than windows joined by their centres. No window reaches
beyond a recording's ends, as none does in training: what lies within a margin of an end comes from the first or last
window as it stands. Only a recording that is shorter than a window has silence behind it.
B windows, T frames, F bands, K classes.
"""

from collections.abc import Callable, Sequence
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
    begins = [min(max(start - MARGIN_FRAMES, 0), max(len(tracks[of]) - WINDOW_FRAMES, 0)) for of, start in centres]
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
