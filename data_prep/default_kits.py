"""Kits out of the one sound font that pip brings: TimGM6mb.sf2 in the wheel of pretty_midi.

Its eight percussion presets share most recordings, so presets cannot be split. What is split is the recordings: each
belongs to one split, and a kit is put together from the keys that play its split's recordings. Test has the acoustic
kit, the one most like what people record; validation is the TR-808; training has the rest: the Power kit's kick, four
snares, timbales tuned down for toms, the hi-hat's foot sound. The font has four cymbals that are not a bell tree: crash
and ride for test, china for validation, ride bell for training, each standing for the others. That is little to learn
from, so most training draws are synthesised kits.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

from data_prep.refused import Refused
from data_prep.samples import Kit, Voice, normalised
from data_prep.sound_font_notes import drum_voice
from data_prep.sound_fonts import DRUM_BANK, open_sound_font

FILE_NAME = "TimGM6mb.sf2"
RECORDINGS: dict[str, tuple[str, ...]] = {
    "train": (
        *("Kick Verb", "Snare Verb", "Snare 2", "Brush Snare", "E Snare"),
        *("Timbale Strike", "Timbale Rimshot", "Syn Drum Wave", "High Hat Foot", "Ride Bell"),
    ),
    "validation": ("Sine Wave", "Filter Snap", "808 Snare", "808 Click", "808 Hat", "ChinaCrashCymb", "Cowbell 808"),
    "test": (
        *("Bass Drum New", "Snare 1", "Rim Shot", "Acoustic Tom", "High Hat Closed", "Open High Hat"),
        *("Med Crash Cymbal", "Ride Ping", "Brass Tambourine", "Cowbell", "Claps 808ish"),
    ),
}
STANDARD, ROOM, POWER, ELECTRONIC, TR_808, JAZZ, BRUSH = 0, 8, 16, 24, 25, 32, 40

Source = tuple[int, int, int]  # preset, key, detuning in cents
Recipe = dict[str, tuple[Source, ...]]


def _acoustic(kick: Source, snare: Source, *, toms: int = 0, hats: int = 0, cymbals: int = 0) -> Recipe:
    """A test kit: the font's acoustic recordings, each group detuned by so many cents."""
    return {
        "kick": (kick,),
        "snare": (snare,),
        "cross_stick": ((STANDARD, 37, hats),),
        "clap": ((STANDARD, 39, 0),),
        "high_tom": ((STANDARD, 50, toms),),
        "mid_tom": ((STANDARD, 47, toms),),
        "floor_tom": ((STANDARD, 41, toms), (STANDARD, 43, toms - 200)),
        "closed_hat": ((STANDARD, 42, hats),),
        "open_hat": ((STANDARD, 46, hats),),
        "crash_1": ((STANDARD, 49, cymbals),),
        "crash_2": ((STANDARD, 57, cymbals - 150),),
        "splash": ((STANDARD, 55, cymbals + 300),),
        "ride": ((STANDARD, 51, cymbals),),
        "ride_edge": ((STANDARD, 59, cymbals - 300),),
        "tambourine": ((STANDARD, 54, 0),),
        "cowbell": ((STANDARD, 56, cymbals),),
    }


def _assorted(snares: tuple[Source, ...], cents: int) -> Recipe:
    """A training kit: a snare or two, and the other training recordings detuned by so many cents."""
    return {
        "kick": ((POWER, 36, cents),),
        "snare": snares,
        "high_tom": ((STANDARD, 65, cents - 700), (ELECTRONIC, 50, cents)),
        "mid_tom": ((STANDARD, 66, cents - 700), (ELECTRONIC, 47, cents)),
        "floor_tom": ((STANDARD, 66, cents - 1200), (ELECTRONIC, 41, cents)),
        "closed_hat": ((STANDARD, 44, cents + 200),),
        "pedal_hat": ((STANDARD, 44, cents),),
        "crash_1": ((STANDARD, 53, cents - 700),),
        "ride": ((STANDARD, 53, cents - 300),),
        "ride_bell": ((STANDARD, 53, cents),),
    }


RECIPES: dict[str, tuple[str, Recipe]] = {
    "Tim power": ("train", _assorted(((POWER, 38, 0), (STANDARD, 40, 0)), 0)),
    "Tim brush": ("train", _assorted(((BRUSH, 38, 0), (BRUSH, 39, 0)), 250)),
    "Tim electric": ("train", _assorted(((ELECTRONIC, 38, 0),), -250)),
    "Tim 808": (
        "validation",
        {
            "kick": ((TR_808, 36, 0),),
            "snare": ((TR_808, 38, 0),),
            "cross_stick": ((TR_808, 37, 0),),
            "high_tom": ((TR_808, 50, 0),),
            "mid_tom": ((TR_808, 47, 0),),
            "floor_tom": ((TR_808, 41, 0),),
            "closed_hat": ((TR_808, 42, 0),),
            "pedal_hat": ((TR_808, 44, 0),),
            "open_hat": ((TR_808, 46, 0),),
            "crash_1": ((STANDARD, 52, -300),),
            "china": ((STANDARD, 52, 0),),
            "ride": ((STANDARD, 52, 400),),
            "cowbell": ((TR_808, 56, 0),),
        },
    ),
    "Tim standard": ("test", _acoustic((STANDARD, 36, 0), (STANDARD, 38, 0))),
    "Tim room": ("test", _acoustic((ROOM, 35, -200), (ROOM, 38, -150), toms=-300, hats=-150, cymbals=-300)),
    "Tim jazz": ("test", _acoustic((JAZZ, 36, 250), (JAZZ, 38, 200), toms=300, hats=200, cymbals=200)),
}


@lru_cache(maxsize=1)
def default_sound_font() -> Path:
    """Where pretty_midi keeps its sound font, found without importing it; Refused where the wheel is not installed."""
    found = importlib.util.find_spec("pretty_midi")
    path = Path(found.origin).parent / FILE_NAME if found and found.origin else None
    if path is None or not path.is_file():
        raise Refused(
            f"{FILE_NAME} of the package pretty_midi is not installed; run pip install pretty_midi, "
            "or give kits of your own with --kits"
        )
    return path.resolve()


def recordings_of(path: Path, split: str) -> frozenset[int]:
    """Indices of the recordings that belong to a split."""
    names = [row["name"].split(b"\0")[0].decode("latin-1").strip() for row in open_sound_font(path).recordings[:-1]]
    missing = set(RECORDINGS[split]) - set(names)
    if missing:
        raise Refused(
            f"{path} lacks the recordings {', '.join(sorted(missing))}; it is not the {FILE_NAME} of pretty_midi, "
            "so rename it"
        )
    return frozenset(i for i, name in enumerate(names) if name in RECORDINGS[split])


def load_default_kit(path: Path, name: str) -> Kit:
    """One of RECIPES, loaded from the font at ``path``."""
    split, recipe = RECIPES[name]
    font, own = open_sound_font(path), recordings_of(path, split)
    pieces: dict[str, tuple[Voice, ...]] = {}
    for piece, sources in recipe.items():
        voices = (drum_voice(font, (DRUM_BANK, preset), key, only=own, cents=cents) for preset, key, cents in sources)
        pieces[piece] = tuple(voice for voice in voices if voice is not None)
        assert pieces[piece], f"{name} has no {piece}"
    return Kit(name, normalised(pieces))
