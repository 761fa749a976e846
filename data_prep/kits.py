"""Kits that a machine has: found, described, and loaded.  Which split a kit belongs to is in kit_splits."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data_prep import default_kits as tim
from data_prep.hydrogen import load_voices, read_drumkit
from data_prep.loose_samples import collection_of, load_loose, piece_files
from data_prep.packed_kits import packed_kits
from data_prep.pieces import AVL_KEYS, HATS, PIECES, SOUND_FONT_KEYS, TABLE
from data_prep.refused import Refused
from data_prep.samples import Kit, Voice, normalised
from data_prep.sound_font_notes import drum_voice
from data_prep.sound_fonts import open_sound_font

__all__ = ["PIECES", "Kit", "KitRef", "default_kits", "find_kits", "load_kit"]

SOUND_FONT_SUFFIXES = (".sf2", ".sf3")
NEEDED = ("kick", "snare")  # and some hi-hat: less is no drum kit
DEEPEST = 3  # folders below the one that is given
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KitRef:
    """Where a kit is, without its sound; travels between processes.

    kind: "hydrogen" or "samples" (path is the kit's folder), "sound font" (path and (bank, number) of the preset),
    "default" (one of default_kits.RECIPES), "synthetic" (drawn from its name; it has no path) or "packed" (path is the
    folder of packed_kits). family: kits of one family share recordings. split: where it must go, or None where that is
    free.
    """

    name: str
    family: str
    path: Path
    kind: str
    preset: tuple[int, int] | None = None
    split: str | None = None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def family_of(name: str) -> tuple[str, str | None]:
    """(family, fixed split or None) by a kit's name; a kit that is not known is a family of its own."""
    for row in TABLE["families"]:
        if any(known in _plain(name) for known in row["names"]):
            return row["family"], row["split"]
    return name, None


def _fixed_split(family: str) -> str | None:
    return next((row["split"] for row in TABLE["families"] if row["family"] == family), None)


def _keys(path: Path) -> dict[int, str]:
    return AVL_KEYS if any(name in _plain(path.stem) for name in ("blackpearl", "redzeppelin")) else SOUND_FONT_KEYS


def _whole(pieces: Iterable[str]) -> bool:
    have = set(pieces)
    return have.issuperset(NEEDED) and not have.isdisjoint(HATS)


def _hydrogen_refs(folder: Path) -> Iterator[KitRef]:
    drumkit = read_drumkit(folder, SOUND_FONT_KEYS)
    names = (_plain(folder.name), _plain(drumkit.name))
    if _whole(drumkit.instruments) and not any(word in name for word in TABLE["left_out"] for name in names):
        family, split = family_of(folder.name)
        if split is None:
            family, split = family_of(drumkit.name)
        yield KitRef(drumkit.name, family, folder, "hydrogen", split=split)


def _loose_refs(folder: Path) -> Iterator[KitRef]:
    collection = collection_of({path.name for path in folder.iterdir()})
    if collection is not None and _whole(piece_files(collection, folder)):
        yield KitRef(collection.name, collection.name, folder, "samples", split=_fixed_split(collection.name))


def _folder_refs(folder: Path) -> Iterator[KitRef]:
    yield from _hydrogen_refs(folder) if (folder / "drumkit.xml").exists() else _loose_refs(folder)


def _sound_font_refs(path: Path) -> Iterator[KitRef]:
    if path.name == tim.FILE_NAME:
        yield from _default_refs(path)
        return
    if any(word in _plain(path.stem) for word in TABLE["fonts_left_out"]):
        return
    font, keys = open_sound_font(path), _keys(path)
    family, split = family_of(path.stem)
    for preset in font.drum_presets:
        name = font.presets[preset]
        if any(word in _plain(name) for word in TABLE["presets_left_out"]):
            continue
        sounding = {
            piece for key, piece in keys.items() if any(z.keys[0] <= key <= z.keys[1] for z in font.zones(*preset))
        }
        if _whole(sounding):
            yield KitRef(f"{path.stem} {name}", family, path, "sound font", preset, split)


def _default_refs(path: Path) -> Iterator[KitRef]:
    for name, (split, _) in tim.RECIPES.items():
        yield KitRef(name, f"Tim {split}", path, "default", split=split)


def default_kits() -> tuple[KitRef, ...]:
    """The kits of every installation: in all three splits those from the sound font in the wheel of pretty_midi, and
    synthesised ones for training and validation, a family in each.
    """
    from data_prep.synthetic_kits import NAMES  # here, as stems are rendered on machines that lack what it needs

    drawn = (
        KitRef(name, f"Synthetic {split}", Path(), "synthetic", split=split)
        for split, names in NAMES.items()
        for name in names
    )
    return (*_default_refs(tim.default_sound_font()), *drawn)


def _candidates(place: Path) -> Iterator[Path]:
    """Kit folders, collections of loose recordings and sound fonts at or below a place, in order of name."""
    if place.is_file():
        yield place
        return
    for folder, below, files in os.walk(place):
        below.sort()
        if len(Path(folder).relative_to(place).parts) >= DEEPEST:
            below.clear()
        if "drumkit.xml" in files or collection_of(files):
            yield Path(folder)
        yield from (Path(folder) / file for file in sorted(files) if file.lower().endswith(SOUND_FONT_SUFFIXES))


def sound_font_files(places: Sequence[Path]) -> Iterator[Path]:
    """The sound fonts at or below some places, but those that are left out; Refused where a place is not there."""
    for place in places:
        if not place.exists():
            raise Refused(f"no folder of drum kits at {place}; check the path given to --kits")
        for path in (candidate.resolve() for candidate in _candidates(place)):
            left_out = any(word in _plain(path.stem) for word in TABLE["fonts_left_out"])
            if path.suffix.lower() in SOUND_FONT_SUFFIXES and path.is_file() and not left_out:
                yield path


def find_kits(folders: Sequence[Path]) -> tuple[KitRef, ...]:
    """The kits in folders: each is a Hydrogen kit or a known collection of loose recordings, or holds some or .sf2/.sf3
    files up to three folders down; reads no recording.

    A file given as such must be a sound font. Kits that are no drum kits or that the project leaves out are passed
    over; a broken one is passed over with a warning. Raises Refused where a folder is not there or yields no kit at
    all.
    """
    refs: dict[tuple[Path, str], KitRef] = {}
    for place in map(Path, folders):
        if not place.exists():
            raise Refused(f"no folder of drum kits at {place}; check the path given to --kits")
        problem, found = "", 0
        for path in dict.fromkeys(candidate.resolve() for candidate in _candidates(place)):
            try:
                new = list(_folder_refs(path) if path.is_dir() else _sound_font_refs(path))
            except Refused as error:
                log.warning("kit passed over: %s", error)
                problem = problem or f": {error}"
                continue
            found += len(new)
            refs |= {(ref.path, ref.name): ref for ref in new}
        if not found:
            raise Refused(
                f"{place} holds no usable drum kit{problem}; give folders with a Hydrogen drumkit.xml or a .sf2 file "
                "that has at least kick, snare and hi-hat"
            )
    return tuple(refs.values())


@lru_cache(maxsize=32)
def load_kit(ref: KitRef) -> Kit:
    """A kit's recordings: mono float32 at 44.1 kHz, trimmed to their attack, levelled; the last 32 stay in memory
    (at most 70 MB each among the kits known). Raises Refused where the kit cannot be read.
    """
    if ref.kind == "packed":
        return packed_kits(ref.path)[ref.name].kit
    if ref.kind == "synthetic":
        from data_prep.synthetic_kits import load_synthetic_kit

        return load_synthetic_kit(ref.name)
    if ref.kind == "default":
        return tim.load_default_kit(ref.path, ref.name)
    if ref.kind == "hydrogen":
        pieces = load_voices(read_drumkit(ref.path, SOUND_FONT_KEYS))
    elif ref.kind == "samples":
        pieces = load_loose(ref.path)
    else:
        assert ref.preset is not None
        font = open_sound_font(ref.path)
        by_piece: dict[str, list[Voice]] = {}
        for key, piece in _keys(ref.path).items():
            voice = drum_voice(font, ref.preset, key)
            if voice is not None:
                by_piece.setdefault(piece, []).append(voice)
        pieces = {piece: tuple(voices) for piece, voices in by_piece.items()}
    if not _whole(pieces):
        raise Refused(
            f"kit {ref.name} at {ref.path} has no audible kick, snare or hi-hat; repair it or leave it out of --kits"
        )
    return Kit(ref.name, normalised(pieces))
