"""Drum grooves that are made up: a dozen styles on a grid of sixteenths or triplets, played as a person would.

A style is a table of patterns, one character a step: 9 is an accent, lower digits are softer, 1 and 2 are ghost notes,
``.`` is silence.
"""

from dataclasses import dataclass, field

import numpy as np

from data_prep.midi import Notes
from data_prep.refused import Refused

KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, OPEN, CRASH, RIDE, BELL, CHINA, SPLASH, CRASH_2 = (
    36,
    37,
    38,
    39,
    42,
    44,
    46,
    49,
    51,
    53,
    52,
    55,
    57,
)
TOMS = (50, 48, 47, 45, 43, 41)  # high to low
MOST_BARS = 10_000


@dataclass(frozen=True)
class Style:
    """One style: quarter notes per minute (low, high), quarters per bar, patterns by pitch (one of several per four
    bars), feel.

    swing: how far every second sixteenth (or eighth, see swing_steps) is late, as a fraction of a step. looseness_ms:
    deviation of a hit's timing. ghosts: chance of a ghost note on a free snare step. timekeepers: pitches of which one
    plays at a time.
    """

    tempo: tuple[float, float]
    patterns: dict[int, tuple[str, ...]]
    quarters: float = 4
    swing: tuple[float, float] = (0.0, 0.08)
    swing_steps: int = 1
    looseness_ms: float = 6.0
    ghosts: float = 0.0
    timekeepers: tuple[int, ...] = (CLOSED, RIDE)
    fill_pitches: tuple[int, ...] = field(default=(SNARE, *TOMS))


EIGHTHS, QUARTERS, SIXTEENTHS = "8.6.7.6.8.6.7.6.", "8...7...8...7...", "8465746584657465"
BACKBEAT = "....9.......9..."
_T = {  # patterns on twelve triplet steps
    "shuffle": "8.67.68.67.6",
    "ride": "8..8.67..8.6",
    "backbeat": "...9.....9..",
}
STYLES_TABLE: dict[str, Style] = {
    "rock": Style(
        (95, 150),
        {
            KICK: ("9.......9.......", "9.......9.9.....", "9.....8.9.......", "9..8....9.8....."),
            SNARE: (BACKBEAT,),
            CLOSED: (EIGHTHS, QUARTERS),
            RIDE: (EIGHTHS, QUARTERS),
            OPEN: ("................", "..............7.", "......7........."),
        },
        ghosts=0.04,
    ),
    "shuffle": Style(
        (80, 140),
        {
            KICK: ("9.....8.....", "9....78.....", "9..8..8..8.."),
            SNARE: (_T["backbeat"],),
            CLOSED: (_T["shuffle"],),
            RIDE: (_T["shuffle"],),
            PEDAL: ("...5.....5..",),
        },
        ghosts=0.08,
    ),
    "funk": Style(
        (88, 116),
        {
            KICK: ("9..8..7...8.....", "9.7.....7.8..7..", "9.....8..78....."),
            SNARE: (BACKBEAT, "....9..2.2..9..2", "....9.......8.9."),
            CLOSED: (SIXTEENTHS, EIGHTHS),
            RIDE: (EIGHTHS, "....8...8...8..."),
            OPEN: ("..............7.", "......7.........", "................"),
        },
        ghosts=0.18,
        swing=(0.0, 0.2),
    ),
    "jazz swing": Style(
        (110, 220),
        {
            KICK: ("4..4..4..4..", "...........5", "........6...", "5.....5....."),
            SNARE: ("............", ".....4......", "..5.....3...", "........5..4"),
            RIDE: (_T["ride"], "8..8.68..8.6"),
            PEDAL: ("...7.....7..",),
            CRASH: ("............", "...........5"),
        },
        looseness_ms=8,
        timekeepers=(RIDE,),
        ghosts=0.05,
    ),
    "bossa": Style(
        (105, 150),
        {
            KICK: ("8.....6.8.....6.",),
            STICK: ("7.....7.....7...", "7..7..7...7..7.."),
            CLOSED: ("6.5.6.5.6.5.6.5.",),
            RIDE: ("6.5.6.5.6.5.6.5.",),
            PEDAL: ("................", "....4.......4..."),
            SNARE: ("................",),
        },
    ),
    "samba": Style(
        (90, 125),
        {
            KICK: ("7..59..57..59..5",),
            SNARE: ("6.36.36.63.63.6.", "63.6.36.36.6.3.6"),
            CLOSED: ("5.7.5.7.5.7.5.7.",),
            RIDE: ("8.6.6.8.6.8.6.6.",),
            PEDAL: ("................", "....5.......5..."),
            45: ("................", "........7......7"),
        },
        swing=(0.0, 0.12),
        ghosts=0.1,
    ),
    "reggae": Style(
        (66, 92),
        {
            KICK: ("........9.......", "9.......9.......", "9...9...9...9..."),
            STICK: ("........8.......", "............7..."),
            SNARE: ("........8.......",),
            CLOSED: (EIGHTHS, "..8...8...8...8.", SIXTEENTHS),
            OPEN: ("................", "......6........."),
        },
        swing=(0.05, 0.25),
        timekeepers=(CLOSED,),
    ),
    "hip-hop": Style(
        (74, 104),
        {
            KICK: ("9......8..8.....", "9.8....8...8....", "9..8......8..7.."),
            SNARE: (BACKBEAT, "....9..2....9..."),
            CLOSED: (EIGHTHS, "8.6.7.668.6.7.6.", "8.6.7.6.8466746."),
            OPEN: ("..............6.", "................"),
        },
        swing=(0.1, 0.35),
        timekeepers=(CLOSED,),
        looseness_ms=7,
    ),
    "disco": Style(
        (112, 130),
        {
            KICK: ("9...9...9...9...",),
            SNARE: (BACKBEAT,),
            CLOSED: ("7.5.7.5.7.5.7.5.", "7.667.667.667.66"),
            OPEN: ("..8...8...8...8.",),
            CLAP: ("................", "....7.......7..."),
        },
        swing=(0.0, 0.04),
        looseness_ms=4,
        timekeepers=(CLOSED,),
    ),
    "metal": Style(
        (120, 190),
        {
            KICK: ("9.8.9.8.9.8.9.8.", "9888988898889888", "9..89..89..89.88"),
            SNARE: (BACKBEAT, "........9......."),
            CLOSED: (QUARTERS, EIGHTHS),
            BELL: ("9...9...9...9...",),
            CHINA: (QUARTERS,),
            CRASH_2: ("9...9...9...9...",),
        },
        looseness_ms=4,
        timekeepers=(CLOSED, BELL, CHINA, CRASH_2),
    ),
    "half-time": Style(
        (120, 165),
        {
            KICK: ("9.....8.........", "9..8.......8....", "9...........8..."),
            SNARE: ("........9.......",),
            CLOSED: (SIXTEENTHS, EIGHTHS),
            RIDE: (EIGHTHS, QUARTERS),
            OPEN: ("................", "..............6."),
        },
        ghosts=0.08,
    ),
    "ballad": Style(  # 6/8: two dotted quarters a bar, twelve sixteenths
        (78, 108),
        {
            KICK: ("9.....8.....", "9...7.......", "9....8......"),
            SNARE: ("......9.....",),
            STICK: ("......8.....",),
            CLOSED: ("8.5.5.7.5.5.", "8.5.547.5.54"),
            RIDE: ("8.5.5.7.5.5.",),
            OPEN: ("............", "..........5."),
        },
        quarters=3,
        looseness_ms=8,
    ),
    "latin": Style(
        (90, 120),
        {
            KICK: ("9.....7.....7...", "9..7..8...7....."),
            SNARE: ("................", "............7..."),
            STICK: ("..7...7..7..7...",),
            BELL: ("8...6.8...6.8.6.", "8.6.8.6.86.6.86."),
            CLOSED: ("8.6.8.6.8.6.8.6.",),
            47: ("..........6.6...", "................"),
            41: ("..............77", "................"),
        },
        timekeepers=(BELL, CLOSED),
    ),
}
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
                pitches = self.style.fill_pitches
                self._add(number, step, steps, pitches[min(int(place * len(pitches)), len(pitches) - 1)], 6 + 3 * place)
        if crash:
            self._add(number, 0, steps, int(self.rng.choice([CRASH, CRASH, CRASH_2, SPLASH, CHINA])), 8.5)

    def _add(self, bar: int, step: int, steps: int, pitch: int, mark: float) -> None:
        late = self.swing if steps == 16 and step // self.style.swing_steps % 2 else 0.0
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
