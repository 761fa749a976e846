"""Resampling against torchaudio's, and block by block against the whole."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.functional import resample

from data_prep.audio import read_audio, read_blocks
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.resampling import resample_blocks


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 22_050, 48_000, 96_000, 384_000])
def test_resampling_is_torchaudio_s(rate_hz):
    noise = np.random.default_rng(0).uniform(-1, 1, rate_hz // 3 + 7)
    [*blocks] = resample_blocks([noise.astype(np.float32)], rate_hz, SAMPLE_RATE_HZ)
    expected = resample(torch.from_numpy(noise), rate_hz, SAMPLE_RATE_HZ).numpy()
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-6)


@given(
    rate_hz=st.sampled_from([4_000, 16_000, 22_050, 44_056, 47_999, 48_000, 192_000]),
    length=st.integers(0, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=6).map(sorted),
)
def test_resampling_in_blocks_is_resampling_the_whole(rate_hz, length, cuts):
    noise = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    [*whole] = resample_blocks([noise], rate_hz, SAMPLE_RATE_HZ)
    [*blocks] = resample_blocks(np.split(noise, cuts), rate_hz, SAMPLE_RATE_HZ)
    joined = np.concatenate([np.zeros(0), *blocks])
    assert len(joined) == -(-length * SAMPLE_RATE_HZ // rate_hz)
    np.testing.assert_allclose(joined, np.concatenate([np.zeros(0), *whole]), atol=1e-6)


def test_blocks_of_a_file_at_another_rate_are_the_whole_file_resampled(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, (3 * 48_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 48_000, subtype="FLOAT")
    blocks = list(read_blocks(tmp_path / "a.wav"))
    assert len(blocks) > 3
    expected = resample(torch.from_numpy(noise).double().mean(dim=1), 48_000, SAMPLE_RATE_HZ).numpy()
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(tmp_path / "a.wav"))
