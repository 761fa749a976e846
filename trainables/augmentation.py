"""Windows mixed anew, in bands: what a studio does to samples, done to magnitudes on whatever device they are on.

A band's magnitude follows a gain exactly and a smooth equaliser nearly; a shift along bands is a shift in pitch, a
reverberation a running sum of power, two sounds together lie between the root of the summed powers (noise) and the sum
(tones). So a batch of windows costs a few passes over it, where samples would cost a transform a window.

B batch, T frames, S stems (classes), F bands, K classes. Magnitudes are float32 and not below 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from data_prep.audible import AFTER_FRAMES, BEFORE_FRAMES, OCTAVES, SILENT, band_octaves
from data_prep.onsets import NEIGHBOUR, ONSET
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.spectrogram import FFT_SAMPLES, filterbank

DARK_FROM_HZ = 2000.0
EQUALISER_POINTS = 6  # along the bands, with straight lines between them
TINY = 1e-8
HOLD_FRAMES = 8  # a compressor looks this far back
REVERBERATION_DOUBLINGS = 7  # 128 frames
EFFECTIVE_BINS = 1 / (filterbank() ** 2).sum(axis=1)  # of the transform, behind each band's mean
BAND_CENTRES = filterbank().argmax(axis=1)


class Draws:
    """Random numbers on one device, from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator, self.device = generator, generator.device

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Normal around 0, at most 2.5 deviations away."""
        drawn = torch.randn(shape, generator=self.generator, device=self.device)
        return drawn.clamp(-2.5, 2.5) * deviation

    def chance(self, share: float, *shape: int) -> Tensor:
        """Bool, True with that probability."""
        return torch.rand(shape, generator=self.generator, device=self.device) < share


def amplitude(db: Tensor) -> Tensor:
    """Decibels as a factor."""
    return 10 ** (db / 20)


def power(magnitudes: Tensor) -> Tensor:
    """(..., T, F) -> (...): mean power of the sound over frames, up to a constant."""
    weights = torch.as_tensor(EFFECTIVE_BINS, dtype=magnitudes.dtype, device=magnitudes.device)
    return (magnitudes.square() @ weights).mean(dim=-1)


def equaliser(draws: Draws, most_db: float, *shape: int) -> Tensor:
    """Gains (..., F) in dB: straight lines between points drawn up to +-``most_db``."""
    bands = len(BAND_CENTRES)
    points = draws.between(-most_db, most_db, *shape, EQUALISER_POINTS)
    flat = points.reshape(-1, 1, EQUALISER_POINTS)
    lines = functional.interpolate(flat, size=bands, mode="linear", align_corners=True)
    return lines.reshape(*shape, bands)


def darkness(draws: Draws, low_db: float, high_db: float, count: int) -> Tensor:
    """Gains (B, F) in dB that fall, or rise, in a line over the bands from DARK_FROM_HZ to the top, by low..high dB."""
    hz = torch.as_tensor(BAND_CENTRES, dtype=torch.float32, device=draws.device) * (SAMPLE_RATE_HZ / FFT_SAMPLES)
    octaves = (hz / DARK_FROM_HZ).log2().clamp(min=0)
    return draws.between(low_db, high_db, count, 1) * octaves / octaves[-1]


def pitch_matrix(semitones: Tensor) -> Tensor:
    """(...) shifts -> (..., F, F): magnitudes (T, F) @ matrix are those of the sound played that much higher."""
    hz = torch.as_tensor(BAND_CENTRES, dtype=torch.float32, device=semitones.device).log2() * 12
    wanted = hz - semitones.unsqueeze(-1)  # where the new bands' sound stood
    above = torch.searchsorted(hz, wanted.contiguous()).clamp(1, len(hz) - 1)
    low, high = hz[above - 1], hz[above]
    place = (above - 1 + (wanted - low) / (high - low)).clamp(0, len(hz) - 1)
    rows = torch.arange(len(hz), device=semitones.device, dtype=torch.float32).unsqueeze(-1)
    return (1 - (place.unsqueeze(-2) - rows).abs()).clamp(min=0)


def stretched(frames: Tensor, positions: Tensor) -> Tensor:
    """(B, L, ...) frames at fractional positions (B, T) -> (B, T, ...)."""
    batch, long = frames.shape[:2]
    below = positions.floor().clamp(0, long - 1).long()
    rows = torch.arange(batch, device=frames.device).unsqueeze(1) * long
    flat = frames.flatten(0, 1).flatten(1)
    low = flat.index_select(0, (rows + below).flatten())
    high = flat.index_select(0, (rows + (below + 1).clamp(max=long - 1)).flatten())
    mixed = torch.lerp(low, high, (positions - below).flatten().unsqueeze(1).to(low.dtype))
    return mixed.view(batch, positions.shape[1], *frames.shape[2:])


def stretched_targets(halves: Tensor, starts: Tensor, speeds: Tensor, frames: int) -> Tensor:
    """(B, L, K) halves of a window that is read from ``starts`` (B,) on at ``speeds`` (B,) -> (B, frames, K)."""
    window, at, of = (halves == ONSET).nonzero(as_tuple=True)
    moved = ((at - starts[window]) / speeds[window]).round().long()
    inside = (moved >= 0) & (moved < frames)
    marks = halves.new_zeros(halves.shape[0], frames, halves.shape[2])
    marks[window[inside], moved[inside], of[inside]] = ONSET
    return with_neighbours(marks)


def with_neighbours(marks: Tensor) -> Tensor:
    """(B, T, K) with ONSET at onsets: NEIGHBOUR in the frames beside them."""
    beside = torch.zeros_like(marks)
    beside[:, 1:] = marks[:, :-1]
    beside[:, :-1] = torch.maximum(beside[:, :-1], marks[:, 1:])
    return torch.maximum(marks, beside.clamp(max=NEIGHBOUR))


def audible(stems: Tensor, mix: Tensor, halves: Tensor, stem_of: Sequence[int | None], rise: float) -> Tensor:
    """(B, T, K) halves without the onsets whose sound does not stand out; what data_prep.audible does, on any device.

    ``stems`` (B, S, T, F) as they are in the ``mix`` (B, T, F); ``stem_of``: the stem that has a class, None where its
    onsets stay. An onset stays if the stem rises by ``rise`` of the mix in OCTAVES, and where a window begins.
    """
    marks = torch.where(halves == ONSET, halves, 0)
    window, at, of = marks.nonzero(as_tuple=True)
    rows = torch.tensor([-1 if stem is None else stem for stem in stem_of], device=marks.device)[of]
    window, at, of, rows = (index[rows >= 0] for index in (window, at, of, rows))
    last = marks.shape[1] - 1
    around = [(at + step).clamp(0, last) for step in range(-BEFORE_FRAMES, AFTER_FRAMES + 1)]
    before = torch.stack([stems[window, rows, frame] for frame in around[:BEFORE_FRAMES]]).amin(dim=0)  # (N, F)
    heard = torch.zeros_like(before)
    for frame in around[BEFORE_FRAMES:]:
        heard = torch.maximum(heard, (stems[window, rows, frame] - before) / (mix[window, frame] + SILENT))
    octaves = torch.as_tensor(band_octaves(), dtype=torch.float32, device=marks.device)
    lost = ((heard >= rise).float() @ octaves < OCTAVES) & (at >= BEFORE_FRAMES)
    marks[window[lost], at[lost], of[lost]] = 0
    return with_neighbours(marks)


def dynamics(magnitudes: Tensor, exponents: Tensor) -> Tensor:
    """(..., T, F) with the loudness of each moment, relative to the loudest, raised to ``exponents`` (...).

    Below 1 it is compressed; above 1 what is quiet becomes quieter. Loudness is held for HOLD_FRAMES.
    """
    loudness = magnitudes.mean(dim=-1)
    padded = functional.pad(loudness.flatten(0, -2).unsqueeze(1), (HOLD_FRAMES - 1, 0))
    held = functional.max_pool1d(padded, HOLD_FRAMES, 1).view_as(loudness)
    relative = (held + TINY) / (held.amax(dim=-1, keepdim=True) + TINY)
    gains = relative.clamp(min=1e-4) ** (exponents - 1).unsqueeze(-1)
    return magnitudes * gains.unsqueeze(-1)


def reverberation(powers: Tensor, decays: Tensor) -> Tensor:
    """(B, T, F) powers -> what is left of all earlier frames, ``decays`` (B, F) of it from frame to frame.

    Scaled so that as much power comes back as was sent.
    """
    summed, factor = functional.pad(powers, (0, 0, 1, 0))[:, :-1], decays.unsqueeze(1)
    for doubling in range(REVERBERATION_DOUBLINGS):
        step = 1 << doubling
        later = summed[:, :-step] * factor
        summed = torch.cat((summed[:, :step], summed[:, step:] + later), dim=1)
        factor = factor * factor
    return summed * (1 - decays).unsqueeze(1)


def together(magnitudes: Tensor, tonal: Tensor) -> Tensor:
    """Sounds (B, S, T, F) as one, (B, T, F): ``tonal`` (B,) of their sum, the rest the root of their summed powers."""
    noisy = magnitudes.square().sum(dim=1).sqrt_()
    return torch.lerp(noisy, magnitudes.sum(dim=1), tonal[:, None, None])
