"""The styles of generated grooves, as a table.

A pattern has one character a step, sixteenths or triplets: 9 is an accent, lower digits are softer, 1 and 2 are ghost
notes, "." is silence.
"""

from dataclasses import dataclass

KICK, STICK, SNARE, CLAP = 36, 37, 38, 39
CLOSED, PEDAL, OPEN = 42, 44, 46
CRASH, CRASH_2, SPLASH, CHINA, RIDE, BELL = 49, 57, 55, 52, 51, 53
TOMS = (50, 48, 47, 45, 43, 41)  # high to low


@dataclass(frozen=True)
class Style:
    """One style: quarter notes per minute (low, high), quarters per bar, patterns by pitch (one of several per four
    bars), feel.

    swing: how far every second sixteenth is late, as a fraction of a step. looseness_ms:
    deviation of a hit's timing. ghosts: chance of a ghost note on a free snare step. timekeepers: pitches of which one
    plays at a time.
    """

    tempo: tuple[float, float]
    patterns: dict[int, tuple[str, ...]]
    quarters: float = 4
    swing: tuple[float, float] = (0.0, 0.08)
    looseness_ms: float = 6.0
    ghosts: float = 0.0
    timekeepers: tuple[int, ...] = (CLOSED, RIDE)


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
