"""Onsets on a grid of bars, beats and steps. N onsets."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from trainables.notation.timeline import Timeline
from trainables.notation.transcribed import Transcribed

SIXTEENTHS, TRIPLETS = 4, 3
EARLY = 0.125  # beats: what comes later than this before a beat belongs to it
FAR = 0.06  # beats: triplets are not thought of where sixteenths are met more closely than this


@dataclass
class Beat:
    """What is struck in a beat: step -> indices of classes, and how many steps it has."""

    steps: int = SIXTEENTHS
    hits: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class Bar:
    """A bar: its number (0 is one before the first whole one), the position it starts at, its beats."""

    number: int
    start: float
    beats: list[Beat]


@dataclass(frozen=True)
class Grid:
    """Where onsets stand: beats (N,), counted from the first whole bar's first one, steps (N,), steps a beat (N,).

    Hits of one class on one step of a beat are one; ``merged`` says how many were left out.
    """

    beats: np.ndarray
    steps: np.ndarray
    steps_per_beat: np.ndarray
    classes: np.ndarray
    merged: int


def quantise(transcribed: Transcribed, timeline: Timeline, steps_per_beat: int | None = None) -> Grid:
    """The step that each onset is nearest to, on a given grid or on that of each beat: sixteenths, or triplets where
    they are met at less than half the squared distance.
    """
    onsets = transcribed.onsets
    positions = timeline.positions_of(onsets.times_s) - timeline.lead
    early = EARLY if steps_per_beat is None else 0.5 / steps_per_beat
    beats = np.floor(positions + early).astype(np.int64)
    within = positions - beats
    if steps_per_beat is None:
        _, of = np.unique(beats, return_inverse=True)
        straight, swung = (
            np.bincount(of, (within - np.clip(np.rint(within * count), 0, count - 1) / count) ** 2)
            for count in (SIXTEENTHS, TRIPLETS)
        )
        worst = np.sqrt(straight / np.maximum(np.bincount(of), 1)) if len(of) else straight
        counts = np.where((swung < straight / 2) & (worst > FAR), TRIPLETS, SIXTEENTHS)[of]
    else:
        counts = np.full(len(onsets), steps_per_beat)
    steps = np.clip(np.rint(within * counts), 0, counts - 1).astype(np.int64)
    table = np.stack([beats, steps, counts, onsets.classes], axis=1).astype(np.int64)
    kept = np.unique(table, axis=0)
    return Grid(kept[:, 0], kept[:, 1], kept[:, 2], kept[:, 3], len(table) - len(kept))


def bars_of(transcribed: Transcribed, timeline: Timeline, steps_per_beat: int | None = None) -> Iterator[Bar]:
    """The bars from the beginning to the end of the recording, at least one whole one."""
    grid = quantise(transcribed, timeline, steps_per_beat)
    per_bar = timeline.beats_per_bar
    by_beat: dict[int, Beat] = {}
    rows = zip(*(of.tolist() for of in (grid.beats, grid.steps, grid.steps_per_beat, grid.classes)), strict=True)
    for beat, step, steps, of in rows:
        by_beat.setdefault(beat, Beat(steps)).hits.setdefault(step, []).append(of)
    end = float(timeline.positions_of(np.array([transcribed.end_s]))[0]) - timeline.lead
    last = max(1, int(np.ceil(end - 1e-6)), int(grid.beats.max()) + 1 if len(grid.beats) else 0)
    lead = max(int(np.ceil(timeline.lead)), -int(grid.beats.min()) if len(grid.beats) else 0)
    for number, first in enumerate(range(0, last, per_bar), 1):
        if number == 1 and lead:
            yield Bar(0, timeline.lead - lead, [by_beat.get(at, Beat()) for at in range(-lead, 0)])
        yield Bar(number, timeline.lead + first, [by_beat.get(at, Beat()) for at in range(first, first + per_bar)])
