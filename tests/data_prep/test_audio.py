"""Decoding: formats, widths, rates, channels, and every refusal."""

import numpy as np
import pytest
import soundfile
from scipy.signal import find_peaks

from data_prep.audio import SAMPLE_RATE_HZ, read_audio
from data_prep.refused import Refused


def tone(seconds: float, rate_hz: int, pitch_hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_widths_give_floats_within_one(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(0.5, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype=subtype)
    samples = read_audio(tmp_path / "a.wav")
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(0.5, SAMPLE_RATE_HZ), atol=0.01)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 32_000, 48_000, 96_000])
def test_other_rates_are_resampled(tmp_path, rate_hz):
    soundfile.write(tmp_path / "a.wav", tone(1.0, rate_hz), rate_hz, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav")
    assert abs(len(samples) - SAMPLE_RATE_HZ) <= 1
    inner = slice(2000, 40_000)
    np.testing.assert_allclose(samples[inner], tone(1.0, SAMPLE_RATE_HZ)[inner], atol=0.01)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_formats(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone(1.0, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    samples = read_audio(tmp_path / f"a.{suffix}")
    crests, _ = find_peaks(samples[4410:-4410], height=0.3)
    assert abs(len(crests) - 440 * 0.8) <= 2


def test_channels_are_averaged(tmp_path):
    left, right = tone(0.2, SAMPLE_RATE_HZ), tone(0.2, SAMPLE_RATE_HZ, 1000.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)


def test_missing_file(tmp_path):
    with pytest.raises(Refused, match=r"no audio file at .*a\.wav; check the path"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all" * 100])
def test_undecodable(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Refused, match=r"a\.wav cannot be decoded as audio .*replace or remove it"):
        read_audio(tmp_path / "a.wav")


def test_empty(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE_HZ)
    with pytest.raises(Refused, match="holds no audio samples"):
        read_audio(tmp_path / "a.wav")


def test_not_finite(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.0]), SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.raises(Refused, match="not finite numbers"):
        read_audio(tmp_path / "a.wav")


def test_integers_stored_as_floats(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.1, SAMPLE_RATE_HZ) * 32767, SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.raises(Refused, match=r"samples of up to 16.*; expected floats from -1 to 1"):
        read_audio(tmp_path / "a.wav")


def test_rate_too_low(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 2_000), 2_000)
    with pytest.raises(Refused, match="2000 Hz; expected at least 4000 Hz"):
        read_audio(tmp_path / "a.wav")


def test_header_that_claims_four_gigabytes(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.2, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xf0\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")) == round(0.2 * SAMPLE_RATE_HZ)
