"""What writers are given: a transcription, and how it is to be written down. N onsets, K classes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.onsets import Onsets
from data_prep.refused import Refused
from trainables.notation.note_maps import NoteMap

SLOWEST_BPM, FASTEST_BPM = 20.0, 400.0
MOST_BEATS_PER_BAR = 16
STEPS_PER_BEAT = (1, 2, 3, 4, 6, 8)  # quarters, eighths, triplets, sixteenths, sextuplets, thirty-seconds
ESTIMATED = "estimate"


@dataclass(frozen=True)
class Transcribed:
    """What was heard in a recording.

    ``onsets`` have strengths in the place of velocities, the activations at their peaks in 0..1 (NaN: not known);
    ``seconds`` is the recording's length; ``title`` any text.
    """

    onsets: Onsets
    classes: tuple[str, ...]
    seconds: float
    title: str = ""
    # beats by tempo, as far as they were looked for: the writers of one transcription find them once
    found: dict[float | str, np.ndarray | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        times_s = self.onsets.times_s
        if not np.isfinite(self.seconds) or self.seconds < 0:
            raise ValueError(f"a recording lasts {self.seconds} s; expected a length of 0 or more")
        if len(times_s) and not (np.isfinite(times_s).all() and times_s.min() >= 0):
            raise ValueError("onsets are at times that are no times; expected seconds from 0 on")

    @property
    def end_s(self) -> float:
        """Where it ends: of the recording, or its last onset where that is later."""
        return max(self.seconds, float(self.onsets.times_s[-1]) if len(self.onsets) else 0.0)


@dataclass(frozen=True)
class NotationOptions:
    """How a transcription is written down.

    ``tempo`` is beats a minute, ``"estimate"`` to have beats found in the onsets, or None: then MIDI files tell 120
    beats a minute, tables have no bars, and scores, which need beats, estimate them. ``align_downbeat`` lets bars
    begin where a downbeat is taken to be, else at the beginning of the recording, from where on a given tempo is told.
    ``velocity`` is the same for all notes, or None for one that follows each onset's strength. ``steps_per_beat`` is
    the grid of scores, or None for the one that each beat fits best.
    """

    note_map: NoteMap = field(default_factory=NoteMap)
    tempo: float | str | None = None
    beats_per_bar: int = 4
    align_downbeat: bool = False
    velocity: int | None = None
    steps_per_beat: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tempo, str) and self.tempo != ESTIMATED:
            raise Refused(f"a tempo of {self.tempo[:40]!r}; expected beats a minute or {ESTIMATED!r}")
        if isinstance(self.tempo, int | float) and not SLOWEST_BPM <= self.tempo <= FASTEST_BPM:
            span = f"{SLOWEST_BPM:g} to {FASTEST_BPM:g}"
            raise Refused(f"a tempo of {self.tempo:g} beats a minute; expected {span}, or {ESTIMATED!r}")
        if not 1 <= self.beats_per_bar <= MOST_BEATS_PER_BAR:
            raise Refused(f"{self.beats_per_bar} beats in a bar; expected 1 to {MOST_BEATS_PER_BAR}")
        if self.velocity is not None and not 1 <= self.velocity <= 127:
            raise Refused(f"a velocity of {self.velocity}; expected 1 to 127")
        if self.steps_per_beat is not None and self.steps_per_beat not in STEPS_PER_BEAT:
            known = ", ".join(map(str, STEPS_PER_BEAT))
            raise Refused(f"a grid of {self.steps_per_beat} steps a beat; choose from {known}")


@dataclass(frozen=True)
class Writer:
    """A format: the ending of its files, what they are in a few words, what writes them, and whether it needs beats."""

    suffix: str
    what: str
    write: Callable[[Transcribed, Path, NotationOptions], None]
    needs_beats: bool = False
