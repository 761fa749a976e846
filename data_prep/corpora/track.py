"""What a corpus module yields, and what it may be asked for."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.onsets import Onsets


class Recording(Protocol):
    """Something that can be heard and has labels: a file with its annotation, or a performance that is rendered."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files it is made from; when one changes the track is prepared again."""
        ...

    @property
    def materials(self) -> tuple[Path, ...]:
        """Files and folders that many tracks are made with; a change there prepares the track again, too."""
        ...

    def read(self) -> tuple[np.ndarray, Onsets, Counter[str]]:
        """Samples (S,) at 44.1 kHz, onsets, and what was left out (words -> count); raises Refused."""
        ...


@dataclass(frozen=True)
class Track:
    """One track of a corpus. Tracks of one ``performance`` never stand in different splits."""

    id: str
    split: str
    performance: str
    recording: Recording
    seconds: float | None = None  # where the corpus tells it beforehand


@dataclass(frozen=True)
class PrepOptions:
    """What a user may choose about a preparation.

    kits: folders of drum kits to render with (empty: the ones in the sound font that comes with pretty_midi).
    accompaniment: folder of General MIDI files to mix under rendered drums (None: generated bass and chords).
    hours: take part of the corpus, every split in proportion. seed: of whatever is drawn. workers: processes
    (None: one a processor, on Ray).
    """

    kits: tuple[Path, ...] = ()
    accompaniment: Path | None = None
    hours: float | None = None
    seed: int = 0
    workers: int | None = None


@dataclass(frozen=True)
class CorpusSource:
    """How a corpus is read: ``tracks(source folder or None, options)``; rendered ones heed kits, music and hours."""

    name: str
    title: str
    licence: str
    classes: tuple[str, ...]
    needs_source: bool
    rendered: bool
    tracks: Callable[[Path | None, PrepOptions], Iterator[Track]]
