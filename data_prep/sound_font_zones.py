"""Zones of a SoundFont: what its generators say about one recording (specification 2.04, section 8.1)."""

from dataclasses import dataclass
from functools import cached_property

# generators (specification 8.1.2)
START, END, LOOP_START, LOOP_END, START_COARSE, END_COARSE, LOOP_START_COARSE, LOOP_END_COARSE = (
    0,
    1,
    2,
    3,
    4,
    12,
    45,
    50,
)
CUTOFF, ENVELOPE_TO_CUTOFF = 8, 11
DELAY, ATTACK, HOLD, DECAY, SUSTAIN, RELEASE = 33, 34, 35, 36, 37, 38
INSTRUMENT_INDEX, KEYS, VELOCITIES, ATTENUATION, COARSE_TUNE, FINE_TUNE, RECORDING_INDEX = 41, 43, 44, 48, 51, 52, 53
LOOP_MODE, SCALE_TUNING, ROOT_KEY = 54, 56, 58
DEFAULTS = {CUTOFF: 13500, DELAY: -12000, ATTACK: -12000, HOLD: -12000, DECAY: -12000, RELEASE: -12000}
DEFAULTS |= {SCALE_TUNING: 100, ROOT_KEY: -1}
EVERYTHING = 0x7F00  # a range of 0..127: low byte the least, high byte the greatest


def _seconds(timecents: int) -> float:
    return float(2.0 ** (min(max(timecents, -12000), 8000) / 1200)) if timecents > -12000 else 0.0


def low_high(amount: int) -> tuple[int, int]:
    """A range generator's two bytes, each 0..127."""
    return amount & 0x7F, (amount >> 8) & 0x7F


@dataclass(frozen=True)
class Zone:
    """One recording as a preset plays it: for which keys and velocities, and how."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    recording: int
    generators: tuple[tuple[int, int], ...]

    @cached_property
    def _amounts(self) -> dict[int, int]:
        return dict(self.generators)

    def amount(self, kind: int) -> int:
        """A generator's raw amount, or its default."""
        return self._amounts.get(kind, DEFAULTS.get(kind, 0))

    def seconds(self, kind: int) -> float:
        """A generator in timecents as seconds, 0 at or below the shortest."""
        return _seconds(self.amount(kind))

    @property
    def looped(self) -> bool:
        """Whether the recording repeats its loop."""
        return self.amount(LOOP_MODE) in (1, 3)

    @property
    def gain(self) -> float:
        """Amplitude factor of the initial attenuation; the 0.4 is what files are made for."""
        return float(10.0 ** (-0.4 * min(max(self.amount(ATTENUATION), 0), 1440) / 200))

    @property
    def cutoff_hz(self) -> float:
        """Cutoff of the low-pass with its envelope fully open, in Hz."""
        cents = self.amount(CUTOFF) + max(0, self.amount(ENVELOPE_TO_CUTOFF))
        return float(8.176 * 2.0 ** (min(max(cents, 1500), 14500) / 1200))
