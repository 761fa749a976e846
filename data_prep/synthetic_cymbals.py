"""Hi-hats, crashes and rides that never were: dense modes of thin plates, and noise where modes are too many to count.

K modes, R recordings, S samples. The ranges reach well beyond what four families of recorded training kits measure
(centroid: closed hats 3.7 to 12.9 kHz, crashes 2 to 6.9, rides 1.4 to 11.3; decay to -20 dB: closed hats 115 to 315 ms,
open ones 295 to 580, crashes 0.56 to 1.2 s, rides 0.18 to 2.4 s).
"""

import numpy as np

from data_prep.synthesis import (
    BAND_CENTRES_HZ,
    Noise,
    amplitude,
    clock,
    hump_db,
    log_uniform,
    ringing,
    scattered,
    softer_db,
)
from data_prep.synthetic_drums import Hits, Strengths

HAT_MODES, CYMBAL_MODES, LOW_MODES = 160, 200, 40
SPLASH_SHARE, CHINA_SHARE = 0.2, 0.35  # of the first and of the second crash
SQUARES_HZ = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0])  # the six oscillators of the best known drum machine


class Plate:
    """Modes as a thin plate has them (evenly many per Hz, a few low ones), or of six square waves; noise in its
    spectrum.
    """

    def __init__(self, rng: np.random.Generator, noise: Noise, count: int, electronic: bool):
        self.rng, self.noise = rng, noise
        if electronic:
            odd = np.outer(SQUARES_HZ * rng.uniform(0.8, 1.4) * rng.normal(1, 0.05, 6), np.arange(1, 50, 2)).ravel()
            self.hz = odd[odd < 17000]
        else:
            low = np.exp(rng.uniform(np.log(250), np.log(2200), LOW_MODES))
            self.hz = np.concatenate([low, rng.uniform(1800, 17000, count - LOW_MODES)])
        self.own_db = rng.normal(0, rng.uniform(2, 6), len(self.hz))
        self.spread = np.exp(rng.normal(0, 0.5, len(self.hz)))
        self.low_db = rng.uniform(-22, 10)  # of the lowest modes, in band energy against the rest
        self.low_hz = log_uniform(rng, 350, 900)
        self.wash_db = -60.0 if electronic and rng.random() < 0.5 else rng.uniform(-14, 14)  # noise against modes
        self.damping = rng.uniform(0.0, 0.6)  # how much sooner high modes end

    def struck(
        self,
        strengths: np.ndarray,
        t: np.ndarray,
        *,
        centre_hz: float,
        octaves: float,
        decay_s: float,
        bloom: float = 0.0,
        bloom_s: float = 0.02,
    ) -> np.ndarray:
        """A hit: its spectrum, decay at 2 kHz, and the share that only builds up after it, (R, S)."""
        decays_s = decay_s * self.spread * np.maximum(self.hz / 2000, 1) ** -self.damping
        body_db = hump_db(self.hz, centre_hz, octaves)
        low_db = hump_db(self.hz, self.low_hz, 0.5) + self.low_db
        gains_db = self.own_db + np.logaddexp(body_db / 4.34, low_db / 4.34) * 4.34 + softer_db(self.hz, strengths, 1.7)
        gains = scattered(self.rng, gains_db, 2.0)
        sound = ringing(self.hz, decays_s, gains, t)
        if bloom:
            rising_s = 1 / (1 / decays_s + 1 / bloom_s)
            sound -= np.float32(bloom) * ringing(self.hz, rising_s, gains, t)
        bands_s = decay_s * np.maximum(BAND_CENTRES_HZ / 2000, 1) ** -self.damping
        body = hump_db(BAND_CENTRES_HZ, centre_hz, octaves)
        low = hump_db(BAND_CENTRES_HZ, self.low_hz, 0.6) + self.low_db - 10
        spectrum = np.logaddexp(body / 4.34, low / 4.34) * 4.34 + softer_db(BAND_CENTRES_HZ, strengths, 1.7)
        wash = self.noise.burst(self.rng, spectrum, bands_s, t)
        if bloom:
            wash *= 1 - np.float32(bloom) * np.exp(-t / np.float32(bloom_s))
        modes_share, wash_share = amplitude(-max(self.wash_db, 0.0)), amplitude(min(self.wash_db, 0.0))
        return np.float32(modes_share) * sound + np.float32(wash_share) * wash

    def tick(
        self, strengths: np.ndarray, t: np.ndarray, level_db: float, centre_hz: float, decay_s: float
    ) -> np.ndarray:
        """The stick on the metal, (R, S)."""
        spectrum = hump_db(BAND_CENTRES_HZ, centre_hz, 1.2) + softer_db(BAND_CENTRES_HZ, strengths, 3.0)
        return np.float32(amplitude(level_db)) * self.noise.burst(self.rng, spectrum, decay_s, t)


def hats(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """One pair of cymbals: closed and struck, closed by the foot, open and struck."""
    plate = Plate(rng, noise, HAT_MODES, electronic)
    centre_hz, octaves = log_uniform(rng, 4200, 13500), rng.uniform(0.6, 1.5)
    closed_s, open_s = log_uniform(rng, 0.016, 0.2), log_uniform(rng, 0.1, 0.4)
    tick_db, tick_hz, tick_s = rng.uniform(-16, 2), log_uniform(rng, 2500, 10000), log_uniform(rng, 0.0005, 0.004)
    shared = {"octaves": octaves, "centre_hz": centre_hz}

    t, rows = clock(min(0.36, max(0.08, 6 * closed_s))), strengths["closed_hat"]
    closed = plate.struck(rows, t, decay_s=closed_s, **shared)
    closed += 0.5 * plate.struck(rows, t, decay_s=closed_s * rng.uniform(0.15, 0.4), **shared)
    closed += plate.tick(rows, t, tick_db, tick_hz, tick_s)

    rows, pedal_s = strengths["pedal_hat"], log_uniform(rng, 0.015, 0.08)
    t = clock(min(0.3, max(0.08, 6 * pedal_s)))
    pedal = plate.struck(rows, t, decay_s=pedal_s, octaves=octaves, centre_hz=centre_hz * rng.uniform(0.4, 0.9))
    pedal += plate.tick(rows, t, rng.uniform(-18, 2), log_uniform(rng, 120, 2000), log_uniform(rng, 0.003, 0.025))

    t, rows = clock(min(0.6, max(0.3, 5 * open_s))), strengths["open_hat"]
    wide = plate.struck(
        rows, t, decay_s=open_s, octaves=octaves * rng.uniform(0.9, 1.4), centre_hz=centre_hz * rng.uniform(0.6, 1.05)
    )
    wide += plate.tick(rows, t, tick_db, tick_hz, tick_s)
    return {"closed_hat": closed, "pedal_hat": pedal, "open_hat": wide}


def crashes(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """Two cymbals: the first a crash or a splash, the second a crash or a china. Notes for a splash or china fall back
    to them, so these have no recordings of their own.
    """
    hits = {}
    for piece, other_share in (("crash_1", SPLASH_SHARE), ("crash_2", CHINA_SHARE)):
        plate, other = Plate(rng, noise, CYMBAL_MODES, electronic), rng.random() < other_share
        centre_hz, octaves = log_uniform(rng, 2200, 7500), rng.uniform(0.7, 1.6)
        decay_s, bloom, bloom_s = log_uniform(rng, 0.2, 0.6), rng.uniform(0.2, 0.85), log_uniform(rng, 0.004, 0.05)
        if other and piece == "crash_1":
            centre_hz, decay_s, bloom = centre_hz * 1.25, log_uniform(rng, 0.07, 0.2), rng.uniform(0, 0.4)
        elif other:
            centre_hz, octaves, decay_s = centre_hz * 0.8, octaves + 0.4, log_uniform(rng, 0.1, 0.35)
        t, rows = clock(min(1.25, max(0.5, 5 * decay_s))), strengths[piece]
        hit = plate.struck(rows, t, centre_hz=centre_hz, octaves=octaves, decay_s=decay_s, bloom=bloom, bloom_s=bloom_s)
        hit += plate.tick(rows, t, rng.uniform(-12, 3), log_uniform(rng, 1200, 8000), log_uniform(rng, 0.0008, 0.006))
        hits[piece] = hit
    return hits


def rides(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """One cymbal hit on its bow, edge and bell: ping over wash, wash, few strong partials."""
    plate = Plate(rng, noise, CYMBAL_MODES, electronic)
    wash_hz, octaves = log_uniform(rng, 2200, 8000), rng.uniform(0.7, 1.5)
    wash_s, wash_db = log_uniform(rng, 0.2, 0.7), rng.uniform(-24, -4)
    ping = {
        "centre_hz": log_uniform(rng, 3000, 15000),
        "octaves": rng.uniform(0.5, 1.5),
        "decay_s": log_uniform(rng, 0.012, 0.09),
    }
    tick_db, tick_hz, tick_s = rng.uniform(-10, 3), log_uniform(rng, 2500, 11000), log_uniform(rng, 0.0006, 0.005)

    t, rows = clock(0.7), strengths["ride"]
    bow = plate.struck(rows, t[: len(clock(0.5))], **ping)
    bow = np.pad(bow, ((0, 0), (0, len(t) - bow.shape[1])))
    bow += np.float32(amplitude(wash_db)) * plate.struck(rows, t, centre_hz=wash_hz, octaves=octaves, decay_s=wash_s)
    bow += plate.tick(rows, t, tick_db, tick_hz, tick_s)

    rows = strengths["ride_edge"]
    bloom, bloom_s = rng.uniform(0.1, 0.7), log_uniform(rng, 0.004, 0.03)
    edge = plate.struck(
        rows,
        t,
        centre_hz=wash_hz * rng.uniform(0.7, 1.1),
        octaves=octaves,
        decay_s=wash_s,
        bloom=bloom,
        bloom_s=bloom_s,
    )
    edge += plate.tick(rows, t, tick_db - 3, tick_hz, tick_s)

    t, rows, count = clock(0.6), strengths["ride_bell"], int(rng.integers(4, 13))
    bell_hz = np.exp(rng.uniform(np.log(500), np.log(7500), count))
    bell_db = (
        hump_db(bell_hz, log_uniform(rng, 1000, 6000), 1.2) + rng.normal(0, 3, count) + softer_db(bell_hz, rows, 1.2)
    )
    bell = ringing(
        bell_hz, log_uniform(rng, 0.06, 0.35) * np.exp(rng.normal(0, 0.4, count)), scattered(rng, bell_db, 1.0), t
    )
    bell += np.float32(amplitude(rng.uniform(-14, 3))) * bow[: len(rows), : len(t)]
    bell += plate.tick(rows, t, tick_db - rng.uniform(0, 8), tick_hz, tick_s)
    return {"ride": bow, "ride_edge": edge, "ride_bell": bell}
