"""The recordings that files, folders and patterns stand for, and where what is made of each belongs."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from data_prep.refused import Refused

ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".w64", ".rf64", ".caf")
MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Recording:
    """An audio file, and what it is called below the output folder: a path, without an ending where that is enough."""

    audio: Path
    place: Path

    @property
    def name(self) -> str:
        """What people call it: its place and ending."""
        return str(self.place.parent / self.audio.name)

    def output(self, out: Path, ending: str) -> Path:
        """The file in ``out`` that ends so; what the audio's name has of dots stays."""
        return out / self.place.parent / f"{self.place.name}{ending}"

    def is_done(self, outputs: Sequence[Path]) -> bool:
        """Whether all outputs are there, none of them older than the audio."""
        try:
            changed = self.audio.stat().st_mtime
            return all(path.stat().st_mtime >= changed for path in outputs)
        except OSError:
            return False


def find_recordings(inputs: Sequence[str]) -> list[Recording]:
    """Recordings of some inputs, each once, in the order of the inputs and by name within a folder or pattern.

    A file is taken as it is. Of a folder come all files, however deep, that have the ending of a sound file in any
    case; of a pattern (``*``, ``?``, ``[...]``, and ``**`` for folders however deep) those that it matches, and those
    in folders that it matches. They keep their places below the folder, or below the part of the pattern before its
    first wildcard; those that only their endings tell apart keep these, too. Hidden files and folders are left out.
    Refused where a folder or pattern has none, where a pattern goes up again, and where two recordings have one place.
    """
    found: list[Recording] = []
    seen = set()
    for text in inputs:
        of_input = list(_recordings(text))
        if not of_input:
            if os.path.isdir(text):
                expected = "files ending in " + ", ".join(ENDINGS)
                raise Refused(f"the folder {text} holds no recording, nor do its folders; expected {expected}")
            raise Refused(f"no recording matches {text!r}; check the pattern, and that it is in quotes")
        for recording in of_input:
            key = os.path.realpath(recording.audio), recording.place
            if key in seen:
                continue
            seen.add(key)
            found.append(recording)
    return _told_apart(found)


def _told_apart(found: list[Recording]) -> list[Recording]:
    """The recordings, each at a place of its own: with its ending where others are called so without theirs."""
    while True:
        places = Counter(recording.place for recording in found)
        shared = [recording for recording in found if places[recording.place] > 1]
        if not shared:
            return found
        longer = {id(of): of.place.with_name(of.audio.name) for of in shared}
        if all(of.place == longer[id(of)] for of in shared):
            one, other = [of for of in shared if of.place == shared[0].place][:2]
            raise Refused(
                f"two inputs are named {str(one.place)!r}, {one.audio} and {other.audio}, and would be written to one "
                "file; transcribe them into two folders"
            )
        found = [replace(of, place=longer.get(id(of), of.place)) for of in found]


def _recordings(text: str) -> Iterator[Recording]:
    if os.path.isdir(text):
        yield from _in_folder(Path(text), Path(text))
    elif os.path.lexists(text) or not MAGIC.search(text):
        yield Recording(Path(text), Path(Path(text).stem))
    else:
        root, wild = _parted(Path(text).expanduser())
        if os.pardir in Path(wild).parts:
            raise Refused(f"the pattern {text!r} goes up (..) after a wildcard; write where it leads to before that")
        for match in sorted(map(Path, glob.iglob(os.path.join(glob.escape(str(root)), wild), recursive=True))):
            if match.is_dir():
                yield from _in_folder(match, root)
            elif _is_recording(match):
                yield Recording(match, match.relative_to(root).with_name(match.stem))


def _parted(pattern: Path) -> tuple[Path, str]:
    """A pattern as the folder that it begins with, whose name may have brackets, and the rest."""
    root = Path()
    for number, part in enumerate(pattern.parts):
        if MAGIC.search(part) and not (root / part).is_dir():
            return root, os.path.join(*pattern.parts[number:])
        root /= part
    return root, ""


def _in_folder(folder: Path, root: Path) -> Iterator[Recording]:
    for at, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(at, name) for name in sorted(files)):
            if _is_recording(path):
                yield Recording(path, path.relative_to(root).with_name(path.stem))


def _is_recording(path: Path) -> bool:
    """Whether a file in a folder is sound; macOS leaves hidden ones beside each, of other content."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _raise(error: OSError) -> NoReturn:
    raise error
