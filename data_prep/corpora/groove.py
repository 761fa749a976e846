"""Groove MIDI Dataset (Gillick et al., ICML 2019): human drummers, rendered.

The data set's own splits. They share drummers but no performance; kits and accompaniment are disjoint as well.
`groove_stems` has the performances for training alone, each drum class in bands of its own, for training to mix.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep import render
from data_prep.annotations.labels import number
from data_prep.corpora.rendered import MidiExcerpt, Rendering, StemRendering, seed_of
from data_prep.corpora.tables import Inside, read_rows
from data_prep.corpora.track import RENDERED, CorpusSource, PrepOptions, Track
from data_prep.kit_splits import kits_by_split
from data_prep.manifest import MOST_TRACKS, SPLITS, STEMS
from data_prep.refused import Refused

TABLE = "info.csv"
COLUMNS = ("id", "midi_filename", "duration", "split")
ADVICE = f"expected the top folder of the Groove MIDI Dataset, which holds {TABLE} as published; check --source"
# Training performances are cut, so that one long take is heard on several kits.
EXCERPT_S = 30.0
LONGEST_S = 4 * 3600.0  # many times what there is


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Whole performances, those for training in excerpts; ``options.hours`` takes a seeded part of each split alike."""
    assert source is not None
    rows = read_table(source / TABLE)
    share = 1.0 if options.hours is None else options.hours * 3600 / sum(float(row["duration"]) for row in rows)
    kits = kits_by_split(options.kits)
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        for row in part_of(of_split, share, seed_of(options.seed, split)):
            for name, excerpt, seconds in excerpts(row, source, split):
                seed = seed_of(options.seed, name)
                recording = Rendering(
                    excerpt, "roland", kits[split], split, options.accompaniment, seed, options.classes
                )
                yield Track(name, split, row["id"], recording, seconds)


def stem_tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """The training performances in excerpts; ``options.hours`` beyond what there are plays each on several kits."""
    assert source is not None
    rows = [row for row in read_table(source / TABLE) if row["split"] == "train"]
    if not rows:
        raise Refused(f"{source / TABLE} lists no training performance; {ADVICE}")
    there_s = sum(float(row["duration"]) for row in rows)
    wanted_s = there_s if options.hours is None else min(options.hours * 3600, MOST_TRACKS * there_s)
    kits = kits_by_split(options.kits)["train"]
    for take in range(math.ceil(wanted_s / there_s)):
        for row in part_of(rows, min(1.0, wanted_s / there_s - take), seed_of(options.seed, take)):
            for name, excerpt, seconds in excerpts(row, source, "train"):
                name = f"{name}-take{take}"
                recording = StemRendering(
                    excerpt, "roland", kits, "train", None, seed_of(options.seed, name), options.classes
                )
                yield Track(name, "train", row["id"], recording, seconds)


def excerpts(row: dict[str, str], source: Path, split: str) -> Iterator[tuple[str, MidiExcerpt, float]]:
    """Names, notes and seconds of what a performance is cut into: nothing but for training."""
    seconds, path = float(row["duration"]), source / row["midi_filename"]
    pieces = math.ceil(seconds / EXCERPT_S) if split == "train" else 1
    for piece in range(pieces):
        length_s = seconds / pieces if pieces > 1 else math.inf
        name = row["id"] if pieces == 1 else f"{row['id']}+{piece}"
        yield name, MidiExcerpt(path, piece * seconds / pieces, length_s), seconds / pieces


def part_of(rows: list[dict[str, str]], share: float, seed: int) -> list[dict[str, str]]:
    """Performances drawn until they last ``share`` of all together, at least one."""
    wanted_s = share * sum(float(row["duration"]) for row in rows)
    taken: list[dict[str, str]] = []
    taken_s = 0.0
    for index in np.random.default_rng(seed).permutation(len(rows)):
        if taken_s >= wanted_s and taken:
            break
        taken.append(rows[index])
        taken_s += float(rows[index]["duration"])
    return taken


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of info.csv; Refused where it is missing, lacks a column, or holds a value that makes no sense."""
    inside = Inside(path.parent)
    rows = []
    for line, row in read_rows(path, COLUMNS, ADVICE):
        fits = row["split"] in SPLITS and 0 < number(row["duration"]) <= LONGEST_S and inside(row["midi_filename"])
        if not fits:
            raise Refused(
                f"{path} line {line} does not describe a performance; expected {', '.join(COLUMNS)} with a split of "
                f"{', '.join(SPLITS)}: restore the file from the data set"
            )
        rows.append(row)
    return rows


SOURCE = CorpusSource("groove", "Groove MIDI Dataset, rendered", licence="CC BY 4.0", tracks=tracks, heeds=RENDERED)
STEMS_SOURCE = CorpusSource(
    "groove_stems",
    "Groove MIDI Dataset, training performances rendered, drum classes apart",
    licence="CC BY 4.0",
    tracks=stem_tracks,
    heeds=("kits", "hours"),
    whole_tracks=False,
    condition=STEMS,
    stems=len(render.STEMS),
)
