"""Where times stand among beats and bars. B beats, M anchors, N onsets.

A beat is a quarter note. A score begins with the recording, at time and position 0; positions are beats since then.
"""

from dataclasses import dataclass

import numpy as np

FRAME_S = 0.01  # beats are not known more exactly
SIXTEENTH = 0.25
ALIKE = 0.1  # beats that differ by less have one tempo
DEFAULT_BPM = 120.0


@dataclass(frozen=True)
class Pulse:
    """Beats of a recording: times_s (B,) rising, B >= 2; ``downbeat`` is the index of one that begins a bar."""

    times_s: np.ndarray
    downbeat: int = 0


@dataclass(frozen=True)
class Timeline:
    """Times and positions of a score: straight lines between anchors.

    times_s (M,) and positions (M,) both rise, M >= 2, and begin with 0; the first whole bar begins at position
    ``lead``, before which there is a shorter one where it is above 0. The beginning of the recording need not be on a
    beat: ``begins_on_beat``.
    """

    times_s: np.ndarray
    positions: np.ndarray
    beats_per_bar: int = 4
    lead: float = 0.0
    begins_on_beat: bool = True

    @classmethod
    def steady(cls, end_s: float, beats_per_bar: int = 4, bpm: float = DEFAULT_BPM) -> "Timeline":
        """Equal beats from the beginning of the recording."""
        beats = float(np.ceil(max(end_s, 1.0) * bpm / 60))  # whole ones, so that the tempo is the given one
        return cls(np.array([0.0, beats * 60 / bpm]), np.array([0.0, beats]), beats_per_bar)

    @classmethod
    def of(cls, pulse: Pulse, end_s: float, beats_per_bar: int = 4, align_downbeat: bool = False) -> "Timeline":
        """Beats as they were found, and more at their pace before and after.

        What is left before the first beat of all is a beat of its own where it is longer than half a beat, and else
        part of the beat after it. With ``align_downbeat`` whole bars begin at the downbeat, those before it included:
        the score begins with what is left, in beats, or in sixteenths where it is less than one beat.
        """
        beats_s = _all_beats(pulse.times_s, end_s)
        down = int(np.argmin(np.abs(beats_s - pulse.times_s[pulse.downbeat]))) % beats_per_bar
        rest_s, first_s = float(beats_s[0]), float(beats_s[1] - beats_s[0])
        count = np.arange(len(beats_s), dtype=float)
        on_beat = rest_s <= FRAME_S
        if on_beat:
            beats_s[0] = 0.0
        elif align_downbeat and down == 0 and rest_s <= first_s / 2:
            steps = max(1, round(rest_s / (first_s * SIXTEENTH)))
            beats_s, count = np.append(0.0, beats_s), np.append(0.0, count + steps * SIXTEENTH)
            return cls(beats_s, count, beats_per_bar, steps * SIXTEENTH, begins_on_beat=False)
        elif rest_s <= first_s / 2:
            beats_s[0] = 0.0
        else:
            beats_s, count, down = np.append(0.0, beats_s), np.append(0.0, count + 1), (down + 1) % beats_per_bar
        return cls(beats_s, count, beats_per_bar, float(down) if align_downbeat else 0.0, on_beat)

    def positions_of(self, times_s: np.ndarray) -> np.ndarray:
        """Positions of times in seconds, (N,) -> (N,); after the last anchor at the pace before it."""
        return _along(self.times_s, self.positions, times_s)

    def times_of(self, positions: np.ndarray) -> np.ndarray:
        """Times in seconds of positions, (N,) -> (N,)."""
        return _along(self.positions, self.times_s, positions)

    def bars_of(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bars (N,) int64, 1 being the first whole one and 0 the shorter one before it, and beats in them from 1.

        The shorter one has the last beats of a bar, as a pickup is counted.
        """
        bars = np.floor((positions - self.lead) / self.beats_per_bar + 1e-9)
        return bars.astype(np.int64) + 1, positions - self.lead - bars * self.beats_per_bar + 1

    def beats(self, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds (B,) of the beats down to ``end_s``, and which of its bar each is (B,) int64, from 1.

        Counted as in ``bars_of``.
        """
        first = self.lead % 1
        last = float(self.positions_of(np.array([end_s]))[0])
        positions = first + np.arange(int(np.floor(last - first + 1e-9)) + 1)
        positions = positions if self.begins_on_beat else positions[positions > 0]
        return self.times_of(positions), np.rint(positions - self.lead).astype(np.int64) % self.beats_per_bar + 1

    @property
    def bpm(self) -> float:
        """Beats a minute: of the beats that are about as long as their median, which is a whole frame."""
        beats_s = np.diff(self.times_s) / np.diff(self.positions)
        return float(60 / beats_s[np.abs(beats_s / np.median(beats_s) - 1) <= ALIKE].mean())


def _all_beats(beats_s: np.ndarray, end_s: float) -> np.ndarray:
    """The beats, those before them down to the beginning, and those after them past the end."""
    steps_s = np.diff(beats_s)
    first_s, last_s = float(np.median(steps_s[:8])), float(np.median(steps_s[-8:]))
    before = max(0, int((beats_s[0] + FRAME_S) / first_s))
    after = max(1, int(np.ceil((end_s - beats_s[-1]) / last_s)) + 1)
    earlier_s = np.maximum(beats_s[0] - first_s * np.arange(before, 0, -1), 0.0)
    return np.concatenate([earlier_s, beats_s, beats_s[-1] + last_s * np.arange(1, after + 1)])


def _along(known: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at ``at`` on straight lines, the last of which goes on."""
    slope = (values[-1] - values[-2]) / (known[-1] - known[-2])
    return np.interp(at, known, values) + np.maximum(np.asarray(at) - known[-1], 0.0) * slope
