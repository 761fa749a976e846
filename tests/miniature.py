"""Synthetic music with known onsets, in the published layouts of the corpora: a few short tracks each."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile
import yaml

from data_prep.rates import SAMPLE_RATE_HZ

# label, pitch in Hz, decay a second: as far apart as the drum classes are
SOUNDS = (("KD", 60.0, 30.0), ("SD", 330.0, 40.0), ("HIT", 150.0, 20.0), ("CHH", 9000.0, 80.0), ("CRC", 4500.0, 12.0))


def drum_hits(seed: int, seconds: float = 9.0) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Decaying tones at known times, one pitch a class: samples (S,) at 44.1 kHz, and (time in seconds, MDB label)."""
    generator = np.random.default_rng(seed)
    samples = generator.normal(0, 1e-3, round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    labels = []
    clock = np.arange(SAMPLE_RATE_HZ // 4) / SAMPLE_RATE_HZ
    for time_s in np.arange(0.4, seconds - 0.6, 0.2):
        label, pitch_hz, decay = SOUNDS[generator.integers(len(SOUNDS))]
        first = round(time_s * SAMPLE_RATE_HZ)
        hit = 0.5 * np.exp(-clock * decay) * np.sin(2 * np.pi * pitch_hz * clock)
        samples[first : first + len(hit)] += hit.astype(np.float32)
        labels.append((float(time_s), label))
    return samples, labels


def audio_of(folder: Path, name: str) -> Path:
    """The full mix of a track of MDB Drums."""
    return folder / "audio" / "full_mix" / f"MusicDelta_{name}_MIX.wav"


def annotation_of(folder: Path, name: str) -> Path:
    """The annotation of a track of MDB Drums."""
    return folder / "annotations" / "subclass" / f"MusicDelta_{name}_subclass.txt"


def write_mdb_track(folder: Path, name: str, samples: np.ndarray, labels: list[tuple[float, str]]) -> None:
    """Add a track to a folder in the layout of MDB Drums."""
    audio, annotation = audio_of(folder, name), annotation_of(folder, name)
    for path in (audio, annotation):
        path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(audio, samples, SAMPLE_RATE_HZ)
    annotation.write_text("".join(f"{time_s:.6f} \t {label} \n" for time_s, label in labels))


# What is hit, and what it is called: in 3, 5 and 8 classes, and in each source vocabulary.
NAMES = {
    "kick": ("kick", "kick", "kick"),
    "snare": ("snare", "snare", "snare"),
    "tom": (None, "toms", "toms"),
    "hat": ("hi-hat", "hi-hat", "hi-hat"),
    "crash": (None, "cymbals", "crash"),
    "ride": (None, "cymbals", "ride"),
    "bell": (None, "cymbals", "bell"),
}
HITS = tuple(NAMES)
MDB = dict(zip(HITS, ("KD", "SDG", "HIT", "CHH", "CRC", "RDC", "RDB"), strict=True))
ENST = dict(zip(HITS, ("bd", "sd-", "lt", "ohh", "cr1", "rc3", "cb"), strict=True))
GENERAL_MIDI = dict(zip(HITS, (36, 38, 45, 42, 49, 51, 53), strict=True))
ROLAND = dict(zip(HITS, (36, 40, 58, 22, 57, 59, 53), strict=True))
POP_KIT = {**GENERAL_MIDI, "tom": 52, "bell": 54, "crash": 58}
GARAGE_KIT = dict(zip(HITS, (60, 84, 95, 68, 48, 52, 53), strict=True))
JUST_A_WINDOW = 441 * 399 + 440  # samples of 400 frames; one more sample makes a second window
Hit = tuple[float, str]


@dataclass(frozen=True)
class Written:
    """A track as it was written: samples at 44.1 kHz, and hits (time in seconds, name)."""

    id: str
    split: str
    hits: Sequence[Hit]
    samples: int
    audio: Path
    annotation: Path

    def onsets(self, classes: int) -> list[tuple[float, str]]:
        """(time in seconds, class) of the hits that are a class, in time order."""
        named = [(time_s, NAMES[hit][(3, 5, 8).index(classes)]) for time_s, hit in self.hits]
        return [(time_s, name) for time_s, name in named if name is not None]


def hits(seed: int, samples: int = JUST_A_WINDOW) -> tuple[np.ndarray, list[Hit]]:
    """Noise (S,) float32 and hits, all drums in turn."""
    generator = np.random.default_rng(seed)
    times_s = np.round(np.arange(0.1, samples / SAMPLE_RATE_HZ - 0.1, 0.13), 3)
    return (
        generator.normal(0, 0.05, samples).astype(np.float32),
        [(float(time_s), HITS[(seed + number) % len(HITS)]) for number, time_s in enumerate(times_s)],
    )


def write_audio(path: Path, samples: np.ndarray) -> None:
    """A wav or flac file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE_HZ)


def write_text(path: Path, played: Sequence[Hit], called: Mapping[str, str], separator: str = " ") -> None:
    """Lines of a time and a label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{time_s:.6f}{separator}{called[hit]}\n" for time_s, hit in played))


def write_midi(path: Path, played: Sequence[Hit], pitches: Mapping[str, int], channel: int = 9) -> None:
    """Drum notes, exact to a quarter of a millisecond."""
    track, now = mido.MidiTrack(), 0
    for time_s, hit in played:
        tick = round(time_s * 1920)  # 960 a beat of half a second
        track.append(mido.Message("note_on", channel=channel, note=pitches[hit], velocity=100, time=tick - now))
        track.append(mido.Message("note_off", channel=channel, note=pitches[hit], velocity=0, time=10))
        now = tick + 10
    path.parent.mkdir(parents=True, exist_ok=True)
    mido.MidiFile(ticks_per_beat=960, tracks=[track]).save(path)


def write_mdb(folder: Path) -> list[Written]:
    """MDB Drums: two tracks to train on, one for validation, one to test on."""
    written = []
    for seed, (name, split) in enumerate(
        (("Punk", "train"), ("Disco", "train"), ("Beatles", "validation"), ("Rock", "test"))
    ):
        samples, played = hits(seed, JUST_A_WINDOW + seed)
        write_mdb_track(folder, name, samples, [(time_s, MDB[hit]) for time_s, hit in played])
        audio = folder / "audio" / "full_mix" / f"MusicDelta_{name}_MIX.wav"
        annotation = folder / "annotations" / "subclass" / f"MusicDelta_{name}_subclass.txt"
        written.append(Written(name, split, played, len(samples), audio, annotation))
    return written


ENST_PIECES = (
    ("drummer_1", "107_minus-one_salsa_sticks", "train"),
    ("drummer_1", "121_MIDI-minus-one_bigband_brushes", "train"),
    ("drummer_2", "115_minus-one_salsa_sticks", "train"),
    ("drummer_3", "126_minus-one_salsa_sticks", "validation"),
    ("drummer_3", "140_MIDI-minus-one_country-120_sticks", "validation"),
    ("drummer_3", "141_MIDI-minus-one_fusion-125_sticks", "test"),
)


def write_enst(folder: Path) -> list[Written]:
    """ENST-Drums: six pieces with accompaniment (a tone), and one without that is no part of the corpus."""
    written = []
    for seed, (drummer, piece, split) in enumerate(ENST_PIECES):
        samples, played = hits(seed, JUST_A_WINDOW + seed % 2)
        audio, annotation = (folder / drummer / "audio" / "wet_mix" / piece, folder / drummer / "annotation" / piece)
        audio, annotation = audio.with_name(f"{piece}.wav"), annotation.with_name(f"{piece}.txt")
        write_audio(audio, samples)
        tone = 0.3 * np.sin(2 * np.pi * 1000 / SAMPLE_RATE_HZ * np.arange(len(samples) - 999 * (seed % 2)))
        write_audio(folder / drummer / "audio" / "accompaniment" / f"{piece}.wav", tone)
        write_text(annotation, played, ENST)
        written.append(Written(f"{drummer}-{piece}", split, played, len(samples), audio, annotation))
    write_text(folder / "drummer_1" / "annotation" / "032_phrase_rock_simple_fast_sticks.txt", played, ENST)
    return written


def write_enst_mdb(folder: Path) -> list[Written]:
    """ENST-Drums and MDB Drums side by side."""
    both = (("enst", write_enst(folder / "ENST-Drums")), ("mdb", write_mdb(folder / "MDB Drums")))
    return [
        Written(f"{prefix}-{of.id}", of.split, of.hits, of.samples, of.audio, of.annotation)
        for prefix, written in both
        for of in written
    ]


EGMD_COLUMNS = (
    *("drummer", "session", "id", "style", "bpm", "beat_type", "time_signature", "duration", "split"),
    *("midi_filename", "audio_filename", "kit_name"),
)


def write_egmd(folder: Path) -> list[Written]:
    """E-GMD: four performances, each on two kits."""
    written, rows = [], []
    for number, split in enumerate(("train", "train", "validation", "test")):
        samples, played = hits(number, JUST_A_WINDOW + 441 * number)
        session = f"drummer{number % 2 + 1}/session1"
        for kit in (1, 2):
            name = f"{session}/{number}_jazz-fast_290_beat_4-4_{kit}"
            write_audio(folder / f"{name}.wav", samples / kit)
            write_midi(folder / f"{name}.midi", played, ROLAND)
            seconds = len(samples) / SAMPLE_RATE_HZ
            about = (session.split("/")[0], session, f"{session}/{number}", "jazz/fast", 290, "beat", "4-4", seconds)
            rows.append((*about, split, f"{name}.midi", f"{name}.wav", f"Kit {kit}"))
            files = folder / f"{name}.wav", folder / f"{name}.midi"
            written.append(Written(name, split, played, len(samples), *files))
    with (folder / "e-gmd-v1.0.0.csv").open("w", newline="") as file:
        csv.writer(file).writerows([EGMD_COLUMNS, *rows])
    return written


def slakh_stem(is_drum: bool, plugin: str, **changes: object) -> dict[str, object]:
    """What metadata.yaml says of a stem."""
    return {
        "audio_rendered": True,
        "inst_class": "Drums" if is_drum else "Guitar",
        "integrated_loudness": -12.82074180245363,
        "is_drum": is_drum,
        "midi_program_name": "Drums" if is_drum else "Distortion Guitar",
        "midi_saved": True,
        "plugin_name": plugin,
        "program_num": 128 if is_drum else 30,
    } | changes


def write_slakh_track(folder: Path, samples: np.ndarray, stems: Mapping[str, Mapping[str, object]]) -> None:
    """A track of Slakh without its MIDI files."""
    write_audio(folder / "mix.flac", samples)
    metadata = {"UUID": folder.name * 2, "audio_dir": "stems", "midi_dir": "MIDI", "stems": dict(stems)}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata, default_flow_style=False))


def write_slakh(folder: Path) -> list[Written]:
    """Slakh2100-redux: kits that follow General MIDI and kits that do not, one track with two drum stems, a copy."""
    written = []
    kits = (("train", "some_kit.nkm", GENERAL_MIDI), ("train", "pop_kit.nkm", POP_KIT))
    kits += (("validation", "garage_kit_lite.nkm", GARAGE_KIT), ("test", "pop_kit.nkm", POP_KIT))
    for seed, (split, kit, pitches) in enumerate((*kits, ("omitted", "pop_kit.nkm", POP_KIT))):
        samples, played = hits(seed, JUST_A_WINDOW + seed)
        track = folder / split / f"Track{seed * 500 + 1:05d}"
        stems = {"S00": slakh_stem(False, "elektrik_guitar.nkm"), "S01": slakh_stem(True, kit)}
        halves = [("S01", played)]
        if split == "test":
            halves, stems["S07"] = [("S01", played[::2]), ("S07", played[1::2])], slakh_stem(True, kit)
        write_slakh_track(track, samples, stems)
        write_midi(track / "MIDI" / "S00.mid", played, dict.fromkeys(HITS, 38), channel=0)
        for stem, part in halves:
            write_midi(track / "MIDI" / f"{stem}.mid", part, pitches)
        if split != "omitted":
            files = track / "mix.flac", track / "MIDI" / "S01.mid"
            written.append(Written(track.name, split, played, len(samples), *files))
    return written


def write_sadtp(folder: Path) -> list[Written]:
    """SADTP: three pieces, all to test on."""
    written = []
    for seed, piece in enumerate(("A Song", "B", "song_03")):
        samples, played = hits(seed, JUST_A_WINDOW + seed)
        files = folder / piece / "mix.wav", folder / piece / "annotation.mid"
        write_audio(files[0], samples)
        write_midi(files[1], played, GENERAL_MIDI)
        written.append(Written(piece, "test", played, len(samples), *files))
    return written


def write_folder(folder: Path) -> list[Written]:
    """Somebody's own music: audio and annotations of several kinds, and a table of splits that is given to it."""
    written = []
    names = {hit: str(pitch) for hit, pitch in GENERAL_MIDI.items()}
    for seed, (name, suffixes, split) in enumerate(
        (
            ("one", (".wav", ".mid"), "train"),
            ("takes/two_take1", (".flac", ".txt"), "train"),
            ("takes/two_take2", (".wav", ".txt"), "train"),
            ("three", (".wav", ".csv"), "validation"),
            ("four.live", (".wav", ".txt"), "test"),
        )
    ):
        samples, played = hits(seed, JUST_A_WINDOW + seed)
        audio, annotation = (folder / f"{name}{suffix}" for suffix in suffixes)
        write_audio(audio, samples)
        if suffixes[1] == ".mid":
            write_midi(annotation, played, GENERAL_MIDI)
        elif suffixes[1] == ".csv":
            write_text(annotation, played, MDB, ",")
            annotation.write_text("time,label\n" + annotation.read_text())
        else:
            write_text(annotation, played, ENST if seed % 2 else names)
        written.append(Written(name, split, played, len(samples), audio, annotation))
    lines = [f"{of.id},{of.split}\n" for of in written]
    (folder / "splits.csv").write_text("".join(["file,split\n", *lines]))
    return written


MINIATURES: dict[str, Callable[[Path], list[Written]]] = {
    "egmd": write_egmd,
    "enst": write_enst,
    "enst_mdb": write_enst_mdb,
    "folder": write_folder,
    "mdb": write_mdb,
    "sadtp": write_sadtp,
    "slakh": write_slakh,
}
