"""Kits in a few small files, for machines that can decode nothing. S samples at 44.1 kHz, L layers, R recordings.

``kits.arrow`` has a row a layer, ``recordings-*.arrow`` each distinct recording once, as differences of 16-bit samples;
kits that share recordings share them here, too. A kit is read where all of its recordings are there, so a part of the
files is good for some kits.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_prep.files import write_atomically
from data_prep.refused import Refused
from data_prep.samples import SAMPLE_RATE_HZ, Kit, Layer, Voice

TABLE, RECORDINGS = "kits.arrow", "recordings-*.arrow"
LONGEST_S, FADE_S = 2.5, 0.2  # what rings on longer is faded out
FULL_SCALE = 32767
FILE_SAMPLES = 8 << 20  # of a file of recordings: about 12 MB
PACKED = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 9))


@dataclass(frozen=True)
class PackedKit:
    """A kit as it was packed: its family and split are those of its KitRef."""

    family: str
    split: str
    kit: Kit


def pack_kits(kits: Iterable[PackedKit], folder: Path, most_samples: int) -> list[str]:
    """Write kits into ``folder``, in this order, without those that need more than ``most_samples`` in all.

    Returns the names of the kits packed. Recordings are cut to LONGEST_S.
    """
    layers: list[dict[str, object]] = []
    known: dict[str, np.ndarray] = {}
    names, taken = [], 0
    for packed in kits:
        rows, new = _rows(packed)
        new = {name: samples for name, samples in new.items() if name not in known}
        if taken + (needed := sum(map(len, new.values()))) > most_samples:
            continue
        taken += needed
        known |= new
        layers += rows
        names.append(packed.kit.name)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(RECORDINGS):
        stale.unlink()
    held: list[tuple[str, np.ndarray]] = []
    files = 0
    for name, samples in known.items():
        held.append((name, samples))
        if sum(len(of) for _, of in held) >= FILE_SAMPLES:
            _write_recordings(folder, files, held)
            held, files = [], files + 1
    if held:
        _write_recordings(folder, files, held)
    write_table(folder / TABLE, pa.Table.from_pylist(layers))
    return names


@lru_cache(maxsize=2)
def packed_kits(folder: Path) -> dict[str, PackedKit]:
    """The kits of a folder whose recordings are all there, by name; Refused where there is none."""
    recordings: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob(RECORDINGS)):
        for row in read_table(path).to_pylist():
            recordings[row["recording"]] = _decoded(row["samples"])
    kits: dict[str, list[dict]] = {}
    for row in read_table(folder / TABLE).to_pylist():
        kits.setdefault(row["kit"], []).append(row)
    whole = {name: rows for name, rows in kits.items() if all(row["recording"] in recordings for row in rows)}
    if not whole:
        raise Refused(f"{folder} holds no kit with all its recordings; pack the kits again, or bring more of its files")
    return {name: _kit(name, rows, recordings) for name, rows in whole.items()}


def write_table(path: Path, table: pa.Table) -> None:
    """A table as one compressed Arrow file, whole or absent."""
    with (
        write_atomically(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema, options=PACKED) as writer,
    ):
        writer.write_table(table)


def read_table(path: Path) -> pa.Table:
    """What ``write_table`` wrote; Refused where it is missing or damaged."""
    try:
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"{path} cannot be read ({error}); pack it again") from error


def _rows(packed: PackedKit) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """A row a layer, and the recordings, int16 (S,), by their checksums."""
    rows, recordings = [], {}
    for piece, voices in packed.kit.pieces.items():
        for number, voice in enumerate(voices):
            for layer in voice.layers:
                samples, gain = _quantised(layer.samples)
                name = hashlib.sha256(samples.tobytes()).hexdigest()
                recordings[name] = samples
                rows.append(
                    {"kit": packed.kit.name, "family": packed.family, "split": packed.split, "piece": piece,
                     "voice": number, "curve": voice.curve, "low": layer.low, "high": layer.high, "gain": gain,
                     "recording": name}
                )  # fmt: skip
    return rows, recordings


def _quantised(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """(S,) float32 -> int16 (S',) that uses the full scale, and the factor that makes floats of it."""
    longest, fade = round(LONGEST_S * SAMPLE_RATE_HZ), round(FADE_S * SAMPLE_RATE_HZ)
    if len(samples) > longest:
        samples = samples[:longest].copy()
        samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = float(np.abs(samples).max())
    return np.round(samples * (FULL_SCALE / peak)).astype(np.int16), peak / FULL_SCALE


def _write_recordings(folder: Path, number: int, recordings: list[tuple[str, np.ndarray]]) -> None:
    table = pa.table(
        {
            "recording": [name for name, _ in recordings],
            "samples": pa.array([_encoded(samples) for _, samples in recordings], pa.large_binary()),
        }
    )
    write_table(folder / RECORDINGS.replace("*", f"{number:03d}"), table)


def _encoded(samples: np.ndarray) -> bytes:
    """Differences (modulo 2^16), high bytes before low ones: these compress best."""
    steps = np.diff(samples, prepend=np.int16(0)).view(np.uint16)
    return (steps >> 8).astype(np.uint8).tobytes() + (steps & 0xFF).astype(np.uint8).tobytes()


def _decoded(content: bytes) -> np.ndarray:
    high, low = np.frombuffer(content, np.uint8).reshape(2, -1).astype(np.uint16)
    return np.cumsum(high << 8 | low, dtype=np.uint16).view(np.int16)


def _kit(name: str, rows: list[dict], recordings: dict[str, np.ndarray]) -> PackedKit:
    voices: dict[tuple[str, int], list[dict]] = {}
    for row in rows:
        voices.setdefault((row["piece"], row["voice"]), []).append(row)
    pieces: dict[str, tuple[Voice, ...]] = {}
    for (piece, _), layers in voices.items():
        found = tuple(
            Layer(row["low"], row["high"], recordings[row["recording"]] * np.float32(row["gain"])) for row in layers
        )
        pieces[piece] = (*pieces.get(piece, ()), Voice(found, layers[0]["curve"]))
    return PackedKit(rows[0]["family"], rows[0]["split"], Kit(name, pieces))
