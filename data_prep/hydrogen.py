"""Drum kits of the Hydrogen drum machine: a folder with ``drumkit.xml`` and its recordings.

Three generations of the format are read: one file per instrument, layers in the instrument, layers in instrument
components. Which piece an instrument is, its name says; MIDI notes are missing or wrong in most kits and serve only
where the name says nothing.
"""

import re
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from data_prep.annotations.xml import parse_xml
from data_prep.bounded import read_bounded
from data_prep.refused import Refused
from data_prep.samples import LONGEST_HIT_S, SAMPLE_RATE_HZ, Layer, Voice, trim_hit

XML_LIMIT_BYTES = 8 << 20
LAYER_LIMIT = 4096
PLACEHOLDER_NOTE = 60  # what Hydrogen writes for "not set"

# first match wins; None: not a plain hit of a piece
NAMES: tuple[tuple[str, str | None], ...] = (
    (r"roll|choke|flink|flam|empty|reverse", None),
    (r"tambourine", "tambourine"),
    (r"cow ?bell", "cowbell"),
    (r"agogo|maraca|shaker|conga|bongo|clave|cajon|wood ?block", None),
    (r"clap", "clap"),
    (r"(hat|\bhh|ohh|chh).*(pedal|foot|\bpd|\bped)|(pedal|foot).*(hat|hh)", "pedal_hat"),
    (r"(hat|\bhh).*(open|\bop\b|semi|half|free|loose|swish)|(open|semi|half).*(hat|hh)|\bohh", "open_hat"),
    (r"hat\b|hat ?\d|hi-?hat|\bhh|\bchh|\bhat", "closed_hat"),
    (r"(side|cross)[ -]?stick|rim ?(click|tap)|^[a-g]#?\d - stick|^stick$", "cross_stick"),
    (r"rim ?shot|\brim\b", "rimshot"),
    (r"snare", "snare"),
    (r"kick|bass ?drum|\bbd\b", "kick"),
    (r"tom.*(floor|low|\blo\b)|(floor|low).*tom", "floor_tom"),
    (r"tom.*(mid|med|2)|mid.*tom", "mid_tom"),
    (r"tom.*(hi|1)|(hi|high).*tom", "high_tom"),
    (r"tom", "mid_tom"),
    (r"splash", "splash"),
    (r"china", "china"),
    (r"\bbell\b|\bcup\b", "ride_bell"),
    (r"ride ?2\b|ride edge|crash/ride bow", "ride_edge"),
    (r"^(?!.*crash.*ride).*ride", "ride"),
    (r"crash.*(2\b|right|jazz|--2|/ride)", "crash_2"),
    (r"crash|cymbal", "crash_1"),
)


def piece_of(name: str) -> str | None:
    """The piece that an instrument's name means, or None.  Text in brackets (maker, size) does not count."""
    name = re.sub(r"\(.*?\)", "", name.lower()).replace("_", " ").strip()
    return next((piece for pattern, piece in NAMES if re.search(pattern, name)), None)


@dataclass(frozen=True)
class Recording:
    """A layer before its sound is read: file, velocities low..high (1..127), amplitude factor, pitch in semitones."""

    file: Path
    low: int
    high: int
    gain: float
    semitones: float


@dataclass(frozen=True)
class Drumkit:
    """A kit's description: its name, and the instruments of each piece as tuples of recordings."""

    name: str
    instruments: dict[str, tuple[tuple[Recording, ...], ...]]


def _number(element: Element, tag: str, default: float) -> float:
    try:
        value = float(element.findtext(tag) or default)
    except ValueError:
        return default
    return value if np.isfinite(value) else default


def _recordings(instrument: Element, folder: Path) -> tuple[Recording, ...]:
    gain = _number(instrument, "volume", 1.0) * _number(instrument, "gain", 1.0)
    found = [(layer, gain * _number(instrument, "layerGain", 1.0)) for layer in instrument.findall("layer")]
    for component in instrument.findall("instrumentComponent"):
        found += [(layer, gain * _number(component, "gain", 1.0)) for layer in component.findall("layer")]
    if not found and instrument.findtext("filename"):
        found = [(instrument, gain)]
    recordings = []
    for layer, factor in found:
        name = (layer.findtext("filename") or "").strip()
        if not name:
            continue
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise Refused(
                f"{folder / 'drumkit.xml'} names {name!r}, outside its own folder; a kit's recordings lie beside it"
            )
        if layer is not instrument:
            factor *= _number(layer, "gain", 1.0)
        low, high = _number(layer, "min", 0.0), _number(layer, "max", 1.0)
        low, high = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
        if not file.is_file():
            continue
        pitch = _number(layer, "pitch", 0.0) if layer is not instrument else 0.0
        recordings.append(
            Recording(file, max(1, round(127 * low)), max(1, round(127 * high)), min(factor, 64.0), pitch)
        )
    return tuple(recordings)


def read_drumkit(folder: Path, notes: dict[int, str]) -> Drumkit:
    """The description in ``folder/drumkit.xml``; ``notes`` says which piece a MIDI note is, where a name does not.

    Raises Refused where the file is missing, is no drumkit, names files outside the folder, or has no piece that is
    known.
    """
    path = folder / "drumkit.xml"
    try:
        content = read_bounded(path, XML_LIMIT_BYTES, "drumkit.xml", "a kit's is far smaller")
        root = parse_xml(content, path, "a drumkit.xml has none")
    except Refused as refused:
        raise Refused(
            f"{path} cannot be read as a Hydrogen drumkit ({refused}); replace it or leave the kit out"
        ) from refused
    for element in root.iter():
        element.tag = element.tag.rpartition(":")[2]
    pieces: dict[str, list[tuple[Recording, ...]]] = {}
    total = 0
    for instrument in root.iter("instrument"):
        name = instrument.findtext("name") or ""
        piece = piece_of(name)
        note = int(_number(instrument, "midiOutNote", PLACEHOLDER_NOTE))
        if (
            piece is None
            and note != PLACEHOLDER_NOTE
            and not any(p is None and re.search(r, name.lower()) for r, p in NAMES)
        ):
            piece = notes.get(note)
        recordings = _recordings(instrument, folder) if piece else ()
        total += len(recordings)
        if total > LAYER_LIMIT:
            raise Refused(f"{path} has more than {LAYER_LIMIT} layers; replace it or leave the kit out")
        if piece and recordings:
            if name.strip().lower() == "stick" and piece in pieces:
                continue  # two sticks struck together, where the kit has a cross-stick of its own
            pieces.setdefault(piece, []).append(recordings)
    if not pieces:
        raise Refused(
            f"{path} has no drum piece that is known and whose recordings are there; "
            "name instruments Kick, Snare, Tom, Hat, Ride or Crash, or leave the kit out"
        )
    return Drumkit((root.findtext("name") or folder.name).strip(), {p: tuple(found) for p, found in pieces.items()})


def _read_hit(recording: Recording) -> np.ndarray | None:
    import soundfile  # here, as stems are rendered on machines that lack it
    from scipy.signal import resample_poly

    try:
        with soundfile.SoundFile(recording.file) as file:
            rate_hz = file.samplerate
            samples = file.read(int((LONGEST_HIT_S + 1) * rate_hz), dtype="float32", always_2d=True).mean(axis=1)
    except (OSError, RuntimeError) as error:
        raise Refused(f"{recording.file} cannot be read as audio ({error}); repair the kit or leave it out") from error
    rate_hz = round(rate_hz * 2 ** (recording.semitones / 12) / 100) * 100 if recording.semitones else rate_hz
    if rate_hz != SAMPLE_RATE_HZ:
        divisor = gcd(rate_hz, SAMPLE_RATE_HZ)
        samples = resample_poly(samples, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
    return trim_hit(samples * np.float32(recording.gain))


def load_voices(drumkit: Drumkit) -> dict[str, tuple[Voice, ...]]:
    """Every piece's voices with their sound; Refused where a recording is missing or unreadable."""
    voices: dict[str, tuple[Voice, ...]] = {}
    for piece, instruments in drumkit.instruments.items():
        found = []
        for recordings in instruments:
            layers = ((r, _read_hit(r)) for r in recordings)
            whole = tuple(Layer(r.low, max(r.low, r.high), hit) for r, hit in layers if hit is not None)
            if whole:
                found.append(Voice(whole))
        if found:
            voices[piece] = tuple(found)
    return voices
