"""Performances without audio: rendered inside the preparation job, by kits and with accompaniment of their split."""

import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.accompaniment import load_accompaniments
from data_prep.audible import heard_notes
from data_prep.augment import augment_apart
from data_prep.classes import class_map, to_classes
from data_prep.corpora.track import Annotated, Framed, Heard
from data_prep.kit_splits import drawn_kit
from data_prep.kits import KitRef
from data_prep.midi import Notes, read_drum_notes
from data_prep.onsets import Onsets
from data_prep.refused import Refused
from data_prep.render import render_stems
from data_prep.stems import TAIL_S, framed_stems

MIXED_SHARE = 0.7  # of the tracks have accompaniment under their drums
LONGEST_S = 1800.0  # rendered whole, in half a gigabyte or a few; Groove's longest performance lasts 23 minutes


def seed_of(*words: object) -> int:
    """A seed that the same words always give, on every machine."""
    return zlib.crc32("\n".join(map(str, words)).encode())


class Performance(Protocol):
    """Drum notes from somewhere."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files they are read from."""
        ...

    def notes(self) -> Notes:
        """The notes; Refused where they cannot be read."""
        ...


@dataclass(frozen=True)
class MidiExcerpt:
    """The notes of a MIDI file from ``start_s`` on, for at most ``seconds``."""

    path: Path
    start_s: float = 0.0
    seconds: float = float("inf")

    def __str__(self) -> str:
        whole = self.start_s == 0 and self.seconds == float("inf")
        return str(self.path) if whole else f"{self.path} from {self.start_s:.1f} s on"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The MIDI file."""
        return (self.path,)

    def notes(self) -> Notes:
        """The notes, their times from the excerpt's start."""
        whole = read_drum_notes(self.path)
        inside = (whole.times_s >= self.start_s) & (whole.times_s < self.start_s + self.seconds)
        return Notes(whole.times_s[inside] - self.start_s, whole.pitches[inside], whole.velocities[inside])


@dataclass(frozen=True)
class Rendering:
    """A performance on one of the kits, with accompaniment in most cases; all drawn from the seed."""

    performance: Performance
    vocabulary: str
    kits: tuple[KitRef, ...]
    split: str
    accompaniment: Path | None
    seed: int
    classes: int = 5

    @property
    def audio(self) -> tuple[Path, ...]:
        """None: it is rendered."""
        return ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files of the performance."""
        return self.performance.sources

    @property
    def materials(self) -> tuple[Path, ...]:
        """Kits and accompaniment."""
        paths = {ref.path for ref in self.kits if ref.kind != "synthetic"}
        return (*sorted(paths), *([self.accompaniment] if self.accompaniment else []))

    def annotate(self) -> Annotated:
        """What is played; Refused where nothing is."""
        return self._annotated(self._notes())

    def read(self) -> Heard | Framed:
        """The rendered samples and the onsets that can be heard in them.

        Left out are notes that the kit has no piece for, and hits that are lost under the others and the music.
        """
        notes = self._notes()
        # one stream a stage: with a shared one a kit would always come with the same room, level and equalisation
        drawing, playing, accompanying, mixing = map(int, np.random.SeedSequence(self.seed).generate_state(4))
        rng = np.random.default_rng(drawing)
        seconds = float(notes.times_s[-1]) + TAIL_S
        rendered = render_stems(notes, drawn_kit(self.kits, rng), seed=playing, seconds=seconds)
        accompaniment = None
        if rng.random() < MIXED_SHARE:
            accompaniment = load_accompaniments(self.accompaniment).excerpt(self.split, seconds, accompanying)
        samples, alone = augment_apart(rendered.samples.sum(axis=0), accompaniment, seed=mixing)
        return Heard([samples], self._annotated(notes, rendered.sounded, heard_notes(notes, rendered, alone, samples)))

    def _notes(self) -> Notes:
        notes = self.performance.notes()
        if not len(notes):
            raise Refused(f"{self.performance} has no drum note with velocity above 0: nothing to render")
        if notes.times_s[-1] > LONGEST_S:
            raise Refused(
                f"{self.performance} lasts {notes.times_s[-1]:,.0f} s; expected at most {LONGEST_S:,.0f} s: cut it, or "
                "download it again"
            )
        return notes

    def _annotated(self, notes: Notes, sounded: np.ndarray | None = None, heard: np.ndarray | None = None) -> Annotated:
        classes, unknown = to_classes(notes.pitches.tolist(), class_map(self.vocabulary, self.classes))
        known = classes >= 0
        there = known if sounded is None else known & sounded
        kept = there if heard is None else there & heard
        onsets = Onsets.of(notes.times_s[kept], classes[kept], notes.velocities[kept] / 127)
        left_out = Counter({"notes that the kit has no piece for": int((known & ~there).sum())})
        left_out["hits that are lost in the mix"] = int((there & ~kept).sum())
        return Annotated(onsets, len(notes), unknown, left_out)


@dataclass(frozen=True)
class StemRendering(Rendering):
    """A performance whose drum classes have bands of their own, row after row of ``data_prep.render.STEMS``."""

    def read(self) -> Framed:
        """Bands (T, STEMS * F) float16 of drums that nothing was done to, and targets (T, K)."""
        stems = framed_stems(self._notes(), self.kits, seed=self.seed, vocabulary=self.vocabulary, classes=self.classes)
        return Framed(*stems)
