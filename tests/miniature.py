"""Synthetic music with known onsets, in the layout of MDB Drums."""

from pathlib import Path

import numpy as np
import soundfile

from data_prep.audio import SAMPLE_RATE_HZ

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


def write_mdb_track(folder: Path, name: str, samples: np.ndarray, labels: list[tuple[float, str]]) -> None:
    """Add a track to a folder in the layout of MDB Drums."""
    audio = folder / "audio" / "full_mix" / f"MusicDelta_{name}_MIX.wav"
    annotation = folder / "annotations" / "subclass" / f"MusicDelta_{name}_subclass.txt"
    for path in (audio, annotation):
        path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(audio, samples, SAMPLE_RATE_HZ)
    annotation.write_text("".join(f"{time_s:.6f} \t {label} \n" for time_s, label in labels))
