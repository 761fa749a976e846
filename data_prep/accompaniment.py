"""Music around the drums: stretches of General MIDI files without their drum channel, or a made-up bass line with
chords.

Files are disjoint between splits. A stretch is rendered when it is asked for, from its own notes only, so nothing is
stored.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_prep.default_kits import default_sound_font
from data_prep.kits import sound_font_files
from data_prep.manifest import SPLITS
from data_prep.melodic import MelodicNotes, read_melodic_notes, render_notes
from data_prep.refused import Refused
from data_prep.samples import FADE_SAMPLES
from data_prep.sound_fonts import open_sound_font

log = logging.getLogger(__name__)
SUFFIXES = (".mid", ".midi")
SHARES = (0.8, 0.9)  # of the files, by a hash of their content: training below the first, validation below the second
# the music of the Freedoom project is for training, that of OpenMSX for validation and test
TRAINING_FOLDER, HELD_OUT_FOLDER = "freedoom", "openmsx"
TRIES = 8
FEWEST_PROGRAMS = 100  # of General MIDI's 128, for a sound font to play any music
LONGEST_S = 3600.0

PROGRESSIONS = ((0, 5, 7, 0), (0, 9, 5, 7), (0, 0, 5, 7), (9, 5, 0, 7), (2, 7, 0, 0), (0, 10, 5, 0), (0, 3, 5, 5))
MINOR_ROOTS = (2, 4, 9)  # semitones above the key on which a major key has minor chords
BASSES, CHORDS, LEADS = (
    range(32, 39),
    (0, 2, 4, 5, 16, 17, 18, 24, 25, 26, 27, 29, 30, 48, 50, 61, 88, 89),
    (11, 40, 56, 65, 66, 73, 80, 81),
)
BASS_RHYTHMS = ("x...x...x...x...", "x..x..x.x..x..x.", "x.x.x.x.x.x.x.x.", "x.....x.x.....x.", "x...............")
CHORD_RHYTHMS = ("x...............", "x.......x.......", "..x...x...x...x.", "x.x.x.x.x.x.x.x.", "x..x..x...x..x..")


@dataclass(frozen=True)
class Accompaniments:
    """Where music comes from, per split; travels between processes.  A split without files gets made-up music."""

    files: Mapping[str, tuple[Path, ...]]

    def excerpt(self, split: str, seconds: float, seed: int) -> np.ndarray:
        """A stretch of some piece of a split, float32 (S,), peak at most 0.5; the same seed gives the same samples.

        Files that have no melodic notes or cannot be read are passed over. A piece that is too short is repeated.
        Raises Refused for a length outside 0..3600 s.
        """
        _check_length(seconds)
        files = self.files.get(split, ())
        rng = np.random.default_rng(seed)
        for index in rng.permutation(len(files))[:TRIES]:
            try:
                notes = read_melodic_notes(files[index])
            except Refused:
                continue
            stretch = _stretch(notes, seconds, rng)
            if len(stretch):
                return _faded(render_notes(stretch, default_sound_font(), seconds))
        return generated_accompaniment(seconds, seed)


def whole_accompaniment(path: Path, font: Path) -> np.ndarray:
    """A General MIDI file without its drums, by the instruments of a sound font: float32 (S,), peak at most 0.5.

    Refused where it is no MIDI file, has no melodic notes, or lasts longer than an hour.
    """
    notes = read_melodic_notes(path)
    if not len(notes):
        raise Refused(f"{path} has no melodic notes; expected General MIDI music: leave it out")
    _check_length(notes.seconds)
    return _faded(render_notes(notes, font, notes.seconds))


def melodic_sound_fonts(places: Sequence[Path]) -> tuple[Path, ...]:
    """The sound font of every installation, and those among ``places`` or in folders there with all instruments.

    A broken one is passed over with a warning. Refused where a place is not there.
    """
    found = {default_sound_font()}
    for path in sound_font_files(places):
        try:
            programs = {program for bank, program in open_sound_font(path).presets if bank == 0}
        except Refused as error:
            log.warning("sound font passed over: %s", error)
            continue
        if len(programs) >= FEWEST_PROGRAMS:
            found.add(path)
    return tuple(sorted(found))


def _check_length(seconds: float) -> None:
    if not 0 <= seconds <= LONGEST_S:
        raise Refused(f"an accompaniment of {seconds:.3g} s was asked for; choose between 0 and {LONGEST_S:.0f} s")


def _faded(samples: np.ndarray) -> np.ndarray:
    """In and out over 10 ms, so that a cut note does not click."""
    fade = np.linspace(0, 1, min(FADE_SAMPLES, len(samples) // 2), dtype=np.float32)
    if len(fade):
        samples[: len(fade)] *= fade
        samples[-len(fade) :] *= fade[::-1]
    return samples


def _stretch(notes: MelodicNotes, seconds: float, rng: np.random.Generator) -> MelodicNotes:
    """The notes of ``seconds`` from a random place; from the first note on where that place is silent."""
    if not len(notes):
        return notes
    period_s = notes.seconds
    if period_s < seconds:
        times = int(np.ceil(seconds / max(period_s, 0.5)))
        shifts_s = np.repeat(np.arange(times) * max(period_s, 0.5), len(notes))
        rest = (notes.lengths_s, notes.pitches, notes.velocities, notes.volumes, notes.programs)
        notes = MelodicNotes(np.tile(notes.starts_s, times) + shifts_s, *(np.tile(column, times) for column in rest))
    start_s = rng.uniform(0, max(0.0, notes.seconds - seconds))
    found = notes.between(start_s, start_s + seconds)
    if not len(found):
        start_s = float(notes.starts_s[0])
        found = notes.between(start_s, start_s + seconds)
    return found


@lru_cache(maxsize=4)
def load_accompaniments(folder: Path | None) -> Accompaniments:
    """The General MIDI files at or below a folder, each in one split for good; without a folder, made-up music
    everywhere.

    Where the folder has the two collections that the project knows, one is for training and the other for validation
    and test; other files are dealt out by a hash of their content. Raises Refused where the folder is missing or has no
    MIDI file.
    """
    if folder is None:
        return Accompaniments({split: () for split in SPLITS})
    if not folder.is_dir():
        raise Refused(f"no folder of MIDI files at {folder}; check the path given to --accompaniment")
    files = sorted(path.resolve() for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise Refused(f"{folder} holds no .mid or .midi file; give a folder of General MIDI music to --accompaniment")
    known = all((folder / name).is_dir() for name in (TRAINING_FOLDER, HELD_OUT_FOLDER))
    splits: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in files:
        with path.open("rb") as file:
            place = int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:6], "big") / 2**48
        collection = path.relative_to(folder.resolve()).parts[0] if path.is_relative_to(folder.resolve()) else ""
        if known and collection == TRAINING_FOLDER:
            split = "train"
        elif known and collection == HELD_OUT_FOLDER:
            split = "validation" if place < 0.5 else "test"
        else:
            split = "train" if place < SHARES[0] else "validation" if place < SHARES[1] else "test"
        splits[split].append(path)
    return Accompaniments({split: tuple(found) for split, found in splits.items()})


def generated_accompaniment(seconds: float, seed: int) -> np.ndarray:
    """Bass, chords and now and then a melody over a chord progression: float32 (S,), peak at most 0.5.

    The same length and seed give the same samples. Raises Refused for a length outside 0..3600 s.
    """
    _check_length(seconds)
    rng = np.random.default_rng([seed, 1])
    step_s = 60 / rng.uniform(70, 160) / 4
    key = int(rng.integers(0, 12))
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    bass, chord, lead = (int(rng.choice(programs)) for programs in (BASSES, CHORDS, LEADS))
    bass_rhythm, chord_rhythm = str(rng.choice(BASS_RHYTHMS)), str(rng.choice(CHORD_RHYTHMS))
    melody = rng.random() < 0.5
    volumes = rng.uniform(0.4, 1.0, 3)
    rows: list[tuple[float, float, int, int, float, int]] = []

    def play(step: int, steps: float, pitch: int, volume: float, program: int) -> None:
        start_s = max(0.0, step * step_s + rng.normal(0, 0.006))
        rows.append(
            (start_s, steps * step_s * rng.uniform(0.8, 0.98), pitch, int(rng.integers(60, 115)), volume, program)
        )

    for bar in range(int(seconds / (16 * step_s)) + 1):
        above_key = progression[bar % len(progression)]
        root, third = key + above_key, 3 if above_key in MINOR_ROOTS else 4
        for rhythm, program, volume in ((bass_rhythm, bass, volumes[0]), (chord_rhythm, chord, volumes[1])):
            struck = [step for step, mark in enumerate(rhythm) if mark == "x"]
            for step, until in zip(struck, [*struck[1:], 16], strict=True):
                if program == bass:
                    pitch = 28 + (root + 8) % 12 + int(rng.choice([0, 0, 0, 7, 12]))
                    play(16 * bar + step, until - step, pitch, volume, program)
                else:
                    for interval in (0, third, 7):
                        play(16 * bar + step, until - step, 54 + (root + interval + 6) % 12, 0.6 * volume, program)
        step = 0
        while melody and step < 16:
            length = int(rng.choice([2, 2, 4, 6]))
            if rng.random() < 0.7:
                degree = int(rng.choice([0, 2, 4, 7, 9]))
                play(16 * bar + step, min(length, 16 - step), 66 + (key + degree) % 12, 0.8 * volumes[2], lead)
            step += length
    notes = MelodicNotes.of(rows).between(0.0, seconds)
    return _faded(render_notes(notes, default_sound_font(), seconds))
