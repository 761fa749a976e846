"""Recorded hits as the renderer wants them: mono, 44.1 kHz, starting at their attack.  S samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.rates import SAMPLE_RATE_HZ

LONGEST_HIT_S = 6.0
ATTACK_FRACTION, HALF_WAY_FRACTION = 0.05, 0.2  # of the peak of the first quarter second: a hit begins at the first,
FASTEST_RISE_S = 0.0025  # but no longer than this before the second: what is earlier is a hand, a foot or a room
QUIETEST_PIECE = 0.16  # of the loudest: some kits leave hi-hats 30 dB below the snare
LEAD_IN_SAMPLES = 16  # kept before that point, so that the attack does not start with a step
TAIL_FRACTION = 10 ** (-66 / 20)  # of the peak: what comes after the last sample above it is cut
FADE_SAMPLES = 441  # 10 ms
PEAK = 0.99  # of full scale: the most that a rendering reaches


@dataclass(frozen=True)
class Layer:
    """One recording: velocities low..high (1..127, both included), samples float32 (S,)."""

    low: int
    high: int
    samples: np.ndarray


@dataclass(frozen=True)
class Voice:
    """One way a piece sounds; amplitude grows as (velocity / 127) ** curve on top of the recordings' own loudness."""

    layers: tuple[Layer, ...]
    curve: float = 1.0


@dataclass(frozen=True)
class Kit:
    """A loaded kit: every piece it has, with one or more voices; a track uses one voice of each piece."""

    name: str
    pieces: Mapping[str, tuple[Voice, ...]]

    @property
    def size_bytes(self) -> int:
        """Memory of all recordings, in bytes."""
        return sum(layer.samples.nbytes for voices in self.pieces.values() for v in voices for layer in v.layers)


def trim_hit(samples: np.ndarray) -> np.ndarray | None:
    """Cut what is before the attack and inaudible after it: the attack comes to lie at LEAD_IN_SAMPLES. (S,) -> (S',)
    or None if silent.
    """
    samples = np.ascontiguousarray(samples[: int(LONGEST_HIT_S * SAMPLE_RATE_HZ)], dtype=np.float32)
    level = np.abs(samples)
    peak = float(level.max(initial=0.0))
    if not np.isfinite(peak) or peak < 1e-5:
        return None
    rise = int(np.argmax(level > 0.1 * peak))
    near_peak = float(level[rise : rise + SAMPLE_RATE_HZ // 4].max())
    half_way = int(np.argmax(level > HALF_WAY_FRACTION * near_peak))
    attack = max(int(np.argmax(level > ATTACK_FRACTION * near_peak)), half_way - round(FASTEST_RISE_S * SAMPLE_RATE_HZ))
    start = max(0, attack - LEAD_IN_SAMPLES)
    end = len(samples) - int(np.argmax(level[::-1] > TAIL_FRACTION * peak))
    hit = samples[start:end].copy()
    fade = min(FADE_SAMPLES, len(hit) // 2)
    if fade:
        hit[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    lead = attack - start
    hit[:lead] *= np.linspace(0, 1, lead, endpoint=False, dtype=np.float32)
    return np.pad(hit, (LEAD_IN_SAMPLES - lead, 0))


def loudness(layer: Layer, curve: float) -> float:
    """Peak amplitude of a layer's loudest hit."""
    return float(np.abs(layer.samples).max()) * (layer.high / 127) ** curve


def normalised(pieces: Mapping[str, tuple[Voice, ...]], peak: float = 0.5) -> dict[str, tuple[Voice, ...]]:
    """The same voices, scaled by one factor that brings the loudest kick or snare hit, as played, to ``peak``.

    A voice that would be louder than that is lowered to it, one that would be very quiet is raised to 16 dB below.
    """
    loudest = 0.0
    for wanted in (("kick", "snare"), tuple(pieces)):
        for piece in wanted:
            for voice in pieces.get(piece, ()):
                loudest = max(loudest, *(loudness(layer, voice.curve) for layer in voice.layers))
        if loudest > 0:
            break

    def scaled(voice: Voice) -> Voice:
        own = max(loudness(layer, voice.curve) for layer in voice.layers)
        factor = np.float32(peak / max(own, min(loudest, own / QUIETEST_PIECE)))
        return Voice(tuple(Layer(x.low, x.high, x.samples * factor) for x in voice.layers), voice.curve)

    return {piece: tuple(scaled(voice) for voice in voices) for piece, voices in pieces.items()}
