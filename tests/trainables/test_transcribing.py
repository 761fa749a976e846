"""Recordings as streams: the same activations and peaks as of the whole, from files and samples alike."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from miniature import drum_hits
from numpy.testing import assert_array_equal

from data_prep.audio import read_audio
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES, log_spectrogram_of
from trainables import transcription
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.inference import BATCH_WINDOWS, CENTRE_FRAMES, WINDOW_FRAMES, activation_blocks, activations
from trainables.metrics import SILENT_FRAMES, join_tracks
from trainables.network import Network
from trainables.peaks import PeakRule, find_peaks
from trainables.tasks import TASKS
from trainables.transcribing_peaks import PeakStream
from trainables.transcription import Transcriber, transcribe

ROOT = Path(__file__).parents[2]
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
SMALL = {"layers": 1, "hidden": 8, "unit": "gru"}
BATCH = BATCH_WINDOWS["cpu"] * CENTRE_FRAMES  # frames
LENGTHS = (1, 30, 350, WINDOW_FRAMES, WINDOW_FRAMES + 1, 649, 650, 651, 1234)


def untrained(level: str = "window", precision: str = "auto", threshold: float = 0.3) -> Checkpoint:
    """Heads of any weights: activations all over the range."""
    torch.manual_seed(0)
    settings = Settings(level=level, precision=precision)
    network = Network(TASKS["drum_onsets"], "crnn", SMALL, bands=84, classes=5, level=level)
    torch.nn.init.normal_(network.head.weight, std=3.0)
    rule = PeakRule(threshold=threshold, delta=0.001)
    config = TrainingConfig(("mdb",), "crnn", SMALL, settings)
    return Checkpoint(config, CLASSES, FEATURES, 84, network.state_dict(), peak_rule=rule)


def in_blocks(values: np.ndarray, seed: int = 0):
    """The array in blocks of any lengths."""
    generator = np.random.default_rng(seed)
    at = 0
    while at < len(values):
        length = int(generator.choice([1, 7, 128, 500]))
        yield values[at : at + length]
        at += length


@pytest.mark.parametrize(
    ("level", "gains_db"),
    [("as_recorded", (0.0,)), ("window", (0.0,)), ("whitened", (0.0,)), ("whitened", (-6.0, 6.0))],
)
def test_a_stream_has_the_activations_of_the_whole_to_the_last_bit(level, gains_db):
    network = untrained(level).network()
    for frames in (1, 401, 1234):
        bands = np.random.default_rng(frames).random((frames, 84)).astype(np.float16)
        (whole,) = activations(network, [bands], "auto", gains_db)
        streamed = torch.cat(list(activation_blocks(network, in_blocks(bands), "auto", gains_db)))
        assert torch.equal(streamed, whole), frames


class Position(torch.nn.Module):
    """A network that says what it was shown: of each frame the first bands, of each window its first frame's."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.windows = []

    def forward(self, bands):
        self.windows.append(bands[:, [0, -1], 0])
        return bands[..., :2] + bands[:, :1, :2] * 1e-3


@pytest.mark.parametrize("frames", [*LENGTHS, *(BATCH + of for of in (-1, 0, 1, 49, 50, 51, 349, 350)), 3 * BATCH + 77])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_windows_are_those_of_the_whole_where_batches_join(frames, blocks):
    bands = np.arange(frames, dtype=np.float32)[:, None].repeat(84, 1) / 1e4
    whole, stream = Position(), Position()
    (expected,) = activations(whole, [bands], "fp32")
    streamed = [*activation_blocks(stream, np.array_split(bands, blocks) if frames > 1 else [bands], "fp32")]
    assert torch.equal(torch.cat(streamed), expected)
    assert len(stream.windows) == len(whole.windows)
    assert all(map(torch.equal, stream.windows, whole.windows))
    assert max(map(len, streamed)) <= BATCH


RULES = [
    PeakRule(),
    PeakRule(thresholds=(0.1, 0.3, 0.5, 0.7, 0.9)),
    PeakRule(around_frames=0, delta=0.0, apart_frames=0, threshold=0.2),
    PeakRule(around_frames=1, delta=0.0, apart_frames=5, threshold=0.0),  # finds peaks in silence, too
    PeakRule(around_frames=30, delta=0.05, apart_frames=7, threshold=0.3),
    PeakRule(around_frames=3, delta=0.0, apart_frames=40, threshold=0.1),
    PeakRule(around_frames=600, delta=0.2, apart_frames=1000, threshold=0.6),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("frames", [1, 13, 700, 2001])
def test_peaks_of_a_stream_are_those_of_the_whole(rule, frames):
    for seed, levels in enumerate((3, 20, 10_000)):  # few levels: equal maxima side by side, across joins
        generator = np.random.default_rng(seed)
        line = torch.from_numpy(generator.integers(0, levels, (frames, 5)) / (levels - 1)).float()
        whole = find_peaks(join_tracks([line]), rule)[0, SILENT_FRAMES:-SILENT_FRAMES]
        stream = PeakStream(rule, 5)
        found = [*map(stream.feed, map(torch.from_numpy, in_blocks(line.numpy(), seed))), stream.finish()]
        at, of, strengths = map(torch.cat, zip(*found, strict=True))
        marks = torch.zeros_like(whole)
        marks[at, of] = True
        assert torch.equal(marks, whole)
        assert len(at) == whole.sum()
        assert torch.equal(strengths, line[at, of])


@pytest.fixture(scope="module")
def long_song() -> np.ndarray:
    """Longer than a batch of windows."""
    return np.tile(drum_hits(5, seconds=20.0)[0], 6)[: 110 * SAMPLE_RATE_HZ]


def test_a_file_longer_than_a_batch_has_the_onsets_of_the_whole(long_song, tmp_path):
    soundfile.write(tmp_path / "a.wav", long_song, SAMPLE_RATE_HZ)
    checkpoint = untrained()
    bands = log_spectrogram_of([read_audio(tmp_path / "a.wav")])
    (found,) = activations(checkpoint.network(), [bands])
    frames, classes = find_peaks(join_tracks([found]), checkpoint.peak_rule)[0].nonzero(as_tuple=True)
    heard = Transcriber(checkpoint).transcribe(tmp_path / "a.wav", (0.0, float("inf")))
    assert len(heard.onsets) > 50
    assert_array_equal(heard.onsets.times_s, (frames.numpy() - SILENT_FRAMES) / 100)
    assert_array_equal(heard.onsets.classes, classes)
    assert_array_equal(heard.onsets.velocities, found[frames - SILENT_FRAMES, classes])
    assert_array_equal(heard.bands, bands)
    assert_array_equal(heard.activations, found)
    part = Transcriber(checkpoint).transcribe(tmp_path / "a.wav", (95.5, 97.0))
    assert_array_equal(part.bands, bands[9550:9700])
    assert_array_equal(part.activations, found[9550:9700])
    assert (part.first_frame, part.seconds) == (9550, heard.seconds)
    nothing = Transcriber(checkpoint).transcribe(tmp_path / "a.wav", (500.0, 600.0))
    assert (nothing.bands.shape, nothing.activations.shape) == ((0, 84), (0, 5))
    assert len(nothing.onsets) == len(heard.onsets)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Another checkpoint in the place of the package's own."""
    untrained().save(tmp_path / "shipped")
    monkeypatch.setattr(transcription, "DEFAULT_FOLDER", tmp_path / "shipped")
    transcription.default_transcriber.cache_clear()
    yield tmp_path / "shipped"
    transcription.default_transcriber.cache_clear()


def same(one, other) -> bool:
    return all(
        map(
            np.array_equal, (one.times_s, one.classes, one.velocities), (other.times_s, other.classes, other.velocities)
        )
    )


def test_samples_and_their_file_have_the_same_onsets(shipped, tmp_path):
    samples, _ = drum_hits(3, seconds=5.0)
    pcm = np.rint(samples * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", pcm, SAMPLE_RATE_HZ)
    of_file = transcribe(tmp_path / "a.wav")
    assert len(of_file) > 5
    assert same(transcribe(str(tmp_path / "a.wav")), of_file)
    assert same(transcribe(pcm, SAMPLE_RATE_HZ), of_file)
    floats = pcm / np.float32(2**15)
    for other in (floats, floats.astype(np.float64), floats[:, None], np.stack([floats, floats], 1), floats.tolist()):
        assert same(transcribe(other, SAMPLE_RATE_HZ), of_file)
    assert same(transcribe(torch.from_numpy(floats), 44100.0), of_file)
    assert same(transcribe(pcm.astype(np.int32) << 16, SAMPLE_RATE_HZ), of_file)
    assert same(transcribe(floats, SAMPLE_RATE_HZ, checkpoint=shipped), of_file)
    assert same(transcribe(floats, SAMPLE_RATE_HZ, checkpoint=Checkpoint.load(shipped)), of_file)
    fewer = transcribe(floats, SAMPLE_RATE_HZ, rule=PeakRule(threshold=0.8, delta=0.001))
    assert len(fewer) < len(of_file)


def test_eight_bits_are_centred(shipped):
    samples, _ = drum_hits(3, seconds=2.0)
    eight = np.rint(samples * 127).astype(np.int8)
    assert same(
        transcribe(eight, SAMPLE_RATE_HZ), transcribe((eight.astype(np.int16) + 128).astype(np.uint8), SAMPLE_RATE_HZ)
    )


def test_the_default_is_loaded_once(shipped):
    transcribe(np.zeros(100, np.int16), SAMPLE_RATE_HZ)
    before = transcription.default_transcriber()
    transcribe(np.zeros(100, np.int16), SAMPLE_RATE_HZ)
    assert transcription.default_transcriber() is before


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
def test_samples_of_any_rate_are_those_of_a_file_of_that_rate(shipped, tmp_path, rate):
    samples = np.random.default_rng(0).normal(0, 0.1, (rate, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    assert same(transcribe(samples, rate), transcribe(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros(10), None, "samples without a rate; give samples per second, as in"),
        (np.zeros(10), 0, "a rate of '0' samples per second; expected a whole number from 4,000 to 384,000"),
        (np.zeros(10), 44100.5, "a rate of '44100.5'"),
        (np.zeros(10), float("nan"), "a rate of 'nan'"),
        (np.zeros(10), "fast", "a rate of 'fast'"),
        (np.full(10, 8000.0), 44100, r"samples of up to 8,000; expected floats in \[-1, 1\]: divide"),
        (np.array([0.0, np.nan]), 44100, "hold one that is no finite number"),
        (np.array([0.0, -np.inf]), 44100, "hold one that is no finite number"),
        (np.zeros(10, np.int64), 44100, "samples of type int64; expected floats"),
        (np.zeros(10, bool), 44100, "samples of type bool"),
        (np.zeros(10, complex), 44100, "samples of type complex128"),
        ([1, 2, 3], 44100, "samples of type int64"),
        (None, 44100, "samples of type object"),
        (io.BytesIO(), 44100, "samples of type object"),
        ([[0.0], [0.0, 1.0]], 44100, "the samples are no array"),
        (np.zeros(0), 44100, r"no samples, of shape \(0,\); expected at least one"),
        (np.zeros((10, 0)), 44100, r"no samples, of shape \(10, 0\)"),
        (np.zeros((2, 2, 2)), 44100, r"samples of shape \(2, 2, 2\); expected"),
        (np.float32(1.0), 44100, r"samples of shape \(\); expected"),
        (np.zeros((2, 44100)), 44100, "have 44,100 channels; expected .* transpose them"),
        ("nowhere.wav", None, "no audio file at nowhere.wav"),
        ("nowhere.wav", 44100, "a rate of 44100 for a file, which tells its own; give none"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused(shipped, samples, rate, words):
    with pytest.raises(Refused, match=words):
        transcribe(samples, rate)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "PCM_U8"), ("a.flac", "PCM_16"),
        ("a.flac", "PCM_24"), ("a.ogg", "VORBIS"), ("a.ogg", "OPUS"), ("a.mp3", "MPEG_LAYER_III"), ("a.aiff", "PCM_16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_are_read(shipped, tmp_path, name, subtype, channels):
    rate = 48000 if subtype == "OPUS" else 44100
    samples = np.stack([drum_hits(3, seconds=2.0)[0]] * channels, axis=1)
    soundfile.write(tmp_path / name, samples, rate, subtype=subtype)
    heard = transcription.default_transcriber().transcribe(tmp_path / name)
    assert heard.seconds == pytest.approx(len(samples) / rate, abs=0.1)
    assert len(heard.onsets)


@pytest.mark.parametrize("samples", [1, 440, 441, 44100])
def test_silence_of_any_length_is_transcribed(shipped, tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", np.zeros(samples, np.int16), SAMPLE_RATE_HZ)
    heard = transcription.default_transcriber().transcribe(tmp_path / "a.wav")
    assert heard.seconds == (1 + samples // 441) / 100


GROWTH = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from trainables.checkpoint import Checkpoint
from trainables.transcription import Transcriber
torch.set_num_threads(1)
transcriber = Transcriber(Checkpoint.load(Path(sys.argv[1])))
minute = np.random.default_rng(0).normal(0, 0.1, 60 * 44100).astype(np.float32)
for minutes in (5, 40):
    heard = transcriber.transcribe_blocks(minute for _ in range(minutes))
    assert round(heard.seconds) == minutes * 60 and heard.bands.shape == (2000, 84)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_long_recordings_take_no_more_memory_than_short_ones(tmp_path):
    """Bands of the 35 minutes more are 35 MB, as floats in a network's windows 94 MB."""
    small = {"patch_bands": 42, "heads": 2, "layers": 1, "width": 4}
    network = Network(TASKS["drum_onsets"], "vit", small, bands=84, classes=5)
    Checkpoint(TrainingConfig(("mdb",), "vit", small), CLASSES, FEATURES, 84, network.state_dict()).save(tmp_path / "a")
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path / "a")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    short_kb, long_kb = map(int, done.stdout.split())
    assert long_kb - short_kb < 10 * 1024
