"""A small corpus of synthetic hits, prepared once, and one small sweep over it on a real Ray and a real SQLite store."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data_prep.audio import SAMPLE_RATE_HZ
from data_prep.corpora import CORPORA, CorpusSource, Track
from data_prep.job import prepare
from data_prep.onsets import Onsets

SECONDS = 9
PITCHES_HZ = (60.0, 220.0, 500.0, 8000.0, 3000.0)  # one a class
TINY = {"hidden": (72,), "layers": (2,), "unit": ("gru",), "learning_rate": (0.002, 0.004)}


@dataclass(frozen=True)
class Hits:
    """Decaying tones at known times."""

    seed: int

    @property
    def sources(self) -> tuple[Path, ...]:
        return ()

    def read(self) -> tuple[np.ndarray, Onsets, Counter[str]]:
        generator = np.random.default_rng(self.seed)
        times_s = np.arange(0.5, SECONDS - 0.5, 0.25)
        classes = generator.integers(0, len(PITCHES_HZ), len(times_s))
        samples = np.zeros(SECONDS * SAMPLE_RATE_HZ, np.float32)
        t = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
        for time_s, of in zip(times_s, classes, strict=True):
            first = round(time_s * SAMPLE_RATE_HZ)
            samples[first : first + len(t)] += (0.5 * np.exp(-t * 30) * np.sin(2 * np.pi * PITCHES_HZ[of] * t)).astype("f4")
        return samples, Onsets.of(times_s, classes), Counter()


def tracks(source, options):
    for number, split in enumerate(["train"] * 8 + ["validation"] * 2 + ["test"] * 2):
        yield Track(f"hits-{number}", split, f"hits-{number}", Hits(number))


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    from data_prep.corpora import PrepOptions

    with pytest.MonkeyPatch.context() as patch:
        source = CorpusSource("hits", "Hits", "none", needs_source=False, rendered=False, tracks=tracks)
        patch.setitem(CORPORA, "hits", source)
        prepare("hits", source=None, shards=folder, options=PrepOptions(workers=1))
    return folder
