"""A SoundFont's zones made audible: pitch, loop, low-pass and volume envelope.  S samples at 44.1 kHz."""

from itertools import pairwise

import numpy as np

from data_prep.samples import LONGEST_HIT_S, SAMPLE_RATE_HZ, Layer, Voice, trim_hit
from data_prep.sound_font_zones import (
    ATTACK,
    COARSE_TUNE,
    DECAY,
    DELAY,
    END,
    END_COARSE,
    FINE_TUNE,
    HOLD,
    LOOP_END,
    LOOP_END_COARSE,
    LOOP_START,
    LOOP_START_COARSE,
    RELEASE,
    ROOT_KEY,
    SCALE_TUNING,
    START,
    START_COARSE,
    SUSTAIN,
    Zone,
)
from data_prep.sound_fonts import LEFT, RIGHT, SoundFont

DRUM_NOTE_S = 0.15  # how long a drum key is held, where the recording would loop for ever
SILENT_DB = 60.0
FALL_DB = 100.0  # what decay and release times are measured by
DRUM_CURVE = 1.2  # between a synthesiser's 2, which buries ghost notes, and 1


def tone(font: SoundFont, zone: Zone, key: int, seconds: float) -> np.ndarray:
    """The zone's recording at the key's pitch, loop unrolled, without envelope: float32, at most ``seconds`` long."""
    row, samples = font.recordings[zone.recording], font.recording(zone.recording)
    start = zone.amount(START) + 32768 * zone.amount(START_COARSE)
    end = len(samples) + zone.amount(END) + 32768 * zone.amount(END_COARSE)
    start, end = min(max(start, 0), len(samples)), min(max(end, 0), len(samples))
    origin = 0 if row["type"] & 0x10 else int(row["start"])
    loop_start = int(row["loop_start"]) - origin + zone.amount(LOOP_START) + 32768 * zone.amount(LOOP_START_COARSE)
    loop_end = int(row["loop_end"]) - origin + zone.amount(LOOP_END) + 32768 * zone.amount(LOOP_END_COARSE)
    root = zone.amount(ROOT_KEY) if 0 <= zone.amount(ROOT_KEY) <= 127 else min(int(row["key"]), 127)
    cents = (
        (key - root) * zone.amount(SCALE_TUNING)
        + 100 * zone.amount(COARSE_TUNE)
        + zone.amount(FINE_TUNE)
        + int(row["correction"])
    )
    rate_hz = min(max(int(row["rate_hz"]), 400), 400_000)
    ratio = 2.0 ** (min(max(cents, -9600), 9600) / 1200) * rate_hz / SAMPLE_RATE_HZ
    count = int(seconds * SAMPLE_RATE_HZ)
    looped = zone.looped and start <= loop_start < loop_end - 1 and loop_end <= len(samples)
    if not looped:
        count = min(count, int((end - start - 2) / ratio))
    if count < 2:
        return np.zeros(0, np.float32)
    positions = start + np.arange(count) * ratio
    if looped:
        beyond = int(np.searchsorted(positions, loop_end))
        length = loop_end - loop_start
        positions[beyond:] -= length * np.floor((positions[beyond:] - loop_start) / length)
    below = positions.astype(np.int64)
    fraction = (positions - below).astype(np.float32)
    low = samples[below]
    sound = low + fraction * (samples[np.minimum(below + 1, len(samples) - 1)] - low)
    if zone.cutoff_hz < 12_000:
        from scipy.signal import butter, lfilter  # here, as stems are rendered on machines that lack it

        sound = lfilter(*butter(2, zone.cutoff_hz, fs=SAMPLE_RATE_HZ), sound).astype(np.float32)
    return sound


def envelope(zone: Zone, count: int, held_s: float) -> np.ndarray:
    """Volume over ``count`` samples of a key held for ``held_s`` seconds: float32 (count,)."""
    time_s = np.arange(count, dtype=np.float32) / np.float32(SAMPLE_RATE_HZ)
    delay_s, attack_s = zone.seconds(DELAY), zone.seconds(ATTACK)
    sustain_db = min(max(zone.amount(SUSTAIN), 0), 1440) / 10
    decay_from_s = delay_s + attack_s + zone.seconds(HOLD)
    fall_db = np.clip((time_s - decay_from_s) * (FALL_DB / max(zone.seconds(DECAY), 0.005)), 0, sustain_db)
    if count / SAMPLE_RATE_HZ > held_s:
        fall_db += np.maximum(time_s - held_s, 0) * (FALL_DB / max(zone.seconds(RELEASE), 0.02))
    volume = np.exp(fall_db * np.float32(-np.log(10) / 20))
    if delay_s + attack_s > 0.001:
        volume *= np.clip((time_s - delay_s) / max(attack_s, 0.001), 0, 1)
    return volume.astype(np.float32, copy=False)


def _hit(font: SoundFont, zone: Zone, key: int, cents: float) -> np.ndarray:
    """A drum key struck: looped recordings end by their decay, or by their release where they would not decay."""
    if cents:
        zone = Zone(
            zone.keys,
            zone.velocities,
            zone.recording,
            (*zone.generators, (FINE_TUNE, zone.amount(FINE_TUNE) + round(cents))),
        )
    sound = tone(font, zone, key, LONGEST_HIT_S)
    endless = zone.looped and zone.amount(SUSTAIN) / 10 < SILENT_DB
    sound *= envelope(zone, len(sound), DRUM_NOTE_S if endless else np.inf)
    side = int(font.recordings[zone.recording]["type"]) & (LEFT | RIGHT)
    return sound * np.float32(zone.gain * (0.5 if side else 1.0))


def drum_voice(
    font: SoundFont, preset: tuple[int, int], key: int, *, only: frozenset[int] | None = None, cents: float = 0
) -> Voice | None:
    """The voice of one key of a percussion preset, all zones that sound together mixed to mono; None where it is
    silent.

    ``only`` names the recordings that may take part; ``cents`` detunes the key.
    """
    zones = [z for z in font.zones(*preset) if z.keys[0] <= key <= z.keys[1] and (only is None or z.recording in only)]
    edges = sorted({z.velocities[0] for z in zones} | {z.velocities[1] + 1 for z in zones})
    hits: dict[int, np.ndarray] = {}
    layers = []
    for low, above in pairwise(edges):
        together = [i for i, z in enumerate(zones) if z.velocities[0] <= low <= z.velocities[1]]
        for i in together:
            if i not in hits:
                hits[i] = _hit(font, zones[i], key, cents)
        if not together:
            continue
        mix = np.zeros(max(len(hits[i]) for i in together), np.float32)
        for i in together:
            mix[: len(hits[i])] += hits[i]
        trimmed = trim_hit(mix)
        if trimmed is not None:
            layers.append(Layer(max(low, 1), above - 1, trimmed))
    return Voice(tuple(layers), DRUM_CURVE) if layers else None
