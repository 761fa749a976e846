"""Beats that are found in onsets, against the tempo that they were made with."""

from collections import Counter

import numpy as np
import pytest

from data_prep.classes import VOCABULARIES
from data_prep.onsets import Onsets
from trainables.notation import NotationOptions, Transcribed
from trainables.notation.beats import timeline_of

KICK, SNARE, TOMS, HAT, CYMBALS = range(5)
BACKBEAT = [(0, KICK), (2, KICK), (1, SNARE), (3, SNARE)]
EIGHTHS, SIXTEENTHS = ([(step / count, HAT) for step in range(4 * count)] for count in (2, 4))
BARS: dict[str, list[tuple[float, int]]] = {  # beats and classes
    "quarters": [*BACKBEAT, *((beat, HAT) for beat in range(4))],
    "rock": [*BACKBEAT, *EIGHTHS],
    "rock with a kick more": [*BACKBEAT, (2.5, KICK), *EIGHTHS],
    "rock in sixteenths": [*BACKBEAT, *SIXTEENTHS],
    "four on the floor": [*((beat, KICK) for beat in range(4)), (1, SNARE), (3, SNARE), *EIGHTHS[1::2]],
    "funk": [(0, KICK), (0.75, KICK), (2.5, KICK), *((at, SNARE) for at in (1, 1.75, 2.25, 3)), *SIXTEENTHS],
    "shuffle": [*BACKBEAT, *((beat + part, HAT) for beat in range(4) for part in (0, 2 / 3))],
    "half time": [(0, KICK), (1.5, KICK), (2, SNARE), *EIGHTHS],
}


def played(name: str, bpm: float, seconds: float = 30.0) -> Transcribed:
    """Bars as a person plays them: 5 ms about the beat."""
    bars = int(seconds * bpm / 240)
    positions, classes = np.array([(4 * bar + at, of) for bar in range(bars) for at, of in BARS[name]]).T
    times_s = 0.6 + positions * 60 / bpm + np.random.default_rng(0).normal(0, 0.005, len(positions))
    return Transcribed(Onsets.of(times_s, classes).merged(), VOCABULARIES[5], seconds + 2)


@pytest.mark.parametrize("name", BARS)
def test_the_tempo_is_found_or_its_half_or_double(name):
    found: Counter[float] = Counter()
    for bpm in range(60, 201, 7):
        timeline = timeline_of(played(name, bpm), NotationOptions(tempo="estimate"))
        assert timeline is not None
        octaves = np.log2(timeline.bpm / bpm)
        assert abs(octaves - round(octaves)) < 0.005, f"{timeline.bpm:.1f} for {bpm}"
        found[round(octaves)] += 1
        if name != "half time" and 80 <= bpm <= 116:  # at which half and double are unlikely
            assert round(octaves) in ((0, -1) if name == "funk" else (0,)), bpm
    assert set(found) <= {-1, 0, 1}


@pytest.mark.parametrize("bpm", [157, 158, 159, 160, 161, 162, 163, 164])
def test_fast_rock_is_not_two_thirds_as_fast(bpm):
    timeline = timeline_of(played("rock", bpm), NotationOptions(tempo="estimate"))
    assert timeline is not None
    assert min(abs(timeline.bpm / bpm - of) for of in (0.5, 1)) < 0.003
