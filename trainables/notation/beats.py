"""Beats of a transcription: given by a tempo, or found in the onsets. T frames, N onsets, B beats.

Found as by Ellis, Beat Tracking by Dynamic Programming (Journal of New Music Research, 2007), in onsets that are known
already: a tempo by autocorrelation, then the beats at about that tempo that meet the most onsets.
"""

import numpy as np

from trainables.notation.timeline import Pulse, Timeline
from trainables.notation.transcribed import ESTIMATED, NotationOptions, Transcribed

RATE_HZ = 100  # of the curve that beats are found in
BLUR_S = 0.02  # an onset that is this far from a beat counts 61 %
LIKELY_BPM, OCTAVES = 110.0, 1.1  # tempos are likely around here, that far around
REPEATS = (1, 2, 4, 8)  # beats after which drums are alike; a lag of several is known less exactly than one
LEAST = 1e-3  # how unlike the curve may be after one of them, against how it is like itself at once
SLOWEST, FASTEST = 50.0, 220.0  # beats a minute that are estimated
STEADINESS = 300.0  # what beats lose that are not a period apart, against what onsets are worth
WEIGHTS = {"kick": 1.0, "snare": 1.0, "toms": 0.5}  # of onsets of a class, as beats go
OTHERS = 0.5
# What a hit of a class says of the four beats of a bar that it may be on: kicks begin bars, snares answer on 2 and 4,
# crashes mark beginnings.
CRASH = (1.0, 0.0, 0.0, 0.0)
PATTERNS = {"kick": (1.0, -0.2, 0.1, -0.2), "snare": (-0.5, 0.5, -0.5, 0.5), "cymbals": CRASH, "crash": CRASH}
FIRST = 1.0  # recordings begin at the beginning of a bar more often than elsewhere
ON_BEAT = 0.15  # beats: how far from one a hit is still on it


def timeline_of(transcribed: Transcribed, options: NotationOptions, always: bool = False) -> Timeline | None:
    """Positions of the score, or None without a tempo, and where none can be estimated.

    Where there must be one ``always``, as on a staff, beats are estimated, or 120 a minute from the beginning, and bars
    begin at downbeats in any case. A given tempo begins with the recording where bars do.
    """
    if options.tempo is None and not always:
        return None
    end_s, aligned = transcribed.end_s, options.align_downbeat or always
    if isinstance(options.tempo, int | float) and not aligned:
        return Timeline.steady(end_s, options.beats_per_bar, float(options.tempo))
    beats_s = beats_of(transcribed, options.tempo)
    if beats_s is None:
        return Timeline.steady(end_s, options.beats_per_bar) if always else None
    pulse = Pulse(beats_s, downbeat_of(beats_s, transcribed, options.beats_per_bar))
    return Timeline.of(pulse, end_s, options.beats_per_bar, aligned)


def has_beats(transcribed: Transcribed, options: NotationOptions) -> bool:
    """Whether a tempo is given, or beats are found in the onsets."""
    return isinstance(options.tempo, int | float) or beats_of(transcribed, options.tempo) is not None


def beats_of(transcribed: Transcribed, tempo: float | str | None) -> np.ndarray | None:
    """Beats (B,) at a tempo, or estimated ones; found once for each. None where there are none to find."""
    found, key = transcribed.found, tempo if isinstance(tempo, int | float) else ESTIMATED
    if key not in found:
        onsets = transcribed.onsets
        weights = np.array([WEIGHTS.get(name, OTHERS) for name in transcribed.classes])[onsets.classes]
        if isinstance(key, str):
            found[key] = estimated_beats(onsets.times_s, weights)
        else:
            found[key] = steady_beats(onsets.times_s, weights, float(key), transcribed.end_s)
    return found[key]


def steady_beats(times_s: np.ndarray, weights: np.ndarray, bpm: float, end_s: float) -> np.ndarray:
    """Equal beats (B,) that meet the most onsets."""
    period_s = 60 / bpm
    phases_s = np.arange(0, period_s, 1 / (2 * RATE_HZ))
    nearest = [np.abs((times_s - phase_s + period_s / 2) % period_s - period_s / 2) for phase_s in phases_s]
    met = [float(np.sum(weights * np.exp(-0.5 * (away_s / BLUR_S) ** 2))) for away_s in nearest]
    best_s = phases_s[int(np.argmax(met))] if len(times_s) else 0.0
    return best_s + period_s * np.arange(max(2, int(np.ceil((end_s - best_s) / period_s)) + 1))


def estimated_beats(times_s: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Beats (B,) found in onsets, or None in fewer than four of them or less than two seconds."""
    if len(times_s) < 4 or times_s[-1] - times_s[0] < 2:
        return None
    curve = onset_curve(times_s - times_s[0], weights)
    beats_s = beats_in(curve, period_of(curve)) / RATE_HZ + times_s[0]
    return beats_s if len(beats_s) > 1 else None


def downbeat_of(beats_s: np.ndarray, transcribed: Transcribed, beats_per_bar: int) -> int:
    """The first beat of a bar: of four, the one that what is struck fits best; else the first that is struck."""
    onsets = transcribed.onsets
    ends_s = 2 * beats_s[[0, -1]] - beats_s[[1, -2]]  # a beat before and one after, for hits that are a little early
    at = np.interp(onsets.times_s, np.array([ends_s[0], *beats_s, ends_s[1]]), np.arange(-1, len(beats_s) + 1))
    nearest = np.rint(at).astype(int)
    on_beat = (nearest >= 0) & (nearest < len(beats_s)) & (np.abs(at - nearest) < ON_BEAT)
    if not on_beat.any():
        return 0
    if beats_per_bar != 4:
        return int(nearest[on_beat][0])
    patterns = np.array([PATTERNS.get(name, (0.0,) * 4) for name in transcribed.classes])  # (K, 4)
    of = patterns[onsets.classes[on_beat]]
    fits = [of[np.arange(len(of)), (nearest[on_beat] - phase) % 4].sum() for phase in range(4)]
    fits[int(nearest[on_beat][0]) % 4] += FIRST
    return int(np.argmax(fits))


def onset_curve(times_s: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How much begins at each moment, (T,): weights, blurred, of unit deviation."""
    curve = np.zeros(round(times_s[-1] * RATE_HZ) + 2 * RATE_HZ)
    np.add.at(curve, np.rint(times_s * RATE_HZ).astype(int), weights)
    reach = np.arange(-8, 9) / RATE_HZ
    blurred = np.convolve(curve, np.exp(-0.5 * (reach / BLUR_S) ** 2), "same")
    return blurred / blurred.std()


def period_of(curve: np.ndarray) -> float:
    """Frames between beats: where the curve is most like itself after all of REPEATS, at a likely tempo.

    By the product: in a sum the bars of a plain pattern outvote its beats, so that two thirds of the tempo win.
    """
    size = 1 << (2 * len(curve)).bit_length()
    alike = np.fft.irfft(np.abs(np.fft.rfft(curve - curve.mean(), size)) ** 2, size)
    lags = np.arange(int(60 * RATE_HZ / FASTEST), int(60 * RATE_HZ / SLOWEST) + 1)
    after = [np.max([alike[beats * lags + slack] for slack in range(1 - beats, beats)], axis=0) for beats in REPEATS]
    of_bars = np.prod(np.clip(np.array(after) / alike[0], LEAST, None), axis=0) ** (1 / len(REPEATS))
    likely = np.exp(-0.5 * (np.log2(60 * RATE_HZ / lags / LIKELY_BPM) / OCTAVES) ** 2)
    at = int(np.argmax(of_bars * likely))
    below, here, above = alike[lags[at] - 1 : lags[at] + 2]
    bend = below - 2 * here + above  # a parabola through the three has its top between them
    return float(lags[at] + (np.clip(0.5 * (below - above) / bend, -0.5, 0.5) if bend < 0 else 0.0))


def beats_in(curve: np.ndarray, period: float) -> np.ndarray:
    """Frames (B,) of the beats, about ``period`` apart, that meet most of the curve."""
    steps = np.arange(round(period / 2), round(period * 2) + 1)
    losses = STEADINESS * np.log(steps / period) ** 2
    margin = int(steps[-1])  # frames before the first, where nothing begins
    reached, before = np.append(np.zeros(margin), curve), np.full(margin + len(curve), -1)
    for at in range(margin, len(reached)):
        gains = reached[at - steps] - losses
        best = int(np.argmax(gains))
        if gains[best] > 0:
            reached[at] += gains[best]
            before[at] = at - steps[best]
    ends = len(reached) - 1 - np.arange(min(round(period), len(curve)))
    at = int(ends[np.argmax(reached[ends])])
    beats = []
    while at >= 0:
        beats.append(at - margin)
        at = int(before[at])
    return np.array(beats[::-1])
