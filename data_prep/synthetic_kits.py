"""Kits without recordings: a kit is drawn from its name, so there are as many as there are names.

They stand beside the few recordings of the default kits, in training and validation; the test split stays recorded.
Every voice has three velocity layers, soft ones duller; pieces that are struck often have several takes of each.
"""

import hashlib

import numpy as np

from data_prep.pieces import PIECES
from data_prep.samples import Kit, Layer, Voice, normalised, trim_hit
from data_prep.synthesis import Noise, Room, amplitude
from data_prep.synthetic_cymbals import crashes, hats, rides
from data_prep.synthetic_drums import extras, kick, snares, toms

COUNTS = {"train": 192, "validation": 12}  # more cost nothing: a kit is drawn when it is loaded
NAMES: dict[str, tuple[str, ...]] = {
    split: tuple(f"Synthetic {split} {number:03d}" for number in range(count)) for split, count in COUNTS.items()
}
ELECTRONIC_SHARE = 0.12
STRENGTHS = (0.3, 0.62, 1.0)
SOFT_LENGTH = 0.4  # of a loud hit's length lasts one of strength 0
TAKE_DB = 0.7  # takes of a layer differ so much in level
CURVE = (0.8, 1.6)
TAKES = {"kick": 3, "snare": 3, "closed_hat": 3, "pedal_hat": 2, "open_hat": 2, "ride": 2}
LEVEL_DB: dict[str, tuple[float, float]] = {  # of the loudest hit, against the kick
    "kick": (-2.0, 0.0),
    "snare": (-6.0, 1.0),
    "cross_stick": (-9.0, -1.0),
    "clap": (-7.0, -1.0),
    "closed_hat": (-16.0, -6.0),
    "pedal_hat": (-16.0, -6.0),
    "open_hat": (-16.0, -4.0),
    "tambourine": (-13.0, -5.0),
    "crash_1": (-15.0, -3.0),
    "crash_2": (-15.0, -3.0),
    "ride": (-16.0, -5.0),
    "ride_edge": (-16.0, -5.0),
    "ride_bell": (-16.0, -6.0),
    "cowbell": (-12.0, -5.0),
}
OTHER_LEVEL_DB = (-6.0, 0.0)
GROUPS = (
    (kick, ("kick",)),
    (snares, ("snare", "rimshot", "cross_stick")),
    (toms, ("floor_tom", "mid_tom", "high_tom")),
    (extras, ("clap", "cowbell", "tambourine")),
    (hats, ("closed_hat", "pedal_hat", "open_hat")),
    (crashes, ("crash_1", "crash_2")),
    (rides, ("ride", "ride_edge", "ride_bell")),
)


def _seed_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _voice(hits: np.ndarray, strengths: np.ndarray, level_db: float, rng: np.random.Generator) -> Voice:
    """Recordings (R, S), softest first, as one voice whose loudest peak has the level."""
    highs = (int(rng.integers(35, 60)), int(rng.integers(75, 105)), 127)
    spans = dict(zip(STRENGTHS, zip((1, highs[0] + 1, highs[1] + 1), highs, strict=True), strict=True))
    gains = amplitude(level_db + rng.uniform(-TAKE_DB, TAKE_DB, len(hits))) / np.abs(hits).max()
    layers = []
    for hit, strength, gain in zip(hits, strengths.tolist(), gains.astype(np.float32), strict=True):
        kept = round(len(hit) * (SOFT_LENGTH + (1 - SOFT_LENGTH) * strength))
        samples = trim_hit(hit[:kept] * gain)
        assert samples is not None
        layers.append(Layer(*spans[strength], samples))
    return Voice(tuple(layers), float(rng.uniform(*CURVE)))


def load_synthetic_kit(name: str) -> Kit:
    """The kit of a name, always the same: every piece but splash and china, which fall back to the crashes."""
    rng = np.random.default_rng(_seed_of(name))
    room, noise, electronic = Room.drawn(rng), Noise.drawn(rng), bool(rng.random() < ELECTRONIC_SHARE)
    pieces: dict[str, tuple[Voice, ...]] = {}
    for (draw, own), group_rng in zip(GROUPS, rng.spawn(len(GROUPS)), strict=True):
        strengths = {piece: np.repeat(STRENGTHS, TAKES.get(piece, 1)) for piece in own}
        for piece, hits in draw(group_rng, noise, strengths, electronic).items():
            level_db = group_rng.uniform(*LEVEL_DB.get(piece, OTHER_LEVEL_DB))
            pieces[piece] = (_voice(room.heard(hits), strengths[piece], level_db, group_rng),)
    return Kit(name, normalised({piece: pieces[piece] for piece in PIECES if piece in pieces}))
