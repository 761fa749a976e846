"""Music without drums, for training to mix under them: General MIDI files rendered by melodic instruments, or made up.

No annotation: there is no drum in it. Pieces are disjoint between splits, as everywhere.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.accompaniment import (
    generated_accompaniment,
    load_accompaniments,
    melodic_sound_fonts,
    whole_accompaniment,
)
from data_prep.corpora.rendered import seed_of
from data_prep.corpora.track import Annotated, CorpusSource, Framed, PrepOptions, Track
from data_prep.default_kits import default_sound_font
from data_prep.manifest import MOST_TRACKS, MUSIC, SPLITS
from data_prep.onsets import Onsets
from data_prep.refused import Refused
from data_prep.spectrogram import log_spectrogram_of

HOURS = 0.4  # of made-up music, unless --hours says otherwise
SPLIT_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
STRETCH_S = 30.0  # of made-up music


@dataclass(frozen=True)
class MusicRendering:
    """A General MIDI file without its drums, by the instruments of a sound font; made-up music without a file."""

    file: Path | None
    font: Path
    seed: int
    classes: int = 5

    @property
    def audio(self) -> tuple[Path, ...]:
        """None: it is rendered."""
        return ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The MIDI file."""
        return (self.file,) if self.file else ()

    @property
    def materials(self) -> tuple[Path, ...]:
        """The sound font."""
        return (self.font,)

    def annotate(self) -> Annotated:
        """Nothing to find."""
        return Annotated(Onsets.of(np.zeros(0), np.zeros(0, np.int64)), 0)

    def read(self) -> Framed:
        """Bands and empty targets; Refused where the file has no melodic notes, or cannot be read."""
        if self.file is None:
            samples = generated_accompaniment(STRETCH_S, self.seed)
        else:
            samples = whole_accompaniment(self.file, self.font)
        bands = log_spectrogram_of([samples])
        return Framed(bands, np.zeros((len(bands), self.classes), np.uint8))


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Every file of ``options.accompaniment`` by every sound font among ``options.kits``, or made-up music."""
    fonts = melodic_sound_fonts(options.kits)
    files = load_accompaniments(options.accompaniment).files
    if options.hours is not None and all(files[split] for split in SPLITS):
        raise Refused(
            f"--hours {options.hours:g} is of made-up music, and {options.accompaniment} has files for every split, "
            "which are rendered whole; leave out --hours"
        )
    named: Counter[str] = Counter()
    for split in SPLITS:
        for file in files[split]:
            for font in fonts:
                recording = MusicRendering(file, font, seed_of(options.seed, file.name), options.classes)
                name = f"{file.parent.name}-{file.stem}-{font.stem}"
                named[name] += 1
                yield Track(name if named[name] == 1 else f"{name}+{named[name]}", split, str(file), recording)
        if not files[split]:
            stretches = SPLIT_SHARES[split] * (options.hours or HOURS) * 3600 / STRETCH_S
            for number in range(math.ceil(min(stretches, 2 * MOST_TRACKS))):  # the job refuses far fewer
                name = f"{split}-{number:05d}"
                recording = MusicRendering(None, default_sound_font(), seed_of(options.seed, name), options.classes)
                yield Track(name, split, name, recording, STRETCH_S)


SOURCE = CorpusSource(
    "music",
    "music without drums, rendered",
    licence="of the files given; MIT where it is made up",
    tracks=tracks,
    needs_source=False,
    heeds=("kits", "accompaniment", "hours"),
    whole_tracks=False,
    condition=MUSIC,
)
