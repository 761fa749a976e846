"""Kicks, snares, toms, claps and cowbells that never were, one draw a drum.

R recordings, S samples. Each function draws one drum and strikes it: strengths (R,) in 0..1 per piece -> (R, S) per
piece. The ranges reach well beyond what four families of recorded training kits measure (decay to -40 dB: kicks 85 to
370 ms, snares 140 to 755, toms 255 to 1770; strongest mode: kicks 46 to 92 Hz, snares 156 to 285, toms 78 to 258).
"""

from collections.abc import Mapping

import numpy as np

from data_prep.samples import SAMPLE_RATE_HZ
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
    tones,
)

SILENT = 7.6  # decay times until -66 dB
# modes of an ideal round skin: zeros of the Bessel functions
MEMBRANE = np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92, 3.16, 3.50, 3.60, 3.65, 4.06, 4.15, 4.60, 4.83, 5.13, 5.54])
AIR = (BAND_CENTRES_HZ / 500) ** -0.35  # rooms and shells keep high bands for less time
UPPER = np.arange(len(MEMBRANE)) > 0
BRUSHED_SHARE = 0.1
TOM_STEPS = ("floor_tom", "mid_tom", "high_tom")

Strengths = Mapping[str, np.ndarray]
Hits = dict[str, np.ndarray]


def _beaten(
    rng: np.random.Generator,
    noise: Noise,
    strengths: np.ndarray,
    t: np.ndarray,
    *,
    level_db: float,
    centre_hz: float,
    decay_s: float | np.ndarray,
    octaves: float = 1.5,
    softening_db: float = 8.0,
) -> np.ndarray:
    """What a beater or stick itself sounds like, or air and wires: noise, duller and less for soft hits, (R, S)."""
    spectrum = hump_db(BAND_CENTRES_HZ, centre_hz, octaves) + softer_db(BAND_CENTRES_HZ, strengths, 2.5)
    lower = softening_db * (1 - strengths)[:, None]
    return float(amplitude(level_db)) * noise.burst(rng, spectrum - lower, decay_s, t)


def _takes(rng: np.random.Generator, gains_db: np.ndarray, hz: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Gains of modes (K,) -> (R, K): each hit meets the skin elsewhere, soft ones excite less of the upper modes."""
    return amplitude(gains_db + softer_db(hz, strengths, 2.0) + rng.normal(0, 1.5, (len(strengths), len(hz))) * UPPER)


def _skin(rng: np.random.Generator, steepest_db: float, electronic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ratios of a skin's modes to the lowest, and gains in dB, falling by up to steepest_db an octave: (K,), (K,)."""
    ratios = MEMBRANE * rng.normal(1, 0.04, len(MEMBRANE))
    gains_db = (-rng.uniform(3, steepest_db) * np.log2(MEMBRANE) + rng.normal(-3, 5, len(MEMBRANE))) * UPPER
    return ratios / ratios[0], np.minimum(gains_db, -2.0 * UPPER) - 60.0 * electronic * UPPER


def kick(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """A bass drum: felt to hard plastic beater, dead to booming, 35 to 120 Hz, at times with a second head."""
    hz = log_uniform(rng, 36, 70) if electronic else log_uniform(rng, 38, 115)
    decay_s = log_uniform(rng, 0.05, 0.2) if electronic else log_uniform(rng, 0.013, 0.1)
    glide = log_uniform(rng, 1.0, 7.0) if electronic else log_uniform(rng, 0.06, 1.8)
    glide_s = log_uniform(rng, 0.006, 0.05) if electronic else log_uniform(rng, 0.003, 0.03)
    ratios, gains_db = _skin(rng, 16, electronic)
    if rng.random() < 0.45:  # the other head
        ratios[1], gains_db[1] = rng.uniform(1.2, 2.0), rng.uniform(-16, -3)
    decays_s = decay_s * ratios ** -rng.uniform(0.3, 1.6)
    (hits,) = strengths.values()
    t = clock(min(0.5, max(0.12, SILENT * decay_s)))
    sound = tones(hz * ratios, decays_s, _takes(rng, gains_db, hz * ratios, hits), t, glide, glide_s)

    click_hz = log_uniform(rng, 700, 7000)
    sound += _beaten(
        rng,
        noise,
        hits,
        t,
        level_db=rng.uniform(-34, -2),
        centre_hz=click_hz,
        octaves=rng.uniform(0.7, 2),
        decay_s=log_uniform(rng, 0.0006, 0.008),
        softening_db=rng.uniform(3, 14),
    )
    knock_hz = np.array(
        [log_uniform(rng, 160, 700), log_uniform(rng, 200, 900), click_hz, log_uniform(rng, 1500, 5000)]
    )
    knock_db = np.array([0.0, *rng.uniform(-14, 0, 3)]) + softer_db(knock_hz, hits, 3.0)
    knock_s = np.array([log_uniform(rng, 0.004, 0.03), log_uniform(rng, 0.003, 0.02), 0.003, 0.002])
    knock_level = amplitude(rng.uniform(-28, -4))
    sound += knock_level * ringing(knock_hz, knock_s, scattered(rng, knock_db, 1.0), t)
    sound += _beaten(
        rng,
        noise,
        hits,
        t,
        level_db=rng.uniform(-34, -9),
        centre_hz=log_uniform(rng, 120, 1500),
        octaves=rng.uniform(0.8, 2),
        decay_s=log_uniform(rng, 0.015, 0.11) * AIR,
        softening_db=3,
    )
    return {"kick": sound}


def snares(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """One snare drum hit in its middle, on the rim, and with the stick across: dry to ringing, at times brushed."""
    hz = log_uniform(rng, 135, 340)
    ratios, gains_db = _skin(rng, 14, electronic)
    ratios[1], gains_db[1] = rng.uniform(1.45, 1.9), rng.uniform(-16, 2)
    decay_s = log_uniform(rng, 0.015, 0.12)
    decays_s = decay_s * ratios ** -rng.uniform(0, 1.2)
    glide, glide_s = log_uniform(rng, 0.01, 0.8 if electronic else 0.25), log_uniform(rng, 0.004, 0.03)
    brushed = rng.random() < BRUSHED_SHARE and not electronic
    wires_db = rng.uniform(-2, 8) if brushed else rng.uniform(-13, 8)
    stick_db = -40.0 if brushed else rng.uniform(-22, 2)
    wires_hz, wires_octaves = log_uniform(rng, 1200, 8500), rng.uniform(0.8, 2.2)
    wires_s = log_uniform(rng, 0.03, 0.15)
    wires_decays_s = wires_s * (BAND_CENTRES_HZ / 2000) ** -rng.uniform(-0.1, 0.5)
    rise_s = 0.0025 if brushed else log_uniform(rng, 1e-4, 2e-3)
    stick_hz, stick_s = log_uniform(rng, 1800, 9000), log_uniform(rng, 0.0004, 0.004)
    air = {
        "level_db": rng.uniform(-30, -8),
        "centre_hz": log_uniform(rng, 250, 2500),
        "decay_s": log_uniform(rng, 0.03, 0.12) * AIR,
    }
    t = clock(min(0.5, max(0.12, SILENT * max(decay_s, wires_s))))
    gate = (t < log_uniform(rng, 0.05, 0.3)) if electronic and rng.random() < 0.5 else 1.0
    choked = wires_db - rng.uniform(0, 10)  # what the wires add to a rim shot

    def middle(hits: np.ndarray, extra_db: float, wires_db: float, stick_db: float) -> np.ndarray:
        """The drum: extra_db is for the modes above the first."""
        raised = gains_db + extra_db * UPPER
        sound = tones(hz * ratios, decays_s, _takes(rng, raised, hz * ratios, hits), t, glide, glide_s)
        spectrum = hump_db(BAND_CENTRES_HZ, wires_hz, wires_octaves) + softer_db(BAND_CENTRES_HZ, hits, 2.0)
        sound += amplitude(wires_db) * noise.burst(rng, spectrum, wires_decays_s, t, rise_s) * gate
        sound += _beaten(rng, noise, hits, t, level_db=stick_db, centre_hz=stick_hz, decay_s=stick_s)
        return sound + _beaten(rng, noise, hits, t, octaves=1.8, softening_db=3, **air)

    def across(hits: np.ndarray) -> np.ndarray:
        """The stick lies on the skin and hits the rim: short wood."""
        wood_hz = np.array(
            [hz * rng.uniform(0.8, 1.6), *(log_uniform(rng, 450, 2600) for _ in range(4)), log_uniform(rng, 2500, 6000)]
        )
        wood_db = np.array([rng.uniform(-18, -3), 0.0, *rng.uniform(-14, 0, 4)])
        wood_s = np.array([log_uniform(rng, 0.01, 0.05), *(log_uniform(rng, 0.003, 0.02) for _ in range(5))])
        sound = ringing(wood_hz, wood_s, scattered(rng, wood_db + softer_db(wood_hz, hits, 2.0), 1.0), short)
        return sound + _beaten(
            rng, noise, hits, short, level_db=rng.uniform(-16, 2), centre_hz=stick_hz, decay_s=stick_s
        )

    short = clock(0.2)
    return {
        "snare": middle(strengths["snare"], 0.0, wires_db, stick_db),
        "rimshot": middle(strengths["rimshot"], rng.uniform(3, 14), choked, stick_db + rng.uniform(2, 8)),
        "cross_stick": across(strengths["cross_stick"]),
    }


def toms(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """Three toms of one make, the floor tom at 48 to 105 Hz and each next one a third to a sixth higher."""
    hz, decay_s = log_uniform(rng, 48, 105), log_uniform(rng, 0.05, 0.3)
    glide, glide_s = log_uniform(rng, 0.02, 0.9 if electronic else 0.35), log_uniform(rng, 0.01, 0.08)
    ratios, gains_db = _skin(rng, 12, electronic)
    damping, stick_hz, stick_s = rng.uniform(0.2, 1.3), log_uniform(rng, 700, 6500), log_uniform(rng, 0.001, 0.012)
    stick_db, air_db, buzz_db = rng.uniform(-20, 2), rng.uniform(-30, -8), rng.uniform(-40, -18)
    air_hz, air_s = log_uniform(rng, 200, 1800), log_uniform(rng, 0.02, 0.13) * AIR
    hits = {}
    for step, piece in enumerate(TOM_STEPS):
        own_hz = hz * ratios
        t = clock(min(0.85 - 0.12 * step, max(0.2, SILENT * decay_s)))
        rows = strengths[piece]
        sound = tones(own_hz, decay_s * ratios**-damping, _takes(rng, gains_db, own_hz, rows), t, glide, glide_s)
        sound += _beaten(rng, noise, rows, t, level_db=stick_db, centre_hz=stick_hz, decay_s=stick_s)
        sound += _beaten(
            rng, noise, rows, t, level_db=air_db, centre_hz=air_hz, decay_s=air_s, octaves=1.8, softening_db=3
        )
        # the snare's wires answer
        sound += _beaten(rng, noise, rows, t, level_db=buzz_db, centre_hz=4000, decay_s=0.06, softening_db=3)
        hits[piece] = sound
        hz, decay_s = hz * rng.uniform(1.22, 1.65), decay_s * rng.uniform(0.7, 1.1)
    return hits


def extras(rng: np.random.Generator, noise: Noise, strengths: Strengths, electronic: bool) -> Hits:
    """Hand claps, a cowbell and a tambourine."""
    t, hits = clock(0.22), {}
    rows = strengths["clap"]
    clap_hz, clap_s = log_uniform(rng, 900, 3500), log_uniform(rng, 0.002, 0.01)
    apart_s = log_uniform(rng, 0.004, 0.013)
    sound = _beaten(
        rng,
        noise,
        rows,
        t,
        level_db=rng.uniform(-12, 0),
        centre_hz=clap_hz,
        decay_s=log_uniform(rng, 0.015, 0.05),
        octaves=rng.uniform(0.7, 1.5),
    )
    for hand in range(int(rng.integers(1, 5))):
        late = round(hand * apart_s * rng.uniform(0.85, 1.15) * SAMPLE_RATE_HZ)
        sound[:, late:] += _beaten(
            rng, noise, rows, t[: len(t) - late], level_db=0.0, centre_hz=clap_hz, decay_s=clap_s, octaves=1
        )
    hits["clap"] = sound

    rows, low_hz = strengths["cowbell"], log_uniform(rng, 420, 950)
    bell_hz = np.array([low_hz, low_hz * rng.uniform(1.4, 1.6), *low_hz * rng.uniform(2.0, 9.0, 8)])
    bell_db = np.concatenate([[0.0, rng.uniform(-6, 3)], rng.uniform(-26, -8, 8)]) + softer_db(bell_hz, rows, 1.5)
    bell_s = log_uniform(rng, 0.012, 0.09) * np.where(np.arange(10) < 2, 1.0, rng.uniform(0.1, 0.7, 10))
    hits["cowbell"] = ringing(bell_hz, bell_s, scattered(rng, bell_db, 0.7), t)
    hits["cowbell"] += _beaten(rng, noise, rows, t, level_db=rng.uniform(-20, -6), centre_hz=4000, decay_s=0.001)

    rows, jingle_hz = strengths["tambourine"], rng.uniform(3500, 13000, 40)
    jingle_db = hump_db(jingle_hz, log_uniform(rng, 5000, 9000), rng.uniform(0.3, 0.8))
    jingle_db = jingle_db + softer_db(jingle_hz, rows, 1.0)
    jingle_s = log_uniform(rng, 0.012, 0.05) * np.exp(rng.normal(0, 0.4, 40))
    sound = ringing(jingle_hz, jingle_s, scattered(rng, jingle_db, 3.0), t)
    late = round(rng.uniform(0.004, 0.02) * SAMPLE_RATE_HZ)
    sound[:, late:] += np.float32(rng.uniform(0.2, 0.9)) * sound[::-1, : len(t) - late]
    hits["tambourine"] = sound
    return hits
