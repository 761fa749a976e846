"""What a corpus module yields, and what it may be asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.manifest import CLEAN
from data_prep.onsets import Onsets
from data_prep.refused import Refused


@dataclass(frozen=True)
class Annotated:
    """What the labels of a track say.

    onsets: those of the vocabulary. labels: how many were read. unknown: labels that the class map does not know, with
    counts. left_out: what else was left out (words -> count).
    """

    onsets: Onsets
    labels: int
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class UnknownLabels(Refused):
    """A track is left out for its labels; they count among those of the corpus all the same."""

    def __init__(self, sentence: str, labels: int, unknown: Counter[str]) -> None:
        super().__init__(sentence)
        self.labels, self.unknown = labels, unknown


@dataclass(frozen=True)
class Heard:
    """A track's labels and its audio: consecutive blocks of samples (S,) float32 at 44.1 kHz, drawn once."""

    blocks: Iterable[np.ndarray]
    annotated: Annotated


@dataclass(frozen=True)
class Framed:
    """A track that is published as features alone: bands (T, F) float16 and targets (T, K) uint8 halves."""

    bands: np.ndarray
    targets: np.ndarray


class Recording(Protocol):
    """Something that can be heard and has labels: files with their annotation, or a performance that is rendered."""

    @property
    def audio(self) -> tuple[Path, ...]:
        """The audio files among ``sources``: none where audio is rendered, or was not published."""
        ...

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files it is made from; when one changes the track is prepared again."""
        ...

    @property
    def materials(self) -> tuple[Path, ...]:
        """Files and folders that many tracks are made with; a change there prepares the track again, too."""
        ...

    def annotate(self) -> Annotated:
        """The labels without the audio; raises Refused."""
        ...

    def read(self) -> Heard | Framed:
        """Audio and labels, or features; raises Refused, also while blocks are drawn."""
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

    classes: 3, 5 or 8 drum classes. name: of the prepared corpus (None: the corpus's own, with -3 or -8 for other than
    5 classes). seed: of whatever is drawn. workers: processes (None: one a processor, on Ray). unknown_labels: the
    share of the corpus's labels that the class map may not know.

    Of some corpora only: kits: folders of drum kits to render with (empty: the ones that come with mirtune).
    accompaniment: folder of General MIDI files to mix under rendered drums (None: generated bass and chords). hours:
    take part of the corpus, every split in proportion. accompaniment_gain_db: of the accompaniment that is added to
    recorded drums. kit_maps: correct the pitches of kits that do not follow General MIDI. mapping: file that maps the
    user's labels to classes. splits: table that says which file belongs to which split.
    """

    classes: int = 5
    name: str | None = None
    seed: int = 0
    workers: int | None = None
    unknown_labels: float = 0.01
    kits: tuple[Path, ...] = ()
    accompaniment: Path | None = None
    hours: float | None = None
    accompaniment_gain_db: float = 0.0
    kit_maps: bool = True
    mapping: Path | None = None
    splits: Path | None = None


RENDERED = ("kits", "accompaniment", "hours")  # what all corpora heed that are rendered


@dataclass(frozen=True)
class CorpusSource:
    """How a corpus is read: ``tracks(source folder or None, options)``.

    heeds: the options, of those that some corpora only have, that mean something to it. vocabularies: the numbers of
    classes it can have. whole_tracks: False where it is published in windows, so that only segments can be scored.
    published: tracks of each split in the corpus as published, where that is known, so that a copy can lack some.
    condition: what is heard: "clean" (as recorded or rendered), or what training mixes anew each time it is read:
    "stems" (each drum class in bands of its own, ``stems`` times as many) and "music" (what goes around the drums).
    """

    name: str
    title: str
    licence: str
    tracks: Callable[[Path | None, PrepOptions], Iterator[Track]]
    needs_source: bool = True
    heeds: tuple[str, ...] = ()
    vocabularies: tuple[int, ...] = (3, 5, 8)
    whole_tracks: bool = True
    published: Mapping[str, int] = field(default_factory=dict)
    condition: str = CLEAN
    stems: int = 1
