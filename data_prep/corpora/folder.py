"""A folder of the user's own: audio files, each with an annotation of the same name beside it.

Labels mean what the mapping says, and only what it lists is known. Without one they are General MIDI pitches where they
are digits, else names of classes or any label that the built-in class maps agree on.

A table may give each recording its split. Without one it is drawn from the recording's name and the seed: about 70, 15
and 15 % of the songs, and those drawn once stay when others are added. Takes of a song stay together: names that are
the same, folders included, without an ending like `_take2`, ` v2`, `-mix`, ` copy` or ` (2)`. Three songs and more have
at least one in each split (the one that was drawn closest to it, until another is drawn); fewer are all for testing.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_prep.annotations.mapping import ANNOTATION_SUFFIXES, AUDIO_SUFFIXES, Pairs, pair_files, read_mapping
from data_prep.classes import VOCABULARIES, WORDS
from data_prep.corpora.annotated import AnnotatedAudio, Annotation, Unusable
from data_prep.corpora.tables import read_rows
from data_prep.corpora.track import CorpusSource, PrepOptions, Recording, Track
from data_prep.manifest import SPLITS
from data_prep.refused import Refused

TRAIN_BELOW, VALIDATION_BELOW = 0.7, 0.85
TAKE = re.compile(
    r"[ _/-]+((take|version|mix|copy)[ _-]*\d*|v\d+)$|[ _-]*\(((take|version|mix|copy)[ _-]*)?\d*\)$", re.IGNORECASE
)
LONGEST_ENDING = 40
ABOUT = ("readme", "license", "licence", "copying", "changelog")  # texts that annotate nothing
COLUMNS = ("file", "split")
ADVICE = "expected a table like `file,split` and `songs/one.wav,train`: correct it"
SHOWN_NAMES = 3
PASSED_OVER = "files passed over for another of the same name"


def tracks(source: Path | None, options: PrepOptions) -> Iterator[Track]:
    """Pairs of audio and annotation; files without a counterpart are listed as unusable."""
    assert source is not None
    recordings = _recordings(source, pair_files(source), options)
    if not recordings:
        raise Refused(
            f"{source} holds neither audio ({', '.join(AUDIO_SUFFIXES)}) nor annotations "
            f"({', '.join(ANNOTATION_SUFFIXES)}); expected both, of the same name beside each other"
        )
    usable = [name for name, recording in recordings.items() if isinstance(recording, AnnotatedAudio)]
    drawn = draw_splits({song_of(name) for name in usable}, options.seed)
    lonely = draw_splits({song_of(name) for name in recordings}, options.seed)
    split_of = {name: drawn.get(song_of(name)) or lonely[song_of(name)] for name in recordings}
    if options.splits is not None:
        listed = read_splits(options.splits, set(recordings))
        if unlisted := [name for name in usable if name not in listed]:
            shown = ", ".join(unlisted[:SHOWN_NAMES])
            raise Refused(
                f"{options.splits} does not list {len(unlisted)} of the {len(usable)} recordings in {source}: {shown}; "
                "expected the split of each: add them, or move them elsewhere"
            )
        split_of |= listed
    for name, split in split_of.items():
        missing = Unusable(f"{options.splits} lists {name!r}, but there is no such recording in {source}")
        song = name if options.splits else song_of(name)  # whoever writes a table may part the takes of a song
        yield Track(name, split, song, recordings.get(name, missing))


def _recordings(source: Path, pairs: Pairs, options: PrepOptions) -> dict[str, Recording]:
    """Names, as paths within the folder without suffix, and what is there."""
    vocabulary, mapping = WORDS, None
    if options.mapping is not None:
        vocabulary = str(options.mapping)
        mapping = tuple(read_mapping(options.mapping, VOCABULARIES[options.classes]).items())
    found: dict[str, Recording] = {}
    passed_over = Counter(_name(source, path) for path in pairs.passed_over)
    for audio, annotation in pairs.paired:
        annotations = (Annotation(annotation, vocabulary, mapping=mapping),)
        remarks = (PASSED_OVER,) * passed_over[_name(source, audio)]
        found[_name(source, audio)] = AnnotatedAudio((audio,), annotations, options.classes, remarks=remarks)
    for path in pairs.lonely_audio:
        wanted = ", ".join(ANNOTATION_SUFFIXES)
        reason = f"{path} has no annotation beside it; expected {path.stem} with one of {wanted}: add it"
        found.setdefault(_name(source, path), Unusable(reason, (path,)))
    for path in pairs.lonely_annotations:
        if path not in (options.mapping, options.splits) and not path.stem.lower().startswith(ABOUT):
            wanted = ", ".join(AUDIO_SUFFIXES)
            reason = f"{path} has no audio beside it; expected {path.stem} with one of {wanted}: add it"
            found.setdefault(_name(source, path), Unusable(reason, (path,)))
    return dict(sorted(found.items()))


def _name(source: Path, path: Path) -> str:
    return path.relative_to(source).with_name(path.stem).as_posix()


def song_of(name: str) -> str:
    """The name without what tells takes apart, however it is written."""
    song = unicodedata.normalize("NFC", name).casefold()
    while True:
        before, ending = song[:-LONGEST_ENDING], song[-LONGEST_ENDING:]  # a long row of dashes takes for ever
        shorter = before + TAKE.sub("", ending)
        if shorter in ("", song):
            return song
        song = shorter


def draw_splits(songs: Iterable[str], seed: int) -> dict[str, str]:
    """Song -> split, from its name and the seed alone as far as every split has a song."""
    place = {song: _fraction(f"{seed}\n{song}") for song in songs}
    split_of = {
        song: "train" if of < TRAIN_BELOW else "validation" if of < VALIDATION_BELOW else "test"
        for song, of in place.items()
    }
    ordered = sorted(place, key=lambda song: place[song])
    if len(ordered) < len(SPLITS):
        return dict.fromkeys(ordered, "test")
    if "test" not in split_of.values():
        split_of[ordered[-1]] = "test"
    if "train" not in split_of.values():
        split_of[ordered[0]] = "train"
    if "validation" not in split_of.values():
        train = [song for song in ordered if split_of[song] == "train"]
        split_of[train[-1] if len(train) > 1 else ordered[1]] = "validation"
    return split_of


def _fraction(words: str) -> float:
    """A number in 0..1 that the same words always give."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:6]) / 2**48


def read_splits(path: Path, names: set[str]) -> dict[str, str]:
    """Name -> split as the table says, for files with or without their suffix; Refused where it makes no sense."""
    split_of: dict[str, str] = {}
    for line, row in read_rows(path, COLUMNS, ADVICE):
        name = row["file"].replace("\\", "/").removeprefix("./")
        stem, dot, suffix = name.rpartition(".")
        if name not in names and f".{suffix.lower()}" in (*AUDIO_SUFFIXES, *ANNOTATION_SUFFIXES) and dot:
            name = stem
        if row["split"] not in SPLITS:
            raise Refused(f"{path} line {line} has the split {row['split']!r}, none of {', '.join(SPLITS)}; {ADVICE}")
        if split_of.setdefault(name, row["split"]) != row["split"]:
            raise Refused(
                f"{path} line {line} puts {name!r} in {row['split']}, and one before in {split_of[name]}; {ADVICE}"
            )
    return split_of


SOURCE = CorpusSource("folder", "your own recordings", licence="your own", tracks=tracks, heeds=("mapping", "splits"))
