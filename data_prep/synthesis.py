"""What synthesised drums are made of: ringing modes, gliding tones, noise, and the room and microphones of a kit.

R recordings (one per velocity layer and take), K modes, B noise bands, S samples at 44.1 kHz. Gains are amplitudes
where not named dB. The same state of a generator gives the same sound.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq

from data_prep.augment import equalised
from data_prep.samples import SAMPLE_RATE_HZ

BAND_EDGES_HZ = np.array([40.0, 250, 800, 2000, 4500, 9000, 18000])
BAND_CENTRES_HZ = np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:])
NOISE_SAMPLES = 1 << 17  # a kit's recordings begin anywhere in three seconds of one noise
BLOCK = 256  # modes advance by products: one exponential per block and one per sample of a block
LOUDNESS = 0.35  # root mean square at which noise and many modes peak at about 1
QUIETEST_DB = -50.0
FADE_SHARE = 0.3  # of a recording, at its end
REFLECTIONS, REFLECTION_S, REFLECTION_DB = (3, 9), (0.001, 0.03), (-28.0, -11.0)
DRY_SHARE = 0.35  # of the kits have no reflections


def amplitude(db: np.ndarray | float) -> np.ndarray:
    """Decibels to amplitude."""
    return 10 ** (np.asarray(db) / 20)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two positive ones, every octave alike."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def clock(seconds: float) -> np.ndarray:
    """Times in seconds of the samples of so long a sound, (S,) float32; whole blocks."""
    blocks = max(1, -(-round(seconds * SAMPLE_RATE_HZ) // BLOCK))
    return (np.arange(blocks * BLOCK) / SAMPLE_RATE_HZ).astype(np.float32)


def hump_db(hz: np.ndarray, centre_hz: np.ndarray | float, octaves: float) -> np.ndarray:
    """A spectrum in dB: 0 at the centre, -3 so many octaves from it, falling faster farther out."""
    return np.maximum(-3 * (np.log2(np.asarray(hz) / centre_hz) / octaves) ** 2, QUIETEST_DB)


def softer_db(hz: np.ndarray, strengths: np.ndarray, per_octave: float) -> np.ndarray:
    """How dull soft hits are: 0 dB at strength 1, less per octave above 200 Hz; hz (K,), strengths (R,) -> (R, K)."""
    return -per_octave * (1 - strengths)[:, None] * np.log2(np.maximum(hz / 200, 1))


def tones(
    hz: np.ndarray, decay_s: np.ndarray, gains: np.ndarray, t: np.ndarray, glide: float, glide_s: float
) -> np.ndarray:
    """Modes of a skin that is tighter while it moves far: pitch starts (1 + glide) as high and settles within glide_s.

    hz, decay_s (K,), gains (R, K), t (S,) -> (R, S); phases begin at 0.
    """
    cycles = t + np.float32(glide * glide_s) * (1 - np.exp(-t / np.float32(glide_s)))
    waves = np.sin((2 * np.pi * hz.astype(np.float32))[:, None] * cycles)
    waves *= np.exp(-t / decay_s.astype(np.float32)[:, None])
    return gains.astype(np.float32) @ waves


def ringing(hz: np.ndarray, decay_s: np.ndarray, gains: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A bank of decaying partials: hz, decay_s (K,), gains complex (R, K), t (S,) -> (R, S) float32."""
    turns = (2j * np.pi * hz - 1 / decay_s) / SAMPLE_RATE_HZ
    blocks = np.exp(turns * (BLOCK * np.arange(len(t) // BLOCK))[:, None])
    within = gains.T[:, :, None] * np.exp(turns[:, None] * np.arange(BLOCK))[:, None]
    outer = np.concatenate([blocks.real, -blocks.imag], axis=1).astype(np.float32)
    inner = np.concatenate([within.real, within.imag]).astype(np.float32)
    sound = outer @ inner.reshape(len(inner), -1)  # one product: threads of a busy machine wait for each other once
    return sound.reshape(len(blocks), len(gains), BLOCK).swapaxes(0, 1).reshape(len(gains), len(t))


def scattered(rng: np.random.Generator, gains_db: np.ndarray, wobble_db: float) -> np.ndarray:
    """Gains (R, K) in dB with takes of their own, random phases, scaled to LOUDNESS at the loudest: complex (R, K)."""
    gains = amplitude(gains_db + rng.normal(0, wobble_db, gains_db.shape))
    gains = gains * (LOUDNESS / np.sqrt((gains**2).sum(axis=1).max() / 2))
    return gains * np.exp(2j * np.pi * rng.random(gains.shape))


@dataclass(frozen=True)
class Noise:
    """One noise in bands, (B, NOISE_SAMPLES), each of root mean square 1; the rng that cuts from it."""

    bands: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Noise":
        """White noise cut at BAND_EDGES_HZ, each edge moved by up to a sixth of an octave, with soft flanks."""
        spectrum = rfft(rng.standard_normal(NOISE_SAMPLES, dtype=np.float32))
        hz = np.maximum(rfftfreq(NOISE_SAMPLES, 1 / SAMPLE_RATE_HZ), 1.0)
        edges_hz = BAND_EDGES_HZ * 2 ** rng.uniform(-1 / 6, 1 / 6, len(BAND_EDGES_HZ))
        above = np.clip(2 * np.log2(hz / edges_hz[:, None]) + 0.5, 0, 1)  # (edges, bins), half an octave wide
        shares = np.sqrt(above[:-1] - above[1:]).astype(np.float32)
        bands = irfft(spectrum * shares, NOISE_SAMPLES)
        return cls(bands / np.sqrt(np.mean(bands**2, axis=1, keepdims=True)))

    def burst(
        self,
        rng: np.random.Generator,
        gains_db: np.ndarray,
        decay_s: np.ndarray | float,
        t: np.ndarray,
        rise_s: np.ndarray | float = 2e-4,
    ) -> np.ndarray:
        """Decaying noise that peaks at about 1 in the loudest recording: gains_db (R, B), decay_s and rise_s (B,) or
        one for all, t (S,) -> (R, S).
        """
        gains = amplitude(gains_db).astype(np.float32)
        gains *= np.float32(LOUDNESS / np.sqrt((gains**2).sum(axis=1).max()))
        decay_s, rise_s = (np.broadcast_to(x, len(self.bands)).astype(np.float32)[:, None] for x in (decay_s, rise_s))
        out = np.zeros((len(gains), len(t)), np.float32)
        used = min(len(t), round(float(decay_s.max()) * 8 * SAMPLE_RATE_HZ) + BLOCK)
        envelopes = np.exp(-t[:used] / decay_s) * (1 - np.exp(-t[:used] / rise_s))
        for row, gain in enumerate(gains):
            start = int(rng.integers(NOISE_SAMPLES - used))
            for band in np.flatnonzero(gain > gain.max() * 1e-3):
                out[row, :used] += gain[band] * envelopes[band] * self.bands[band, start : start + used]
        return out


@dataclass(frozen=True)
class Room:
    """How a whole kit was recorded: an equaliser (a seed of it) and early reflections (samples late, gains)."""

    equaliser: int
    delays: tuple[int, ...]
    gains: tuple[float, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Room":
        """Gentle tilt and peaks; in two of three kits three to eight reflections within 30 ms."""
        count = 0 if rng.random() < DRY_SHARE else int(rng.integers(*REFLECTIONS))
        late_s = [log_uniform(rng, *REFLECTION_S) for _ in range(count)]
        nearest_db = rng.uniform(*REFLECTION_DB)
        gains = amplitude(nearest_db - rng.uniform(0, 8, count)) * rng.choice([-1.0, 1.0], count)
        return cls(int(rng.integers(2**31)), tuple(round(s * SAMPLE_RATE_HZ) for s in late_s), tuple(gains))

    def heard(self, hits: np.ndarray) -> np.ndarray:
        """(R, S) -> (R, S), faded at the end."""
        heard = equalised(hits.astype(np.float32), np.random.default_rng(self.equaliser))
        dry = heard.copy()
        for delay, gain in zip(self.delays, self.gains, strict=True):
            if delay < hits.shape[1]:
                heard[:, delay:] += np.float32(gain) * dry[:, : hits.shape[1] - delay]
        fade = max(1, round(FADE_SHARE * hits.shape[1]))
        heard[:, -fade:] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
        return heard
