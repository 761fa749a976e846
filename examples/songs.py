"""Short pieces of music with known onsets, for the other examples: grooves that mirtune makes up and renders."""

from itertools import islice
from pathlib import Path

import numpy as np
import soundfile

from data_prep.classes import VOCABULARIES
from data_prep.corpora import CORPORA, PrepOptions
from data_prep.corpora.track import Heard
from data_prep.onsets import Onsets
from data_prep.rates import SAMPLE_RATE_HZ

CLASSES = VOCABULARIES[5]  # kick, snare, toms, hi-hat, cymbals


def make_songs(folder: Path, count: int, seconds: float = 20.0) -> dict[Path, Onsets]:
    """Write ``count`` wav files into ``folder``; the file of each, and the onsets that are heard in it."""
    folder.mkdir(parents=True, exist_ok=True)
    songs = {}
    for track in islice(CORPORA["demo_unseen"].tracks(None, PrepOptions()), count):
        heard = track.recording.read()
        assert isinstance(heard, Heard)
        samples = np.concatenate(list(heard.blocks))[: round(seconds * SAMPLE_RATE_HZ)]
        path = folder / f"{track.id.removeprefix('test-')}.wav"
        soundfile.write(path, samples, SAMPLE_RATE_HZ)
        onsets = heard.annotated.onsets
        songs[path] = onsets[onsets.times_s < seconds]
    return songs


def write_annotation(path: Path, onsets: Onsets) -> None:
    """A line for each onset, its time in seconds and its class: one of the forms that the corpus `folder` reads."""
    rows = zip(onsets.times_s, onsets.classes, strict=True)
    path.write_text("".join(f"{time_s:.3f} {CLASSES[index]}\n" for time_s, index in rows))
