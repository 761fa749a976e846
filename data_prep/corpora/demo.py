"""Grooves that the project generates itself, rendered: everything can be tried without a data set.

`demo` holds all styles but a few; `demo_unseen` holds those few, as one test split, to evaluate on what no model saw.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep import render
from data_prep.corpora.rendered import Rendering, StemRendering, seed_of
from data_prep.corpora.track import RENDERED, CorpusSource, PrepOptions, Track
from data_prep.grooves import STYLES, generate_groove
from data_prep.kit_splits import kits_by_split
from data_prep.manifest import STEMS
from data_prep.midi import Notes

UNSEEN_STYLES = ("samba", "metal", "ballad")
SEEN_STYLES = tuple(style for style in STYLES if style not in UNSEEN_STYLES)
BARS = 8
HOURS = 0.4  # unless --hours says otherwise
SPLIT_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
GROOVE_S = 18.0  # about what eight bars last
MOST_GROOVES = 10**9  # the job refuses far fewer; --hours 1e308 is no whole number of them


@dataclass(frozen=True)
class GeneratedGroove:
    """A groove of a style, as the seed has it played."""

    style: str
    seed: int
    bars: int = BARS

    @property
    def sources(self) -> tuple[Path, ...]:
        """None: it is generated."""
        return ()

    def notes(self) -> Notes:
        """The notes of the performance."""
        return generate_groove(self.style, seed=self.seed, bars=self.bars)


def _generated(
    styles: tuple[str, ...], split: str, seconds: float, options: PrepOptions, rendered: type[Rendering] = Rendering
) -> Iterator[Track]:
    """Grooves of the styles in turn, until they last about so long."""
    kits = kits_by_split(options.kits)[split]
    for number in range(max(len(styles), round(min(seconds / GROOVE_S, MOST_GROOVES)))):
        style = styles[number % len(styles)]
        name = f"{split}-{number:04d}-{style}"
        seed = seed_of(options.seed, name)
        groove = GeneratedGroove(style, seed)
        recording = rendered(groove, "general_midi", kits, split, options.accompaniment, seed, options.classes)
        yield Track(name, split, name, recording, GROOVE_S)


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """The grooves of `demo`; a source folder is not needed."""
    for split, share in SPLIT_SHARES.items():
        yield from _generated(SEEN_STYLES, split, share * 3600 * (options.hours or HOURS), options)


def unseen_tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """The grooves of `demo_unseen`; a source folder is not needed."""
    seconds = 3600 * (options.hours or SPLIT_SHARES["test"] * HOURS)
    yield from _generated(UNSEEN_STYLES, "test", seconds, options)


def stem_tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Grooves for training with the drum classes apart; a source folder is not needed."""
    yield from _generated(SEEN_STYLES, "train", 3600 * (options.hours or HOURS), options, StemRendering)


SOURCE = CorpusSource(
    "demo", "generated grooves, rendered", licence="MIT", tracks=tracks, needs_source=False, heeds=RENDERED
)
UNSEEN = CorpusSource(
    "demo_unseen",
    "generated grooves in styles that demo lacks, rendered",
    licence="MIT",
    tracks=unseen_tracks,
    needs_source=False,
    heeds=RENDERED,
)
STEMS_SOURCE = CorpusSource(
    "demo_stems",
    "generated grooves for training, rendered, drum classes apart",
    licence="MIT",
    tracks=stem_tracks,
    needs_source=False,
    heeds=("kits", "hours"),
    whole_tracks=False,
    condition=STEMS,
    stems=len(render.STEMS),
)
