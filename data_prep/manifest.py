"""The manifest: what a prepared corpus is, small, and written last, so a folder with a manifest is whole."""

import hashlib
import json
import math
import re
import shlex
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from data_prep.files import write_json
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused

SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"
CLEAN, STEMS, MUSIC = CONDITIONS = ("clean", "stems", "music")  # see data_prep.corpora.track.CorpusSource
TO_MIX = "there for training to mix: nothing in it can be scored"  # what is said of stems and music
FORMAT = 3  # of manifest and tables
BLOCK_VALUES = 1 << 16
MAX_MANIFEST_BYTES = 256 * 2**20  # every track of a large corpus refused at length
MOST_TRACKS = 500_000  # ADTOF-YT's windows are 181,966
MOST_BANDS, MOST_CLASSES, MOST_COUNTED = 1 << 16, 1 << 10, 1 << 42  # no product or sum of them overflows
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of a prepared corpus: it names files
WINDOW_FRAMES = 4 * FRAMES_PER_S  # what a model sees in training


def window_count(frames: Any) -> Any:
    """Windows that cover a track of so many frames (a number or an array) when its end is padded to a whole one."""
    return -(-frames // WINDOW_FRAMES)


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of feature values; moments of a union are the sums of its parts' moments."""

    count: int = 0
    sum: float = 0.0
    sum_of_squares: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Moments of the values as stored (float16), added up in float64."""
        flat, total = values.reshape(-1), cls()
        for first in range(0, flat.size, BLOCK_VALUES):
            block = flat[first : first + BLOCK_VALUES].astype(np.float64)
            # not block @ block: its last bits hang on the number of threads
            total += cls(block.size, float(block.sum()), float(np.square(block).sum()))
        return total

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.sum + other.sum, self.sum_of_squares + other.sum_of_squares)

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.sum / max(self.count, 1)

    @property
    def deviation(self) -> float:
        """Standard deviation of the values; 1 where they do not vary, so that dividing by it is harmless."""
        return max(self.sum_of_squares / max(self.count, 1) - self.mean**2, 0.0) ** 0.5 or 1.0


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds: tracks, frames, windows, seconds, moments of its values, onsets per class."""

    tracks: int
    frames: int
    windows: int  # of 400 frames, the end of each track padded
    seconds: float
    moments: Moments
    onsets: dict[str, int]

    def check(self, name: str, classes: tuple[str, ...]) -> None:
        """Raises ValueError where the numbers of the split of that name cannot be, or do not fit the classes."""
        if set(self.onsets) != set(classes):
            raise ValueError(f"the {name} split has onsets of {', '.join(sorted(self.onsets))[:100]}")
        numbers = (self.tracks, self.frames, self.windows, self.seconds, self.moments.count, *self.onsets.values())
        if min(numbers) < 0 or max(numbers) > MOST_COUNTED or (self.tracks > 0) != (self.seconds > 0):
            raise ValueError(f"the {name} split has {self.tracks} tracks of {self.seconds:g} s")


@dataclass(frozen=True)
class Manifest:
    """What a prepared corpus is: small, and written last, so a folder with a manifest is whole."""

    corpus: str
    adapter: str  # the corpus module that yielded the tracks
    title: str
    licence: str
    classes: tuple[str, ...]
    features: str
    bands: int
    frames_per_s: int
    condition: str
    targets: str  # what the targets are; "onsets" for now, other tasks will bring others
    whole_tracks: bool  # False where a track is a window cut from music that was not published
    options: dict[str, Any]
    splits: dict[str, SplitSummary]
    files: dict[str, str]  # name -> BLAKE3
    source: str = ""  # the folder it was read from
    command: str = "mirtune prep"  # that prepared it, without --shards
    refused: tuple[dict[str, str], ...] = ()  # tracks that could not be used, and why
    notes: dict[str, int] = field(default_factory=dict)  # what was left out of used tracks, with counts
    labels: int = 0  # read in all tracks but those that are refused for something else than their labels
    unknown_labels: dict[str, int] = field(default_factory=dict)  # those that the class map does not know
    versions: dict[str, str] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)  # of the workers: how long it took, audio a second
    format: int = FORMAT

    @property
    def checksum(self) -> str:
        """SHA-256 of everything but how long it took and where it lay: the same for the same data and code."""
        content = {key: value for key, value in asdict(self).items() if key not in ("timing", "source", "command")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def command_into(self, folder: Path) -> str:
        """What a user types to have ``folder``, the corpus's, prepared so."""
        return f"{self.command} --shards {folder.parent}"

    def again(self, folder: Path) -> str:
        """What to do where a file in ``folder`` is damaged."""
        return f"run `{self.command_into(folder)}` again: it redoes what is damaged"

    def save(self, folder: Path) -> None:
        """Write manifest.json, atomically."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read manifest.json; Refused where it is missing or damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise Refused(
                f"corpus {folder.name!r} is not prepared: there is no {path}; run `mirtune prep {folder.name} --shards "
                f"{folder.parent}` first"
            )
        damaged = f"{path} is damaged ({{}}); run `mirtune prep` for {folder.name} again"
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise Refused(damaged.format(f"{path.stat().st_size:,} bytes, more than {MAX_MANIFEST_BYTES:,}"))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise Refused(damaged.format(error)) from error
        version = content.get("format", 1) if isinstance(content, dict) else "of another kind"
        if version != FORMAT:
            raise Refused(
                f"{path} has format {str(version)[:20]}, this version of mirtune reads {FORMAT}; run "
                f"`mirtune prep` for {folder.name} again"
            )
        try:
            manifest: Manifest = _fitted(content, cls, "manifest")
            manifest.check()
        except ValueError as error:
            raise Refused(damaged.format(error)) from error
        return manifest

    def check(self) -> None:
        """Raises ValueError where a value cannot be: whoever made the folder may be a stranger.

        The corpus's name becomes part of file names, titles and classes are printed, the command is one that people
        are told to type, and arrays are as large as the counts say.
        """
        if not NAME.fullmatch(self.corpus):
            raise ValueError(f"its corpus is named {self.corpus[:100]!r}")
        if not 0 < self.bands <= MOST_BANDS or not 0 < len(self.classes) <= MOST_CLASSES:
            raise ValueError(f"it has {self.bands} bands and {len(self.classes)} classes")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("it has a class twice")
        if unprintable := [text for text in (self.title, self.licence, *self.classes) if not text.isprintable()]:
            raise ValueError(f"it has {unprintable[0][:100]!r}, which cannot be printed")
        if not self.command.startswith("mirtune prep") or shlex.join(shlex.split(self.command)) != self.command:
            raise ValueError(f"its command is {self.command[:100]!r}")
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"its splits are {', '.join(sorted(self.splits))[:100]}")
        for name, split in self.splits.items():
            split.check(name, self.classes)
        if (tracks := sum(split.tracks for split in self.splits.values())) > MOST_TRACKS:
            raise ValueError(f"it counts {tracks} tracks, more than {MOST_TRACKS:,}")


def _fitted(value: Any, kind: Any, name: str) -> Any:
    """A JSON value as the type that a field has; ValueError where it is of another."""
    whole: Any = get_origin(kind) or kind
    parts = get_args(kind)
    if is_dataclass(whole):
        fitting, hints = _fitted(value, dict[str, Any], name), get_type_hints(whole)
        if set(fitting) != set(hints):
            raise ValueError(f"{name} has the keys {', '.join(sorted(fitting))[:200]}")
        return kind(**{key: _fitted(fitting[key], hint, f"{name}.{key}") for key, hint in hints.items()})
    if whole is Any:
        return value
    if whole is tuple and isinstance(value, list):
        return tuple(_fitted(item, parts[0], name) for item in value)
    if whole is float and type(value) is int and abs(value) <= MOST_COUNTED:
        return float(value)
    if type(value) is not whole or (whole is float and not math.isfinite(value)):
        raise ValueError(f"{name} is {str(value)[:40]!r} where {whole.__name__} was expected")
    return {key: _fitted(item, parts[1], f"{name}.{key}") for key, item in value.items()} if whole is dict else value
