"""Prepared corpora to mix: clicks of five classes together and apart, with labels; music is the project's own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from miniature import SOUNDS

from data_prep import corpora
from data_prep.corpora import CorpusSource, PrepOptions, Track
from data_prep.corpora.track import Annotated, Framed
from data_prep.job import prepare
from data_prep.manifest import STEMS
from data_prep.onsets import Onsets, target_grid
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ
from data_prep.spectrogram import log_spectrogram_of

APART_FRAMES = 23  # of two hits, whichever classes they are
LONG, SHORT = 1000, 150  # frames; the short ones are no whole window


@dataclass(frozen=True)
class Clicks:
    """Decaying tones at whole frames, one pitch a class, in turn by chance."""

    seed: int
    frames: int
    apart: bool
    classes: int = 5
    audio: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    materials: tuple[Path, ...] = ()

    def onsets(self) -> Onsets:
        """The hits that are of a class."""
        generator = np.random.default_rng(self.seed)
        frames = np.arange(generator.integers(5, 20), self.frames - 10, APART_FRAMES)
        return Onsets.of(frames / 100, generator.integers(min(self.classes, 5), size=len(frames)))

    def annotate(self) -> Annotated:
        """Beside the sound."""
        return Annotated(self.onsets(), len(self.onsets()))

    def read(self) -> Framed:
        """Bands of all together, or class by class."""
        rows = np.zeros((5, self.frames * HOP_SAMPLES - 1), np.float32)
        clock = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
        onsets = self.onsets()
        for time_s, of in zip(onsets.times_s, onsets.classes, strict=True):
            _, pitch_hz, decay = SOUNDS[of]
            begin = round(time_s * SAMPLE_RATE_HZ)
            hit = (0.3 * np.exp(-clock * decay) * np.sin(2 * np.pi * pitch_hz * clock)).astype(np.float32)
            rows[of, begin : begin + len(hit)] += hit[: rows.shape[1] - begin]
        heard = rows if self.apart else rows.sum(axis=0, keepdims=True)
        bands = np.concatenate([log_spectrogram_of([row]) for row in heard], axis=1)
        return Framed(bands, target_grid(onsets, len(bands), self.classes))


def clicks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    for number, (split, frames) in enumerate((("train", LONG), ("train", SHORT), ("validation", LONG))):
        yield Track(f"{split}-{number}", split, str(number), Clicks(number, frames, False, options.classes))


def apart(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    for number, frames in enumerate((LONG, SHORT, LONG), 10):
        yield Track(f"train-{number}", "train", str(number), Clicks(number, frames, True, options.classes))


TOGETHER = CorpusSource("clicks", "Clicks", "none", clicks, needs_source=False)
APART = replace(TOGETHER, name="clicks_stems", tracks=apart, whole_tracks=False, condition=STEMS, stems=5)


def prepare_mixed(folder: Path, classes: int = 5) -> Path:
    """clicks, clicks_stems and music in a folder of shards."""
    options = PrepOptions(workers=1, classes=classes)
    with pytest.MonkeyPatch.context() as patch:
        for described in (TOGETHER, APART):
            patch.setitem(corpora.CORPORA, described.name, described)
            prepare(described.name, source=None, shards=folder, options=options)
        prepare("music", source=None, shards=folder, options=replace(options, hours=0.01))
    return folder
