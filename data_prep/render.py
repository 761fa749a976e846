"""Drum notes to sound: a sampler that adds one slice per hit. N notes, S samples at 44.1 kHz.

A hit's attack lies on the note's time to the sample. Tracks differ by a seeded draw: which voice each piece has, how
loud each piece is, how high the whole kit is tuned. The same notes, kit, seed and length give the same samples, bit for
bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.midi import Notes
from data_prep.pieces import HATS, PIECE_CLASS, piece_for
from data_prep.refused import Refused
from data_prep.samples import LEAD_IN_SAMPLES, PEAK, SAMPLE_RATE_HZ, Kit, Layer, Voice

CHOKE_SAMPLES = round(0.030 * SAMPLE_RATE_HZ)  # an open hi-hat fades this fast at the next hat event
LEVEL_SPREAD_DB = {
    "hi-hat": (-4.0, 4.0),
    "cymbals": (-4.0, 4.0),
}  # (mean, deviation); quiet hats and rides are what real mixes have
OTHER_SPREAD_DB = (0.0, 2.0)
QUIETEST_DB, LOUDEST_DB = -12.0, 5.0
HIT_SPREAD_DB = 0.7
TUNED_TRACKS, MOST_TUNING = 0.6, 0.04  # share of tracks that are not at the recordings' pitch, and by how much at most
VELOCITY_JITTER = 5  # for the choice of a recording only: neighbouring layers serve as round robin
LONGEST_S = 4 * 3600.0
BLOCK_SAMPLES = 1 << 20


STEMS = tuple(dict.fromkeys(PIECE_CLASS.values()))  # the rows of what render_stems gives


@dataclass(frozen=True)
class Rendered:
    """samples float32 (S,), of stems (STEMS, S), within [-1, 1]; sounded bool (N,): False where the kit has nothing for
    a note or the track ends before it.
    """

    samples: np.ndarray
    sounded: np.ndarray


@dataclass(frozen=True)
class _Track:
    """What one seed decided: the voice and amplitude of each piece, and the tuning (2 is an octave up)."""

    voices: dict[str, Voice]
    gains: dict[str, float]
    tuning: float


def _draw_track(kit: Kit, rng: np.random.Generator) -> _Track:
    voices, gains = {}, {}
    by_class = {of: rng.normal(*LEVEL_SPREAD_DB.get(of, OTHER_SPREAD_DB)) for of in dict.fromkeys(PIECE_CLASS.values())}
    for piece, of in PIECE_CLASS.items():  # in table order, so that a draw does not hang on the kit's order
        pick, wobble_db = rng.random(), rng.normal(0.0, 1.0)
        if piece in kit.pieces:
            voices[piece] = kit.pieces[piece][int(pick * len(kit.pieces[piece]))]
            gains[piece] = 10 ** (float(np.clip(by_class[of] + wobble_db, QUIETEST_DB, LOUDEST_DB)) / 20)
    tuned, by = rng.random() < TUNED_TRACKS, rng.uniform(-MOST_TUNING, MOST_TUNING)
    return _Track(voices, gains, 1.0 + by if tuned else 1.0)


def _layer(voice: Voice, velocity: float, draw: float) -> Layer:
    """The recording for a velocity, one of several by ``draw`` in 0..1; the nearest where none is meant for it."""
    fitting = [layer for layer in voice.layers if layer.low <= velocity <= layer.high]
    if not fitting:
        return min(voice.layers, key=lambda layer: max(layer.low - velocity, velocity - layer.high))
    return fitting[int(draw * len(fitting))]


def _retuned(samples: np.ndarray, tuning: float, count: int) -> np.ndarray:
    """A track played ``tuning`` times as fast, linear between samples: (S,) -> (count,)."""
    retuned = np.empty(count, np.float32)
    for first in range(0, count, BLOCK_SAMPLES):  # positions of a whole hour would be gigabytes
        block = retuned[first : first + BLOCK_SAMPLES]
        positions = np.arange(first, first + len(block)) * tuning
        below = positions.astype(np.int32)
        fraction = (positions - below).astype(np.float32)
        low = samples[below]
        block[:] = low + fraction * (samples[below + 1] - low)
    return retuned


def render_drums(notes: Notes, kit: Kit, *, seed: int, seconds: float | None = None) -> Rendered:
    """Play ``notes`` (Roland or General MIDI pitches) on ``kit``.

    ``seconds``: length; by default until the last hit has rung out. Notes that the kit has no piece for, and notes at
    or after the end, are not sounded: leave their labels out. Raises Refused where times are negative or not finite, or
    the length is negative or over four hours.
    """
    rendered = _render(notes, kit, dict.fromkeys(STEMS, 0), seed, seconds)
    return Rendered(rendered.samples[0], rendered.sounded)


def render_stems(notes: Notes, kit: Kit, *, seed: int, seconds: float | None = None) -> Rendered:
    """The same with each drum class in a row of its own, (STEMS, S); together they are what ``render_drums`` gives."""
    return _render(notes, kit, {of: row for row, of in enumerate(STEMS)}, seed, seconds)


def _render(notes: Notes, kit: Kit, row_of: Mapping[str, int], seed: int, seconds: float | None) -> Rendered:
    """Rendered samples (R, S), a hit in the row of its class."""
    if len(notes) and not (np.isfinite(notes.times_s).all() and notes.times_s.min() >= 0):
        raise Refused(
            "a note has a negative or infinite time; times are seconds from the start of the track, "
            "so repair the MIDI file"
        )
    asked_s = seconds if seconds is not None else float(notes.times_s.max(initial=0.0))
    if not 0 <= asked_s <= LONGEST_S:
        raise Refused(
            f"a track of {asked_s:.3g} s was asked for; between 0 and {LONGEST_S:.0f} s can be rendered, so cut it"
        )
    rng = np.random.default_rng(seed)
    track = _draw_track(kit, rng)
    jitter = rng.uniform(-VELOCITY_JITTER, VELOCITY_JITTER, len(notes))
    draws = rng.random(len(notes))
    hit_gains = 10 ** (rng.normal(0.0, HIT_SPREAD_DB, len(notes)) / 20)

    pieces = [piece_for(int(pitch), track.voices) for pitch in notes.pitches]
    count = None if seconds is None else round(seconds * SAMPLE_RATE_HZ)
    starts = np.round(notes.times_s * (SAMPLE_RATE_HZ * track.tuning)).astype(np.int64)
    sounded = np.array([piece is not None for piece in pieces], dtype=bool)
    if count is not None:
        sounded &= np.round(notes.times_s * SAMPLE_RATE_HZ) < count
    hat_starts = np.sort(starts[[i for i in np.flatnonzero(sounded) if pieces[i] in HATS]])

    hits = []  # (row and place in the buffer, recording, its length here, amplitude, choked)
    for i in np.flatnonzero(sounded):
        piece, velocity = pieces[i] or "", int(notes.velocities[i])
        voice = track.voices[piece]
        layer = _layer(voice, min(max(velocity + jitter[i], 1), 127) if len(voice.layers) > 1 else velocity, draws[i])
        length, choked = len(layer.samples), False
        if piece == "open_hat":
            after = int(np.searchsorted(hat_starts, starts[i], side="right"))
            if after < len(hat_starts) and (end := int(hat_starts[after] - starts[i]) + CHOKE_SAMPLES) < length:
                length, choked = end, True
        gain = np.float32(track.gains[piece] * (velocity / 127) ** voice.curve * hit_gains[i])
        hits.append((row_of[PIECE_CLASS[piece]], int(starts[i]), layer.samples, length, gain, choked))

    if count is None:
        end = max((start + length for _, start, _, length, _, _ in hits), default=0)
        count = max(round(end / track.tuning), round(asked_s * SAMPLE_RATE_HZ))
    # a hit's lead-in comes before its start
    buffer = np.zeros((1 + max(row_of.values()), LEAD_IN_SAMPLES + int(count * track.tuning) + 2), np.float32)
    fade = np.linspace(1, 0, CHOKE_SAMPLES, dtype=np.float32)
    for row, start, samples, length, gain, choked in hits:
        hit = samples[: min(length, buffer.shape[1] - start)] * gain
        if choked:
            tail = hit[length - CHOKE_SAMPLES :]
            tail *= fade[: len(tail)]
        buffer[row, start : start + len(hit)] += hit
    if track.tuning == 1.0:
        samples = buffer[:, LEAD_IN_SAMPLES : LEAD_IN_SAMPLES + count]
    else:
        samples = np.stack([_retuned(of, track.tuning, count) for of in buffer[:, LEAD_IN_SAMPLES:]])
    peak = float(np.abs(samples.sum(axis=0) if len(samples) > 1 else samples).max(initial=0.0))
    if peak > PEAK:
        samples = samples * np.float32(PEAK / peak)
    return Rendered(np.ascontiguousarray(samples), sounded)
