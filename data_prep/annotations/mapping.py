"""A user's own folder: which class each label means, and which annotation belongs to which audio file."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.annotations.labels import MAX_TEXT_BYTES, is_label
from data_prep.annotations.text import text_lines
from data_prep.bounded import read_bounded
from data_prep.refused import Refused

MAX_LABELS = 2_000  # every recording is described with them
LEFT_OUT = ("", "-")
HEADER = ("label", "class")
EXPECTED_LINES = "expected lines of `label,class`, as in `KD,kick`, with `-` for labels to leave out"
EXPECTED_OBJECT = 'expected a JSON object such as {"KD": "kick", "TB": null}'
# of several files with one name the first kind is taken
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
ANNOTATION_SUFFIXES = (".mid", ".midi", ".txt", ".csv", ".jams", ".musicxml", ".xml", ".mxl")


def read_mapping(path: Path, allowed: Sequence[str]) -> dict[str, str | None]:
    """Label -> class name, None for labels to leave out, in the order of the file.

    `.csv` and `.txt` have `label,class` lines (or a semicolon, a tab, a blank between) with or without that header,
    blank lines and `#` lines skipped; a class of `-` or nothing leaves the label out. `.json` is an object of labels
    and class names or null. Raises Refused where the file is missing, too large or long, empty or broken, a class is
    not one of ``allowed``, or a label comes twice with different classes.
    """
    if path.suffix.lower() == ".json":
        entries: Iterable[tuple[str, str, str | None]] = _json_entries(path)
    elif path.suffix.lower() in (".csv", ".txt"):
        entries = _line_entries(path)
    else:
        raise Refused(f"{path} is no mapping that can be read; expected .csv, .txt or .json: rename or convert it")
    mapping: dict[str, str | None] = {}
    for place, label, name in entries:
        class_name = None if name is None or name in LEFT_OUT else name
        if not is_label(label):
            raise Refused(f"{path} {place} has the label {label[:40]!r}; expected printable characters: correct it")
        if class_name is not None and class_name not in allowed:
            raise Refused(
                f"{path} {place} has the class {class_name[:40]!r}; expected one of {', '.join(allowed)}, or - to "
                "leave the label out: correct it"
            )
        if mapping.setdefault(label, class_name) != class_name:
            raise Refused(
                f"{path} {place} has {label!r} again, as {class_name or '-'} after {mapping[label] or '-'}; expected "
                "one class a label: remove one"
            )
        if len(mapping) > MAX_LABELS:
            raise Refused(f"{path} maps more than {MAX_LABELS:,} labels; {EXPECTED_LINES}: leave out what is not used")
    if not mapping:
        raise Refused(f"{path} is empty; {EXPECTED_LINES}: add some")
    return mapping


def _line_entries(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Place, label and class of each line."""
    first = True
    for line_number, line in text_lines(path, EXPECTED_LINES, "mapping"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        mark = next((mark for mark in "\t;," if mark in line), None)
        try:
            cells = next(csv.reader([line], delimiter=mark, strict=True)) if mark else line.split()
        except csv.Error:
            cells = []
        cells = [cell.strip() for cell in cells]
        if len(cells) != 2:
            raise Refused(f"{path} line {line_number} is {line.strip()[:60]!r}; {EXPECTED_LINES}: correct the line")
        if not first or tuple(cell.lower() for cell in cells) != HEADER:
            yield f"line {line_number}", cells[0], cells[1]
        first = False


def _json_entries(path: Path) -> list[tuple[str, str, str | None]]:
    """Place, label and class of each member of the object, doubled ones too."""
    content = read_bounded(path, MAX_TEXT_BYTES, "mapping", f"{EXPECTED_OBJECT}: restore it")
    try:
        members = json.loads(content, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is no JSON ({str(error)[:100]}); {EXPECTED_OBJECT}: correct it") from error
    # objects have become tuples, lists have not
    if not isinstance(members, tuple) or not all(name is None or isinstance(name, str) for _, name in members):
        raise Refused(f"{path} is no object of labels and class names; {EXPECTED_OBJECT}: correct it")
    return [(f"member {number}", label.strip(), name) for number, (label, name) in enumerate(members, start=1)]


@dataclass(frozen=True)
class Pairs:
    """The files of a folder and its sub folders, one folder after the other, by name.

    paired: audio files with their annotations; lonely_audio, lonely_annotations: files without a counterpart;
    passed_over: files of the same name as a paired one, but of a kind that comes later in the order of preference.
    """

    paired: list[tuple[Path, Path]] = field(default_factory=list)
    lonely_audio: list[Path] = field(default_factory=list)
    lonely_annotations: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)


def pair_files(source: Path) -> Pairs:
    """Audio files in a folder and its sub folders, with the annotations of the same name beside them.

    `a/song.wav` belongs with `a/song.mid`; suffixes count in small and capital letters. Of several audio files or
    annotations of one name the first kind in ``AUDIO_SUFFIXES`` or ``ANNOTATION_SUFFIXES`` is taken and the others are
    named in ``passed_over``: a song is heard once, and notes beside text are the surer annotation. Hidden files and
    folders are skipped; a folder that several links lead to is read once.

    Raises Refused where the folder or one in it cannot be read, or a file's name is not UTF-8.
    """
    if not source.is_dir():
        raise Refused(f"no folder at {source}; expected one with audio files and annotations: check the path")
    pairs = Pairs()
    try:
        folders = list(_folders(source))
    except RecursionError as error:  # os.walk
        raise Refused(f"{source} holds folders that are nested too deep; move what is music further up") from error
    for folder, names in folders:
        by_stem: dict[str, tuple[list[Path], list[Path]]] = {}
        for name in names:
            path = folder / name
            for kind, suffixes in enumerate((AUDIO_SUFFIXES, ANNOTATION_SUFFIXES)):
                if path.suffix.lower() in suffixes and path.is_file():
                    by_stem.setdefault(path.stem, ([], []))[kind].append(path)
        for _, (audio, annotations) in sorted(by_stem.items()):
            audio.sort(key=lambda path: AUDIO_SUFFIXES.index(path.suffix.lower()))
            annotations.sort(key=lambda path: ANNOTATION_SUFFIXES.index(path.suffix.lower()))
            if audio and annotations:
                pairs.paired.append((audio[0], annotations[0]))
                pairs.passed_over.extend([*audio[1:], *annotations[1:]])
            else:
                pairs.lonely_audio.extend(audio)
                pairs.lonely_annotations.extend(annotations)
    return pairs


def _folders(source: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders, each real one once, and the names in them that are not hidden; in the order of their paths."""

    def refuse(error: OSError) -> None:
        raise Refused(f"{error.filename} cannot be read ({error.strerror}); allow it or move it away") from error

    seen: set[tuple[int, int]] = set()
    for folder, inside, names in os.walk(source, followlinks=True, onerror=refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            inside.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        for path in (folder, *(os.path.join(folder, name) for name in shown)):
            if path.encode(errors="surrogateescape").decode(errors="replace") != path:
                raise Refused(f"{path!a} has a name that is not UTF-8; rename it")
        yield Path(folder), shown
