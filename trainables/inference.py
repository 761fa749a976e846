"""A trained network over whole recordings: in windows of the training length whose margins are thrown away.

Recurrent networks read a whole file 0.5 to 2 points worse than windows joined by their centres.
T frames, F bands, K classes.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from trainables.memory import MemoryGuard
from trainables.network import Network, autocast

MARGIN_FRAMES = 50
CENTRE_FRAMES = WINDOW_FRAMES - 2 * MARGIN_FRAMES
BATCH_WINDOWS = {"cpu": 32, "cuda": 512}  # at once, where no gradients are needed


@torch.inference_mode()
def activations(network: Network, tracks: Sequence[np.ndarray], precision: str = "auto") -> list[Tensor]:
    """Bands (T_i, F) of some tracks -> each class's probability a frame, (T_i, K) float32 on the network's device."""
    device = next(network.parameters()).device
    network.eval()
    places = [(track, start) for track, bands in enumerate(tracks) for start in range(0, len(bands), CENTRE_FRAMES)]
    centres: list[list[Tensor]] = [[] for _ in tracks]
    size = BATCH_WINDOWS[device.type]
    guard = MemoryGuard(size)
    for first in range(0, len(places), size):
        batch = places[first : first + size]
        windows = torch.from_numpy(_windows(tracks, batch)).to(device)
        logits = guard.run(partial(logits_of, network, windows, precision), len(batch))
        probabilities = logits.sigmoid()[:, MARGIN_FRAMES : MARGIN_FRAMES + CENTRE_FRAMES]
        for (track, _), centre in zip(batch, probabilities, strict=True):
            centres[track].append(centre)
    return [torch.cat(pieces)[: len(bands)] for pieces, bands in zip(centres, tracks, strict=True)]


def logits_of(network: Network, bands: Tensor, precision: str, at_once: int) -> Tensor:
    """(B, T, F) -> (B, T, K) float32, ``at_once`` windows at a time."""
    with autocast(bands.device, precision):
        return torch.cat([network(some).float() for some in bands.split(at_once)])


def _windows(tracks: Sequence[np.ndarray], places: Sequence[tuple[int, int]]) -> np.ndarray:
    """(B, window, F): the frames around each centre; beyond a track's ends there is silence, which is 0."""
    windows = np.zeros((len(places), WINDOW_FRAMES, tracks[0].shape[1]), tracks[0].dtype)
    for window, (track, start) in zip(windows, places, strict=True):
        begin = start - MARGIN_FRAMES
        held = tracks[track][max(begin, 0) : begin + WINDOW_FRAMES]
        window[max(-begin, 0) : max(-begin, 0) + len(held)] = held
    return windows
