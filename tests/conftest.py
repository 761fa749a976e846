"""Fixtures for every test: golden numbers, real data where it is present, synthetic drums, a small corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data_prep.audio import SAMPLE_RATE_HZ
from data_prep.corpora import PrepOptions
from data_prep.job import prepare

torch.set_num_threads(1)  # small tensors: threads only wait for each other

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"
# label, pitch in Hz, decay a second: as far apart as the drum classes are
SOUNDS = (("KD", 60.0, 30.0), ("SD", 330.0, 40.0), ("HIT", 150.0, 20.0), ("CHH", 9000.0, 80.0), ("CRC", 4500.0, 12.0))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings beside the project."""
    if not SHARED.is_dir():
        pytest.skip("no shared/ beside the project")
    return SHARED


@pytest.fixture
def golden():
    """Load a file of golden numbers by its name."""
    return lambda name: np.load(DATA / f"{name}.npz")


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


@pytest.fixture(scope="session")
def mdb_folder(tmp_path_factory) -> Path:
    """A miniature of MDB Drums: four training, two validation, two test tracks of nine seconds."""
    folder = tmp_path_factory.mktemp("mdb") / "MDB Drums"
    for seed, name in enumerate(("Punk", "Disco", "Gospel", "Reggae", "Beatles", "Grunge", "Rock", "Hendrix")):
        write_mdb_track(folder, name, *drum_hits(seed))
    return folder


@pytest.fixture(scope="session")
def shards(mdb_folder, tmp_path_factory) -> Path:
    """The miniature, prepared; tests that damage it copy it first."""
    folder = tmp_path_factory.mktemp("prepared") / "shards"
    prepare("mdb", source=mdb_folder, shards=folder, options=PrepOptions(workers=1))
    return folder
