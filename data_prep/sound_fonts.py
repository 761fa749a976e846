"""SoundFont 2 files: presets, zones and recordings, read with numpy (SoundFont Technical Specification 2.04).

Of the file only its tables are read at opening; recordings are taken from a memory map when asked for. Version 3 files
(each recording an Ogg Vorbis stream) are read through soundfile. Modulators, low-frequency oscillators and 24-bit
extensions are left out.
"""

import io
import mmap
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from data_prep.refused import Refused
from data_prep.sound_font_zones import (
    DEFAULTS,
    EVERYTHING,
    INSTRUMENT_INDEX,
    KEYS,
    RECORDING_INDEX,
    VELOCITIES,
    Zone,
    low_high,
)

DRUM_BANK = 128
MOST_ZONES = 20_000  # of one preset; FluidR3's largest has 600
RECORDINGS_KEPT_BYTES = 64 << 20

PRESET = np.dtype([("name", "S20"), ("preset", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "<u4", 3)])
INSTRUMENT = np.dtype([("name", "S20"), ("bag", "<u2")])
BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
GENERATOR = np.dtype([("kind", "<u2"), ("amount", "<i2")])
RECORDING = np.dtype(
    [
        *(("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4")),
        *(("rate_hz", "<u4"), ("key", "u1"), ("correction", "i1"), ("link", "<u2"), ("type", "<u2")),
    ]
)
TABLES = {
    b"phdr": PRESET,
    b"pbag": BAG,
    b"pgen": GENERATOR,
    b"inst": INSTRUMENT,
    b"ibag": BAG,
    b"igen": GENERATOR,
    b"shdr": RECORDING,
}

VORBIS, LEFT, RIGHT = 0x10, 4, 2


class SoundFont:
    """An open SoundFont. Raises Refused where the file is missing, is no SoundFont, or is cut short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise Refused(
                f"{path} cannot be opened as a sound font ({error}); give a .sf2 file that is there and not empty"
            ) from error
        if self._bytes[:4] != b"RIFF" or self._bytes[8:12] != b"sfbk":
            raise self._broken("it does not begin as RIFF sfbk")
        self._chunks = dict(self._walk(12, len(self._bytes)))
        if b"smpl" not in self._chunks:
            raise self._broken("it has no recordings")
        self.presets_table, self._preset_bags, self._preset_generators = map(self._table, (b"phdr", b"pbag", b"pgen"))
        self._instruments, self._instrument_bags, self._instrument_generators = map(
            self._table, (b"inst", b"ibag", b"igen")
        )
        self.recordings = self._table(b"shdr")
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def _broken(self, what: str) -> Refused:
        return Refused(f"{self.path} is not a whole sound font: {what}; get the file again or leave it out")

    def _walk(self, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """Chunks (name, (offset, bytes)) between two offsets, LIST chunks opened."""
        while start + 8 <= end:
            name, size = self._bytes[start : start + 4], int.from_bytes(self._bytes[start + 4 : start + 8], "little")
            if start + 8 + size > end:
                raise self._broken(
                    f"chunk {name!r} at byte {start} claims {size} bytes and only {end - start - 8} are left"
                )
            if name == b"LIST" and size >= 4:
                yield from self._walk(start + 12, start + 8 + size)
            else:
                yield name, (start + 8, size)
            start += 8 + size + size % 2

    def _table(self, name: bytes) -> np.ndarray:
        offset, size = self._chunks.get(name, (0, 0))
        count = size // TABLES[name].itemsize
        if count < 1:
            raise self._broken(f"table {name.decode()} is missing or empty")
        return np.frombuffer(self._bytes, TABLES[name], count, offset)

    @cached_property
    def presets(self) -> dict[tuple[int, int], str]:
        """Names of the presets by (bank, number); the last record is the format's end mark."""
        rows = self.presets_table[:-1]
        return {(int(r["bank"]), int(r["preset"])): r["name"].split(b"\0")[0].decode("latin-1").strip() for r in rows}

    @property
    def drum_presets(self) -> tuple[tuple[int, int], ...]:
        """(bank, number) of the percussion presets: bank 128, or the only preset of a font that has just one."""
        found = tuple(sorted(key for key in self.presets if key[0] == DRUM_BANK))
        return found or (tuple(self.presets) if len(self.presets) == 1 else ())

    def _generators(
        self, bags: np.ndarray, generators: np.ndarray, owner: np.ndarray, row: int
    ) -> Iterator[dict[int, int]]:
        first, last = int(owner[row]["bag"]), int(owner[row + 1]["bag"])
        if not first <= last < len(bags) or last - first > MOST_ZONES:
            raise self._broken(f"zones {first} to {last} of {len(bags)} are asked for")
        for bag in range(first, last):
            begin, end = int(bags[bag]["generator"]), int(bags[bag + 1]["generator"])
            if not begin <= end <= len(generators):
                raise self._broken(f"generators {begin} to {end} of {len(generators)} are asked for")
            yield {int(g["kind"]): int(g["amount"]) for g in generators[begin:end]}

    @lru_cache(maxsize=256)  # noqa: B019  (fonts are few and live as long as the process)
    def zones(self, bank: int, preset: int) -> tuple[Zone, ...]:
        """Zones of a preset, in file order; Refused where there is none or its tables point outside."""
        rows = self.presets_table[:-1]
        match = np.flatnonzero((rows["bank"] == bank) & (rows["preset"] == preset))
        if not len(match):
            raise Refused(f"{self.path} has no preset {preset} in bank {bank}; it has {len(self.presets)} others")
        zones: list[Zone] = []
        common: dict[int, int] = {}
        own = self._generators(self._preset_bags, self._preset_generators, self.presets_table, int(match[0]))
        for position, amounts in enumerate(own):
            if INSTRUMENT_INDEX in amounts:
                zones.extend(self._instrument_zones(common | amounts))
            elif position == 0:
                common = amounts
            if len(zones) > MOST_ZONES:
                raise self._broken(f"preset {preset} has more than {MOST_ZONES} zones")
        return tuple(zones)

    def _instrument_zones(self, above: dict[int, int]) -> Iterator[Zone]:
        row = above[INSTRUMENT_INDEX] & 0xFFFF
        if row >= len(self._instruments) - 1:
            raise self._broken(f"instrument {row} of {len(self._instruments) - 1} is asked for")
        common: dict[int, int] = {}
        own = self._generators(self._instrument_bags, self._instrument_generators, self._instruments, row)
        for position, amounts in enumerate(own):
            if RECORDING_INDEX not in amounts:
                common = amounts if position == 0 else common
                continue
            merged = common | amounts
            ranges = []
            for kind in (KEYS, VELOCITIES):
                (a, b), (c, d) = low_high(above.get(kind, EVERYTHING)), low_high(merged.pop(kind, EVERYTHING))
                ranges.append((max(a, c), min(b, d)))
            recording = merged.pop(RECORDING_INDEX) & 0xFFFF
            if recording >= len(self.recordings) - 1:
                raise self._broken(f"recording {recording} of {len(self.recordings) - 1} is asked for")
            for kind, amount in above.items():
                if kind not in (INSTRUMENT_INDEX, KEYS, VELOCITIES):
                    merged[kind] = merged.get(kind, DEFAULTS.get(kind, 0)) + amount
            if ranges[0][0] <= ranges[0][1] and ranges[1][0] <= ranges[1][1]:
                yield Zone(ranges[0], ranges[1], recording, tuple(sorted(merged.items())))

    def recording_bytes(self, index: int) -> bytes:
        """A recording as it lies in the file, to tell whether two are the same."""
        row = self.recordings[index]
        width = 1 if row["type"] & VORBIS else 2
        offset, size = self._chunks[b"smpl"]
        start, end = width * int(row["start"]), width * int(row["end"])
        if not start < end <= size:
            raise self._broken(f"recording {index} lies at {start} to {end} of {size} bytes")
        return self._bytes[offset + start : offset + end]

    def recording(self, index: int) -> np.ndarray:
        """A recording, float32 (S,) in [-1, 1] at its own rate; the latest ones are kept in memory."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        content = self.recording_bytes(index)
        if self.recordings[index]["type"] & VORBIS:
            import soundfile  # here, as stems are rendered on machines that lack it

            try:
                samples = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].mean(axis=1)
            except Exception as error:
                raise self._broken(f"recording {index} is no Ogg Vorbis stream ({error})") from error
        else:
            samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
        self._kept[index] = samples
        while len(self._kept) > 1 and sum(x.nbytes for x in self._kept.values()) > RECORDINGS_KEPT_BYTES:
            self._kept.popitem(last=False)
        return samples


@lru_cache(maxsize=8)
def open_sound_font(path: Path) -> SoundFont:
    """A SoundFont, opened once per process."""
    return SoundFont(path)
