"""Drum grooves that are made up: a dozen styles, played as a person would, with ghost notes, fills and a tempo that
wanders.
"""

import numpy as np

from data_prep.groove_styles import (
    CHINA,
    CLOSED,
    CRASH,
    CRASH_2,
    KICK,
    OPEN,
    PEDAL,
    SNARE,
    SPLASH,
    STYLES_TABLE,
    TOMS,
    Style,
)
from data_prep.midi import Notes
from data_prep.refused import Refused

FILL = (SNARE, *TOMS)  # a fill goes down these
MOST_BARS = 10_000
STYLES = tuple(STYLES_TABLE)


class _Player:
    """One performance: gathers (quarter, pitch, loudness 1..9, how late in steps), and then times them."""

    def __init__(self, style: Style, rng: np.random.Generator) -> None:
        self.style, self.rng = style, rng
        self.hits: list[tuple[float, int, float, float]] = []
        self.swing = rng.uniform(*style.swing)
        self.patterns = {pitch: str(rng.choice(found)) for pitch, found in style.patterns.items()}
        self.keeper = int(rng.choice(style.timekeepers))

    def change(self) -> None:
        """A new section: some patterns and perhaps the timekeeper differ."""
        for pitch, found in self.style.patterns.items():
            if self.rng.random() < 0.4:
                self.patterns[pitch] = str(self.rng.choice(found))
        if self.rng.random() < 0.5:
            self.keeper = int(self.rng.choice(self.style.timekeepers))

    def bar(self, number: int, *, fill: float, crash: bool) -> None:
        """Play one bar; ``fill``: the share at its end that is a fill."""
        steps = len(next(iter(self.patterns.values())))
        quiet_from = steps - round(fill * steps)
        resting = set(self.style.timekeepers) - {self.keeper}
        if CLOSED in resting and set(self.patterns.get(PEDAL, ".")) == {"."}:
            for beat in (1, 3):  # the foot keeps time where the hand is on a cymbal
                self._add(number, steps * beat // 4, steps, PEDAL, 5.5)
        for pitch, pattern in self.patterns.items():
            for step, mark in enumerate(pattern):
                if pitch in resting or (step >= quiet_from and pitch not in (KICK, PEDAL)):
                    continue
                if mark != ".":
                    if (
                        pitch == self.keeper
                        and self.patterns.get(OPEN, "." * steps)[step] != "."
                        and self.keeper == CLOSED
                    ):
                        continue  # one hand: open instead of closed
                    self._add(number, step, steps, pitch, float(mark))
                elif pitch == SNARE and self.rng.random() < self.style.ghosts:
                    self._add(number, step, steps, SNARE, float(self.rng.uniform(1, 2.5)))
        for step in range(quiet_from, steps):
            if step == steps - 1 or self.rng.random() < 0.85:
                place = (step - quiet_from + self.rng.random()) / max(1, steps - quiet_from)
                pitch = FILL[min(int(place * len(FILL)), len(FILL) - 1)]
                self._add(number, step, steps, pitch, 6 + 3 * place)
        if crash:
            self._add(number, 0, steps, int(self.rng.choice([CRASH, CRASH, CRASH_2, SPLASH, CHINA])), 8.5)

    def _add(self, bar: int, step: int, steps: int, pitch: int, mark: float) -> None:
        late = self.swing if steps == 16 and step % 2 else 0.0
        self.hits.append((self.style.quarters * (bar + step / steps), pitch, mark, late * self.style.quarters / steps))

    def notes(self) -> Notes:
        """All hits as a person would place them: a tempo that wanders, hits early or late, harder on the beat."""
        rng = self.rng
        table = np.array(sorted(self.hits))
        quarters, pitches, marks, lates = table.T
        tempo = rng.uniform(*self.style.tempo)
        grid = np.arange(0, int(quarters.max()) + 3)
        wander = np.convolve(rng.normal(0, 0.006, len(grid) + 15), np.ones(16) / 4, "valid")
        beats_s = np.concatenate([[0.0], np.cumsum(60 / (tempo * (1 + np.clip(wander, -0.04, 0.04))))])[: len(grid)]
        lead_in_s = rng.uniform(0.05, 0.3)
        habit_s = dict(zip(np.unique(pitches), rng.normal(0, 0.004, len(np.unique(pitches))), strict=True))
        times_s = np.interp(quarters + lates, grid, beats_s) + lead_in_s + np.array([habit_s[p] for p in pitches])
        times_s = np.maximum(
            times_s + np.clip(rng.normal(0, self.style.looseness_ms / 1000, len(times_s)), -0.02, 0.02), 0.0
        )
        force = rng.uniform(0.85, 1.1)
        velocities = np.clip(np.round(force * (marks * 13 - 3) + rng.normal(0, 5, len(marks))), 1, 127).astype(np.int64)
        order = np.argsort(times_s, kind="stable")
        return Notes(times_s[order], pitches[order].astype(np.int64), velocities[order])


def generate_groove(style: str, *, seed: int, bars: int) -> Notes:
    """A performance of ``bars`` bars in General MIDI pitches; the same style, seed and length give the same notes.

    Every fourth bar ends in a fill over the toms and the next begins with a crash, so that from four bars on all five
    drum classes occur. Raises Refused for a style that is not in STYLES and for a length outside 1..10,000 bars.
    """
    if style not in STYLES_TABLE:
        raise Refused(f"unknown style {style!r}; choose from {', '.join(STYLES)}")
    if not 1 <= bars <= MOST_BARS:
        raise Refused(f"a groove of {bars} bars was asked for; choose 1 to {MOST_BARS}")
    rng = np.random.default_rng([seed, STYLES.index(style)])
    player = _Player(STYLES_TABLE[style], rng)
    phrase = int(rng.choice([2, 4, 4]))
    for number in range(bars):
        if number and number % 4 == 0:
            player.change()
        ends = (number + 1) % phrase == 0
        long = float(rng.choice([0.25, 0.5, 0.5, 1.0]))
        player.bar(
            number, fill=long if ends else 0.0, crash=number % phrase == 0 and (number == 0 or rng.random() < 0.8)
        )
    return player.notes()
