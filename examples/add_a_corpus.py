"""Add a corpus: one function that yields tracks, and a record about it. Everything else exists once, elsewhere.

    python examples/add_a_corpus.py

The corpus here is made up: `tunes/NAME.wav`, and one table `onsets.csv` of all tunes with the columns tune, time, drum.
In mirtune itself such a module lies in data_prep/corpora/ and its record is one line in data_prep/corpora/__init__.py;
that is what `mirtune prep NAME` reads. docs/adding-a-corpus.md says what else belongs to it.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from songs import CLASSES, make_songs

from data_prep.audio import read_blocks
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.corpora.track import Annotated, Heard
from data_prep.job import prepare
from data_prep.onsets import Onsets
from data_prep.refused import Refused
from data_prep.shards import Corpus

OUT = Path("results/examples/add_a_corpus")
DRUMS = {"BD": 0, "SN": 1, "TM": 2, "HH": 3, "CY": 4}  # the table's words, as indices into the five classes


@dataclass(frozen=True)
class Tune:
    """One tune: where its audio is, and its rows of the table."""

    path: Path
    table: Path
    rows: tuple[tuple[float, str], ...]

    @property
    def audio(self) -> tuple[Path, ...]:
        """What is heard."""
        return (self.path,)

    @property
    def sources(self) -> tuple[Path, ...]:
        """When one of these changes, the tune is prepared again."""
        return (self.path, self.table)

    @property
    def materials(self) -> tuple[Path, ...]:
        """None: what many tracks are made with, where audio is rendered."""
        return ()

    def annotate(self) -> Annotated:
        """The labels, without opening the audio."""
        known = [(time_s, DRUMS[drum]) for time_s, drum in self.rows if drum in DRUMS]
        unknown = Counter(drum for _, drum in self.rows if drum not in DRUMS)  # told, and refused where there are many
        times_s, classes = zip(*known, strict=True) if known else ((), ())
        return Annotated(Onsets.of(times_s, classes), labels=len(self.rows), unknown=unknown)

    def read(self) -> Heard:
        """The labels and the audio, block by block."""
        return Heard(read_blocks(self.path), self.annotate())  # any format, any rate: 44.1 kHz mono comes out


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """The tunes in the table: the last two to test on, the two before them for validation, the rest for training."""
    assert source is not None
    table = source / "onsets.csv"
    if not table.is_file():
        raise Refused(f"{source} has no onsets.csv; give the folder that holds it and tunes/")
    rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["tune"]].append((float(row["time"]), row["drum"]))
    names = sorted(rows)
    for number, name in enumerate(names):
        from_end = len(names) - number
        split = "test" if from_end <= 2 else "validation" if from_end <= 4 else "train"
        # The third word is the performance: recordings of one never stand in two splits.
        yield Track(name, split, name, Tune(source / "tunes" / f"{name}.wav", table, tuple(rows[name])))


TUNES = CorpusSource("tunes", "tunes with one table of onsets", licence="MIT", tracks=tracks, vocabularies=(5,))


def write_corpus(source: Path) -> None:
    """The made-up corpus, as somebody would have published it."""
    words = {index: drum for drum, index in DRUMS.items()}
    songs: Iterable[tuple[Path, Onsets]] = make_songs(source / "tunes", 6, seconds=8).items()
    with (source / "onsets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("tune", "time", "drum"))
        for song, onsets in songs:
            for time_s, index in zip(onsets.times_s, onsets.classes, strict=True):
                writer.writerow((song.stem, f"{time_s:.3f}", words[int(index)]))


def main() -> None:
    """Write the corpus, prepare it, look at what was made."""
    source, shards = OUT / "source", OUT / "shards"
    write_corpus(source)
    CORPORA[TUNES.name] = TUNES  # for this process; in the package it is a line of the table

    # One worker is this process. Several are Ray's, which do not know what was only added here.
    manifest = prepare("tunes", source=source, shards=shards, options=PrepOptions(workers=1))
    for name, split in manifest.splits.items():
        print(f"{name:10} {split.tracks} tracks, {split.windows} windows, onsets {dict(split.onsets)}")
    for label, count in manifest.unknown_labels.items():
        print(f"unknown label {label!r}: {count} times")

    corpus = Corpus.open(shards / "tunes")
    row = next(corpus.rows("train").itertuples())
    bands, targets = corpus.frames(row)
    print(f"{row.id}: bands {bands.shape} {bands.dtype}, targets {targets.shape} {targets.dtype}")
    first = targets.argmax(axis=0) / manifest.frames_per_s
    print(
        "first onset of each class:", ", ".join(f"{name} {at:.2f} s" for name, at in zip(CLASSES, first, strict=True))
    )


if __name__ == "__main__":
    main()
