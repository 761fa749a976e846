"""What a probe says of a file: length, peaks, clipping, silence, identity."""

import hashlib
import re

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from data_prep.audio import AudioFacts, probe
from data_prep.rates import SAMPLE_RATE_HZ


def tone(seconds: float, rate_hz: int, pitch_hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_facts_of_a_file(tmp_path):
    stereo = np.stack([tone(2.0, 48_000), -0.5 * tone(2.0, 48_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT")
    facts = probe(tmp_path / "a.wav")
    assert facts.peak == pytest.approx(0.5, abs=1e-4)
    assert facts == AudioFacts(
        seconds=2.0,
        rate_hz=48_000,
        channels=2,
        peak=facts.peak,
        clipped_samples=0,
        silent=False,
        checksum=hashlib.sha256((stereo[:, 0] / 2 + stereo[:, 1] / 2).tobytes()).hexdigest(),
    )


def test_the_same_samples_have_the_same_checksum_in_another_container(tmp_path):
    samples = (tone(2.0, SAMPLE_RATE_HZ) * 30_000).astype(np.int16)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "c.wav", samples[::-1], SAMPLE_RATE_HZ)
    first, same, other = (probe(tmp_path / name).checksum for name in ("a.wav", "b.flac", "c.wav"))
    assert first == same != other


@given(
    levels=st.lists(st.sampled_from([0.0, 0.5, 1.0, -1.0]), min_size=1, max_size=60),
    lead=st.integers(65_536 // 2 - 50, 65_536 // 2),  # the runs lie across the border of two blocks
)
def test_clipped_samples_stand_in_runs_of_three(tmp_path_factory, levels, lead):
    left = np.concatenate([np.zeros(lead), levels])
    path = tmp_path_factory.mktemp("clipped") / "a.wav"
    soundfile.write(path, np.stack([left, np.zeros_like(left)], axis=1), SAMPLE_RATE_HZ, subtype="PCM_16")
    full = "".join("x" if abs(level) == 1 else "." for level in left)
    assert probe(path).clipped_samples == sum(len(run) for run in re.findall("x{3,}", full))


@pytest.mark.parametrize(("subtype", "clipped"), [("PCM_U8", 5), ("PCM_16", 5), ("PCM_24", 5), ("FLOAT", 5)])
def test_full_scale_of_every_width(tmp_path, subtype, clipped):
    soundfile.write(tmp_path / "a.wav", [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], SAMPLE_RATE_HZ, subtype=subtype)
    assert probe(tmp_path / "a.wav").clipped_samples == clipped


@pytest.mark.parametrize(("level", "silent"), [(0.0, True), (0.5e-4, True), (1e-3, False)])
def test_silence(tmp_path, level, silent):
    soundfile.write(tmp_path / "a.wav", np.full(1000, level), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert probe(tmp_path / "a.wav").silent == silent


def test_channels_that_cancel_are_silent(tmp_path):
    left = tone(0.2, SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert probe(tmp_path / "a.wav").silent
