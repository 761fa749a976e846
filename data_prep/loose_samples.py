"""Collections of loose drum recordings as kits: which file is which piece stands in pieces.json.

A collection is known by one file of its folder. Its recordings are levelled one by one to what their class has in
recorded kits, since most collections bring every hit to full scale.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from data_prep.gus_patches import read_patch
from data_prep.pieces import PIECE_CLASS, TABLE
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.samples import Layer, Voice, trim_hit

PATCH_SUFFIX = ".pat"
ROUNDED_HZ = 100  # a patch may have any rate; a third of a percent cannot be heard
SOFT, HARD = (1, 80), (81, 127)  # velocities of files called so
# medians over the families of training of a hit's peak, where the loudest kick or snare has 0.5
PEAKS = {"kick": 0.49, "snare": 0.47, "toms": 0.38, "hi-hat": 0.18, "cymbals": 0.20}


@dataclass(frozen=True)
class Collection:
    """name: also its family's. known_by: a file that only its folder has. pieces: of each the patterns of its files'
    names without suffix.
    """

    name: str
    known_by: str
    pieces: dict[str, tuple[str, ...]]


COLLECTIONS = tuple(
    Collection(row["name"], row["known_by"], {piece: tuple(names) for piece, names in row["pieces"].items()})
    for row in TABLE["collections"]
)


def collection_of(files: Container[str]) -> Collection | None:
    """The collection whose folder has these files, or None."""
    return next((collection for collection in COLLECTIONS if collection.known_by in files), None)


def piece_files(collection: Collection, folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each piece that the folder has, by name; what no pattern names is no hit of a drum kit."""
    suffix = Path(collection.known_by).suffix
    files = sorted(path for path in folder.iterdir() if path.suffix in (suffix, ".wav") and path.is_file())
    found = {
        piece: tuple(file for file in files if any(fnmatch(file.stem, pattern) for pattern in patterns))
        for piece, patterns in collection.pieces.items()
    }
    return {piece: own for piece, own in found.items() if own}


def load_loose(folder: Path) -> dict[str, tuple[Voice, ...]]:
    """Every piece's voices with their sound: a file each, soft and hard hits of one name together.

    Raises Refused where the folder is of no collection or a recording cannot be read.
    """
    collection = collection_of({path.name for path in folder.iterdir()}) if folder.is_dir() else None
    if collection is None:
        raise Refused(
            f"{folder} is none of the collections {', '.join(c.name for c in COLLECTIONS)}; check the path given to "
            "--kits"
        )
    voices = {piece: _voices(files, piece) for piece, files in piece_files(collection, folder).items()}
    return {piece: found for piece, found in voices.items() if found}


def _voices(files: Iterable[Path], piece: str) -> tuple[Voice, ...]:
    layers: dict[str, list[Layer]] = {}
    for file in files:
        name = re.sub(r"_(soft|hard)$", "", file.stem)
        low, high = SOFT if file.stem.endswith("_soft") else HARD if file.stem.endswith("_hard") else (1, 127)
        hit = trim_hit(_read(file))
        if hit is not None:
            level = np.float32(PEAKS[PIECE_CLASS[piece]] / np.abs(hit).max())
            layers.setdefault(name, []).append(Layer(low, high, hit * level))
    return tuple(Voice(tuple(of_name)) for of_name in layers.values())


def _read(file: Path) -> np.ndarray:
    from scipy.signal import resample_poly  # both here, as stems are rendered on machines that lack what they need

    from data_prep.audio import read_audio

    if file.suffix != PATCH_SUFFIX:
        return read_audio(file)
    patch = read_patch(file)
    rate_hz = max(1, round(patch.rate_hz / ROUNDED_HZ)) * ROUNDED_HZ
    divisor = int(np.gcd(rate_hz, SAMPLE_RATE_HZ))
    return resample_poly(patch.samples, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
