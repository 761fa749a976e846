"""Decoding: formats, widths, rates, channels, every refusal, and that neither length nor header costs memory."""

import contextlib
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import find_peaks

from data_prep.audio import MOST_CHANNELS, mix_blocks, probe, read_audio, read_blocks
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused

MIB = 1 << 20


def tone(seconds: float, rate_hz: int, pitch_hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_widths_give_floats_within_one(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(0.5, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype=subtype)
    samples = read_audio(tmp_path / "a.wav")
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone(0.5, SAMPLE_RATE_HZ), atol=0.01)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samples_are_what_the_decoder_gives(tmp_path, subtype, channels):
    noise = np.random.default_rng(0).uniform(-1, 1, (100_000, channels))
    soundfile.write(tmp_path / "a.wav", noise, SAMPLE_RATE_HZ, subtype=subtype)
    decoded, _ = soundfile.read(tmp_path / "a.wav", always_2d=True)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), decoded.mean(axis=1), atol=1e-7)


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


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 120), min_size=4, max_size=4),
)
def test_streams_are_mixed_sample_by_sample_whatever_their_blocks(lengths, sizes):
    streams = [np.random.default_rng(n).uniform(-1, 1, length).astype(np.float32) for n, length in enumerate(lengths)]
    gains_db = [-6.0 * n for n in range(len(streams))]
    expected = np.zeros(max(lengths))
    for stream, gain_db in zip(streams, gains_db, strict=True):
        expected[: len(stream)] += stream * 10 ** (gain_db / 20)
    in_blocks = [in_blocks_of(stream, size) for stream, size in zip(streams, sizes, strict=False)]
    mixed = np.concatenate([np.zeros(0, np.float32), *mix_blocks(in_blocks, gains_db)])
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def in_blocks_of(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (samples[first : first + size] for first in range(0, len(samples), size))


def test_a_mix_refuses_what_its_streams_refuse(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.2, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    with pytest.raises(Refused, match=r"no audio file at .*b\.wav"):
        list(mix_blocks([read_blocks(tmp_path / "a.wav"), read_blocks(tmp_path / "b.wav")], [0.0, 0.0]))


def drained(path: Path) -> int:
    return sum(len(block) for block in read_blocks(path))


READERS = [read_audio, drained, probe]


@pytest.fixture(params=READERS, ids=["read_audio", "read_blocks", "probe"])
def reader(request) -> Callable[[Path], object]:
    """Every way to read a file; each refuses the same."""
    return request.param


def test_missing_file(tmp_path, reader):
    with pytest.raises(Refused, match=r"no audio file at .*a\.wav; check the path"):
        reader(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all" * 100])
def test_undecodable(tmp_path, reader, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Refused, match=r"a\.wav cannot be decoded as audio .*replace or remove it"):
        reader(tmp_path / "a.wav")


def test_empty(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE_HZ)
    with pytest.raises(Refused, match="holds no audio samples"):
        reader(tmp_path / "a.wav")


def test_not_finite(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.0]), SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.raises(Refused, match="not finite numbers"):
        reader(tmp_path / "a.wav")


def test_integers_stored_as_floats(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", tone(0.1, SAMPLE_RATE_HZ) * 32767, SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.raises(Refused, match=r"samples of up to 16.*; expected floats from -1 to 1"):
        reader(tmp_path / "a.wav")


def test_rate_too_low(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 2_000), 2_000)
    with pytest.raises(Refused, match="2000 Hz; expected at least 4000 Hz"):
        reader(tmp_path / "a.wav")


def test_rate_too_high(tmp_path, reader):
    write_header(tmp_path / "a.wav", rate_hz=4_000_000_000 % (1 << 31))
    with pytest.raises(Refused, match="1852516352 Hz; expected at most 384000 Hz"):
        reader(tmp_path / "a.wav")


@pytest.mark.parametrize("header", [{"rate_hz": 0}, {"rate_hz": 4_000_000_000}, {"channels": 0}, {"channels": 5000}])
def test_headers_that_make_no_sense(tmp_path, reader, header):
    write_header(tmp_path / "a.wav", **header)
    with pytest.raises(Refused, match=r"a\.wav (cannot be decoded as audio|has )"):
        reader(tmp_path / "a.wav")


def test_too_many_channels(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", np.zeros((10, 1024)), SAMPLE_RATE_HZ)
    with pytest.raises(Refused, match=f"1024 channels; expected at most {MOST_CHANNELS}: convert it again"):
        reader(tmp_path / "a.wav")


def write_header(path: Path, rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1) -> None:
    """A wav file of one second whose header says something else."""
    soundfile.write(path, tone(1.0, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[22:24], content[24:28] = channels.to_bytes(2, "little"), rate_hz.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_no_regular_file(tmp_path, reader, make):
    make(tmp_path / "a.wav")
    with pytest.raises(Refused, match="no audio file at"):
        reader(tmp_path / "a.wav")


def test_a_device(reader):
    with pytest.raises(Refused, match="no audio file at /dev/zero"):
        reader(Path("/dev/zero"))


def test_headerless_audio(tmp_path, reader):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(Refused, match="cannot be decoded as audio"):
        reader(tmp_path / "a.raw")


def test_garbage_called_mp3(tmp_path, reader):
    (tmp_path / "a.mp3").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    with pytest.raises(Refused, match=r"a\.mp3 (cannot be decoded as audio|holds no audio samples)"):
        reader(tmp_path / "a.mp3")


def test_truncated_flac(tmp_path, reader):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 200_000), SAMPLE_RATE_HZ)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 3])
    with pytest.raises(Refused, match=r"a\.flac cannot be decoded as audio"):
        reader(tmp_path / "a.flac")


def claim(path: Path, seconds: float, data_bytes: int) -> None:
    """A wav file whose header says that it holds so many bytes."""
    soundfile.write(path, tone(seconds, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = data_bytes.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("data_bytes", "said"),
    [(0xFFFF_FFF0, r"0\.2 of the 48,695\.8 s"), (2 * SAMPLE_RATE_HZ, r"0\.2 of the 1\.0 s")],
)
def test_wav_that_is_cut_short(tmp_path, reader, data_bytes, said):
    claim(tmp_path / "a.wav", 0.2, data_bytes)
    with pytest.raises(Refused, match=rf"a\.wav is cut short: it holds {said} that its header promises; download"):
        reader(tmp_path / "a.wav")


@pytest.mark.parametrize("data_bytes", [0xFFFF_FFFF, 0x7FFF_F000, round(0.25 * SAMPLE_RATE_HZ) * 2])
def test_wav_that_was_written_to_a_pipe_or_lacks_a_moment(tmp_path, data_bytes):
    claim(tmp_path / "a.wav", 0.2, data_bytes)
    assert len(read_audio(tmp_path / "a.wav")) == round(0.2 * SAMPLE_RATE_HZ)


def test_a_kilobyte_that_claims_four_gigabytes_costs_neither_memory_nor_time(tmp_path, reader):
    for data_bytes in (0xFFFF_FFFF, 0xFFFF_FFF0):
        claim(tmp_path / "a.wav", 0.01, data_bytes)

        def read() -> None:
            with contextlib.suppress(Refused):
                reader(tmp_path / "a.wav")

        began = time.perf_counter()
        assert peak_memory(read) < 2 * MIB
        assert time.perf_counter() - began < 10


def test_a_day_is_enough(tmp_path, reader, monkeypatch):
    monkeypatch.setattr("data_prep.audio.LONGEST_S", 3)
    for seconds in (3, 4):
        soundfile.write(tmp_path / f"{seconds}.flac", np.zeros(seconds * 8000), 8000)
    reader(tmp_path / "3.flac")
    with pytest.raises(Refused, match=r"4\.flac lasts longer than .* hours; expected one piece of music: split it"):
        reader(tmp_path / "4.flac")


def test_flac_that_claims_a_day(tmp_path, reader):
    soundfile.write(tmp_path / "a.flac", tone(0.1, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[22:26] = b"\xff\xff\xff\xff"  # the lower bits of STREAMINFO's count of samples
    (tmp_path / "a.flac").write_bytes(content)
    try:
        assert peak_memory(lambda: reader(tmp_path / "a.flac")) < 2 * MIB
    except Refused as refused:
        assert "cannot be decoded as audio" in str(refused)  # noqa: PT017


@pytest.mark.parametrize("rate_hz", [SAMPLE_RATE_HZ, 48_000])
def test_memory_does_not_grow_with_the_length(tmp_path, rate_hz):
    peaks = []
    for seconds in (5, 60):
        soundfile.write(tmp_path / "a.wav", np.zeros((seconds * rate_hz, 2), np.int16), rate_hz)
        peaks += [peak_memory(lambda: drained(tmp_path / "a.wav")), peak_memory(lambda: probe(tmp_path / "a.wav"))]
    assert max(peaks) < 4 * MIB


def peak_memory(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held while it ran, beyond what they held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
