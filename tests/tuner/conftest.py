"""A small corpus of synthetic hits, prepared once, and one sweep over it on a real Ray and a real SQLite store."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.audio import SAMPLE_RATE_HZ
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.job import prepare
from data_prep.onsets import Onsets
from tuner.cluster import ray_running
from tuner.options import SweepOptions
from tuner.sweep import SweepResult, sweep

SECONDS = 4
PITCHES_HZ = (60.0, 220.0, 500.0, 8000.0, 3000.0)  # one a class
TINY = {"hidden": (16,), "layers": (1,), "unit": ("gru",)}


@dataclass(frozen=True)
class Hits:
    """Decaying tones at known times."""

    seed: int

    @property
    def sources(self) -> tuple[Path, ...]:
        return ()

    def read(self) -> tuple[np.ndarray, Onsets, Counter[str]]:
        generator = np.random.default_rng(self.seed)
        times_s = np.arange(0.2, SECONDS - 0.3, 0.2)
        classes = generator.integers(0, len(PITCHES_HZ), len(times_s))
        samples = np.zeros(SECONDS * SAMPLE_RATE_HZ, np.float32)
        t = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
        for time_s, of in zip(times_s, classes, strict=True):
            first = round(time_s * SAMPLE_RATE_HZ)
            tone = 0.5 * np.exp(-t * 30) * np.sin(2 * np.pi * PITCHES_HZ[of] * t)
            samples[first : first + len(t)] += tone.astype(np.float32)
        return samples, Onsets.of(times_s, classes), Counter()


def tracks(source, options):
    for number, split in enumerate(["train"] * 8 + ["validation"] * 2 + ["test"] * 2):
        yield Track(f"hits-{number}", split, f"hits-{number}", Hits(number))


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        source = CorpusSource("hits", "Hits", "none", needs_source=False, rendered=False, tracks=tracks)
        patch.setitem(CORPORA, "hits", source)
        prepare("hits", source=None, shards=folder, options=PrepOptions(workers=1))
    return folder


@pytest.fixture(scope="session")
def ray():
    with ray_running():
        yield


@dataclass(frozen=True)
class Swept:
    """A finished sweep and where it left things."""

    folder: Path
    tracking_uri: str
    options: SweepOptions
    result: SweepResult


@pytest.fixture(scope="session")
def swept(shards, ray, tmp_path_factory) -> Swept:
    """Four trials, of which this seed makes one go NaN and one raise."""
    folder = tmp_path_factory.mktemp("swept")
    uri = f"sqlite:///{folder}/results/mlflow.db"
    options = SweepOptions(
        corpora=("hits",),
        architecture="rnn",
        trials=4,
        max_epochs=2,
        batch_size=2,
        shards=shards,
        seed=0,
        tracking_uri=uri,
        storage=str(folder / "sweeps"),
        name="first",
        narrow={**TINY, "unit": ("gru", "zither"), "learning_rate": (0.01, 1e38)},
    )
    return Swept(folder, uri, options, sweep(options))


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "hits.wav"
    samples, _, _ = Hits(99).read()
    soundfile.write(path, samples, SAMPLE_RATE_HZ)
    return path


@pytest.fixture
def document(capsys):
    """The one JSON document on standard output."""
    return lambda: json.loads(capsys.readouterr().out)
