"""What keeps labels true and makes renders less alike: equaliser, room, compression, saturation, noise, music around,
level.

Nothing here moves an onset: filters are minimum-phase and a room's direct sound comes first. S samples at 44.1 kHz.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import maximum_filter1d
from scipy.signal import sosfilt

from data_prep.samples import PEAK, SAMPLE_RATE_HZ

# the high shelf is set so that mixes have MDB's mean band energies within 4 dB
LOW_SHELF_DB, LOW_SHELF_HZ = (-5.0, 5.0), (80.0, 250.0)
HIGH_SHELF_DB, HIGH_SHELF_HZ = (-10.0, 3.0), (3000.0, 9000.0)
PEAK_DB, PEAK_HZ = (-6.0, 6.0), (200.0, 6000.0)
ROOM_CHANCE, ROOM_WET_DB, ROOM_S = 0.6, (-26.0, -10.0), (0.15, 0.8)
COMPRESSION_CHANCE, SATURATION_CHANCE, NOISE_CHANCE = 0.5, 0.2, 0.5
NOISE_DB = (-55.0, -30.0)  # relative to the mix
DRUM_TO_REST_DB = (-8.0, 8.0)
LEVEL_DB = (-28.0, -12.0)  # of the whole, as root mean square
SHORTEST_LOUD = 1e-6
BLOCK = 256  # samples per step of the compressor's gain


def _biquad(b: tuple[float, float, float], a: tuple[float, float, float]) -> np.ndarray:
    return np.array([*b, *a]) / a[0]


def _shelf(gain_db: float, hz: float, *, high: bool) -> np.ndarray:
    """Second-order shelf (R. Bristow-Johnson's audio equaliser formulas), slope 0.7."""
    amplitude, w = 10 ** (gain_db / 40), 2 * np.pi * hz / SAMPLE_RATE_HZ
    cos = np.cos(w) * (-1 if high else 1)
    alpha = np.sin(w) / 2 * np.sqrt((amplitude + 1 / amplitude) * (1 / 0.7 - 1) + 2)
    root = 2 * np.sqrt(amplitude) * alpha
    up, down = amplitude + 1, amplitude - 1
    sign = -1 if high else 1
    return _biquad(
        (
            amplitude * (up - down * cos + root),
            sign * 2 * amplitude * (down - up * cos),
            amplitude * (up - down * cos - root),
        ),
        (up + down * cos + root, sign * -2 * (down + up * cos), up + down * cos - root),
    )


def _peak(gain_db: float, hz: float, q: float) -> np.ndarray:
    amplitude, w = 10 ** (gain_db / 40), 2 * np.pi * hz / SAMPLE_RATE_HZ
    alpha, cos = np.sin(w) / (2 * q), np.cos(w)
    return _biquad(
        (1 + alpha * amplitude, -2 * cos, 1 - alpha * amplitude),
        (1 + alpha / amplitude, -2 * cos, 1 - alpha / amplitude),
    )


def level_db(samples: np.ndarray) -> float:
    """Root mean square in dB of full scale; silence is -120."""
    mean = float(np.dot(samples, samples)) / max(1, len(samples))
    return 10 * float(np.log10(max(mean, 1e-12)))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def equalised(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low shelf, high shelf and one peak, drawn anew."""
    sections = np.stack(
        [
            _shelf(rng.uniform(*LOW_SHELF_DB), _log_uniform(rng, *LOW_SHELF_HZ), high=False),
            _shelf(rng.uniform(*HIGH_SHELF_DB), _log_uniform(rng, *HIGH_SHELF_HZ), high=True),
            _peak(rng.uniform(*PEAK_DB), _log_uniform(rng, *PEAK_HZ), rng.uniform(0.5, 2.0)),
        ]
    )
    return sosfilt(sections.astype(np.float32), samples)


def in_room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The samples plus a decaying, darkening reverberation 10 to 26 dB below them; the same length, nothing before time
    0.
    """
    length = round(rng.uniform(*ROOM_S) * SAMPLE_RATE_HZ)
    pre_delay = round(rng.uniform(0.002, 0.015) * SAMPLE_RATE_HZ)
    decay = np.exp(np.linspace(0, -6.9, length, dtype=np.float32))
    response = rng.standard_normal(length, dtype=np.float32) * decay
    response = sosfilt(_shelf(-12.0, _log_uniform(rng, 2000, 6000), high=True)[None].astype(np.float32), response)
    response /= np.sqrt(np.dot(response, response))
    # overlap-add: blocks long enough that a transform is mostly signal, short enough to stay in cache
    size = next_fast_len(max(4 * length, 1 << 16), real=True)
    step = size - length + 1
    spectrum = rfft(response, size)
    wet = np.zeros(len(samples) + size, np.float32)
    for start in range(0, len(samples), step):
        wet[start : start + size] += irfft(rfft(samples[start : start + step], size) * spectrum, size)
    out = samples.copy()
    out[pre_delay:] += wet[: max(0, len(samples) - pre_delay)] * np.float32(10 ** (rng.uniform(*ROOM_WET_DB) / 20))
    return out


def compressed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Peaks above a threshold brought down; the gain is set per 256 samples by the loudest of the last 50 ms, joined by
    lines.
    """
    blocks = -(-len(samples) // BLOCK)
    padded = np.pad(samples, (0, blocks * BLOCK - len(samples)))
    peaks = np.abs(padded).reshape(blocks, BLOCK).max(axis=1)
    held = maximum_filter1d(peaks, 9, origin=4)  # looks back only
    loudest = float(held.max(initial=0.0))
    if loudest < SHORTEST_LOUD:
        return samples
    over_db = np.maximum(0, 20 * np.log10(np.maximum(held / loudest, 1e-6)) + rng.uniform(6, 20))
    gain = 10 ** (-over_db * (1 - 1 / rng.uniform(1.5, 4.0)) / 20)
    steps = np.linspace(0, 1, BLOCK, endpoint=False, dtype=np.float32)
    before, after = gain.astype(np.float32), np.append(gain[1:], gain[-1]).astype(np.float32)
    return (padded.reshape(blocks, BLOCK) * (before[:, None] + (after - before)[:, None] * steps)).ravel()[
        : len(samples)
    ]


def saturated(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft clipping, level kept."""
    loudest = float(np.abs(samples).max(initial=0.0))
    if loudest < SHORTEST_LOUD:
        return samples
    drive = np.float32(rng.uniform(1.0, 4.0) / loudest)
    return np.tanh(samples * drive) * np.float32(loudest / np.tanh(drive * loudest))


def mixed(drums: np.ndarray, rest: np.ndarray, drum_to_rest_db: float) -> np.ndarray:
    """Drums and music of the same length at a ratio of their levels in dB; where one of them is silent, the sum."""
    drums_db, rest_db = level_db(drums), level_db(rest)
    if min(drums_db, rest_db) <= -119:
        return drums + rest
    return drums + rest * np.float32(10 ** ((drums_db - rest_db - drum_to_rest_db) / 20))


def augment(drums: np.ndarray, accompaniment: np.ndarray | None, *, seed: int) -> np.ndarray:
    """Drums (S,) as they might have been recorded, with the accompaniment (S,) where one is given, at a random level.

    Returns float32 (S,) within [-1, 1]; the same input and seed give the same samples. The drums' onsets stay where
    they are.
    """
    return augment_apart(drums, accompaniment, seed=seed)[0]


def augment_apart(drums: np.ndarray, accompaniment: np.ndarray | None, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``augment`` gives, and the drums (S,) in it: equalised and compressed, without music, room and noise."""
    rng = np.random.default_rng(seed)
    samples = np.ascontiguousarray(drums, dtype=np.float32)
    if not len(samples):
        return samples, samples
    samples = equalised(samples, rng)
    if rng.random() < COMPRESSION_CHANCE:
        samples = compressed(samples, rng)
    alone = samples
    if accompaniment is not None:
        assert len(accompaniment) == len(drums), (
            f"{len(accompaniment)} samples of accompaniment to {len(drums)} of drums"
        )
        samples = mixed(samples, accompaniment.astype(np.float32, copy=False), rng.uniform(*DRUM_TO_REST_DB))
    if rng.random() < ROOM_CHANCE:
        samples = in_room(samples, rng)
    if rng.random() < SATURATION_CHANCE:
        samples = saturated(samples, rng)
    present_db = level_db(samples)
    if rng.random() < NOISE_CHANCE and present_db > -119:
        samples = samples + rng.standard_normal(len(samples), dtype=np.float32) * np.float32(
            10 ** ((present_db + rng.uniform(*NOISE_DB)) / 20)
        )
    gain_db = rng.uniform(*LEVEL_DB) - present_db if present_db > -119 else 0.0
    loudest = float(np.abs(samples).max())
    gain = min(10 ** (gain_db / 20), PEAK / max(loudest, SHORTEST_LOUD))
    return (samples * np.float32(gain)).astype(np.float32, copy=False), alone * np.float32(gain)
