"""Tiny kits made in the test: sound fonts and Hydrogen folders of decaying noise and tones."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 44100
INSTRUMENTS = {"Kick": 36, "Snare": 38, "Tom Low": 41, "Hat Closed": 42, "Hat Open": 46, "Crash": 49, "Ride": 51}


def hit(seed: int, seconds: float = 0.2, lead_in_s: float = 0.0, peak: float = 0.5) -> np.ndarray:
    """Noise that starts at once after a silence and decays: float32."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE_HZ)
    noise = rng.standard_normal(count) * np.exp(-np.arange(count) / (count / 6))
    noise[:40] = np.sign(noise[:40]) * np.abs(noise).max()
    silence = np.zeros(int(lead_in_s * RATE_HZ))
    return np.concatenate([silence, peak * noise / np.abs(noise).max()]).astype(np.float32)


def tone(hz: float, seconds: float = 0.5, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


@dataclass
class Sound:
    """A recording of a font, and the generators (kind, amount) of the zone that plays it."""

    samples: np.ndarray
    generators: Sequence[tuple[int, int]] = ()
    root: int = 60
    loop: tuple[int, int] = (0, 0)
    kind: int = 1


@dataclass
class Preset:
    bank: int
    number: int
    sounds: Sequence[Sound] = field(default_factory=list)
    name: str = "Standard"


def span(low: int, high: int) -> int:
    return low | high << 8


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _list(name: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", name + b"".join(chunks))


def _generators(rows: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack("<HH", kind, amount & 0xFFFF) for kind, amount in rows)


def sound_font(path: Path, presets: Sequence[Preset]) -> Path:
    """Write a .sf2 with one instrument per preset and one zone per sound."""
    data, headers = b"", b""
    phdr = pbag = pgen = inst = ibag = igen = b""
    bags = generators = recording = 0
    for row, preset in enumerate(presets):
        phdr += struct.pack("<20sHHHIII", preset.name.encode(), preset.number, preset.bank, row, 0, 0, 0)
        pbag += struct.pack("<HH", row, 0)
        pgen += _generators([(41, row)])
        inst += struct.pack("<20sH", preset.name.encode(), bags)
        for sound in preset.sounds:
            start = len(data) // 2
            data += (np.clip(sound.samples, -1, 1) * 32767).astype("<i2").tobytes() + b"\0" * 92
            end = start + len(sound.samples)
            loop = (start + sound.loop[0], start + sound.loop[1])
            headers += struct.pack("<20sIIIIIBbHH", b"hit", start, end, *loop, RATE_HZ, sound.root, 0, 0, sound.kind)
            rows = [*sound.generators, (53, recording)]
            ibag += struct.pack("<HH", generators, 0)
            igen += _generators(rows)
            bags, generators, recording = bags + 1, generators + len(rows), recording + 1
    phdr += struct.pack("<20sHHHIII", b"EOP", 0, 0, len(presets), 0, 0, 0)
    pbag += struct.pack("<HH", len(presets), 0)
    inst += struct.pack("<20sH", b"EOI", bags)
    ibag += struct.pack("<HH", generators, 0)
    headers += struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    tables = {
        b"phdr": phdr,
        b"pbag": pbag,
        b"pmod": b"\0" * 10,
        b"pgen": pgen + b"\0" * 4,
        b"inst": inst,
        b"ibag": ibag,
    }
    tables |= {b"imod": b"\0" * 10, b"igen": igen + b"\0" * 4, b"shdr": headers}
    body = b"sfbk" + _list(b"INFO", _chunk(b"ifil", struct.pack("<HH", 2, 1))) + _list(b"sdta", _chunk(b"smpl", data))
    body += _list(b"pdta", *(_chunk(name, content) for name, content in tables.items()))
    path.write_bytes(_chunk(b"RIFF", body))
    return path


def drum_preset(seed: int, number: int = 0, name: str = "Standard") -> Preset:
    """Percussion with one noise per General MIDI key of INSTRUMENTS."""
    keys = INSTRUMENTS.values()
    return Preset(128, number, [Sound(hit(seed + k), [(43, span(k, k)), (58, k)], k) for k in keys], name)


def hydrogen_kit(folder: Path, seed: int, *, names: Sequence[str] = tuple(INSTRUMENTS), layers: int = 2) -> Path:
    """Write a kit with ``layers`` recordings per instrument, in the format with instrument components."""
    folder.mkdir(parents=True)
    instruments = ""
    for row, name in enumerate(names):
        inner = ""
        for layer in range(layers):
            file = f"{row}-{layer}.wav"
            peak = 0.5 * (layer + 1) / layers
            soundfile.write(folder / file, hit(1000 * seed + 10 * row + layer, lead_in_s=0.02, peak=peak), RATE_HZ)
            inner += (
                f"<layer><filename>{file}</filename><min>{layer / layers}</min><max>{(layer + 1) / layers}</max>"
                "<gain>1</gain><pitch>0</pitch></layer>"
            )
        instruments += (
            f"<instrument><id>{row}</id><name>{name}</name><volume>1</volume><gain>1</gain><midiOutNote>60</midiOutNote>"
            f"<instrumentComponent><component_id>0</component_id><gain>1</gain>{inner}</instrumentComponent></instrument>"
        )
    (folder / "drumkit.xml").write_text(
        '<?xml version="1.0"?><drumkit_info xmlns="http://www.hydrogen-music.org/drumkit">'
        f"<name>{folder.name}</name><instrumentList>{instruments}</instrumentList></drumkit_info>"
    )
    return folder
