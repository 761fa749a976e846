"""Whole recordings: windows joined, both protocols, transcription to MIDI and a picture."""

import mido
import numpy as np
import partitura
import pytest
import soundfile
import torch
from miniature import drum_hits

from data_prep.classes import VOCABULARIES, class_map
from data_prep.onsets import Onsets
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.evaluation import evaluate
from trainables.inference import CENTRE_FRAMES, MARGIN_FRAMES, activations
from trainables.loop import train
from trainables.metrics import SILENT_FRAMES, join_tracks
from trainables.network import Network
from trainables.peaks import PeakRule, find_peaks
from trainables.transcription import PITCHES, Transcriber, Transcription, plot, write_midi

CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")


class PerFrame(torch.nn.Module):
    """A network whose logits are the first bands of the same frame."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, bands):
        return bands[..., :5]


class SeesAround(PerFrame):
    """A network whose logits hang on the frames up to ``MARGIN_FRAMES`` away."""

    def forward(self, bands):
        sums = bands[..., :5].cumsum(dim=1)
        padded = torch.nn.functional.pad(sums, (0, 0, MARGIN_FRAMES, 0))
        return sums - padded[:, : sums.shape[1]]


@pytest.fixture(scope="module")
def checkpoint(shards) -> Checkpoint:
    config = TrainingConfig(
        ("mdb",), "vit", {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24},
        Settings(batch_size=4, max_epochs=40, learning_rate=1e-2, precision="fp32"),
    )  # fmt: skip
    return max((e for e in train(config, shards, device="cpu") if e.is_best), key=lambda e: e.number).checkpoint


@pytest.mark.parametrize("frames", [1, 299, 300, 301, 400, 1234])
def test_windows_are_joined_frame_by_frame(frames):
    bands = np.random.default_rng(0).random((frames, 84)).astype(np.float16)
    (joined,) = activations(PerFrame(), [bands], "fp32")
    torch.testing.assert_close(joined, torch.from_numpy(bands[:, :5]).float().sigmoid())


def test_a_window_sees_its_margin_as_one_pass_does():
    bands = np.random.default_rng(0).normal(0, 0.05, (5 * CENTRE_FRAMES + 7, 84)).astype(np.float32)
    (joined,) = activations(SeesAround(), [bands], "fp32")
    whole = SeesAround()(torch.from_numpy(bands).unsqueeze(0))[0].sigmoid()
    torch.testing.assert_close(joined, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [30, 399, 400, 401, 1234])
def test_hits_at_the_ends_of_a_recording_are_found(frames):
    hits = [0, 3, *range(40, frames - 20, 37), frames - 5, frames - 1]
    bands = np.full((frames, 84), -5, np.float32)
    bands[hits, 0] = 5
    line = join_tracks(activations(PerFrame(), [bands], "fp32"))
    assert (find_peaks(line, PeakRule())[0, :, 0].nonzero()[:, 0] - SILENT_FRAMES).tolist() == hits


def test_no_window_reaches_beyond_the_ends_of_a_recording():
    bands = np.ones((1234, 84), np.float32)
    seen = []
    network = PerFrame()
    network.register_forward_pre_hook(lambda _, windows: seen.append(windows[0]))
    activations(network, [bands], "fp32")
    assert all(window.all() for window in seen)


class Louder(PerFrame):
    """A network that applies gains: each adds its decibels to the logits."""

    def forward(self, bands, gain_db=0.0):
        return super().forward(bands) + gain_db


def test_probabilities_are_means_over_gains():
    bands = np.random.default_rng(0).random((700, 84)).astype(np.float32)
    gains_db = (-6.0, 0.0, 6.0)
    (found,) = activations(Louder(), [bands], "fp32", gains_db)
    logits = torch.from_numpy(bands[:, :5])
    torch.testing.assert_close(found, sum((logits + gain).sigmoid() for gain in gains_db) / 3)
    (once,) = activations(Louder(), [bands], "fp32", (0.0,))
    torch.testing.assert_close(once, logits.sigmoid())


def test_tracks_of_any_length_go_together():
    tracks = [np.random.default_rng(n).random((n, 84)).astype(np.float16) for n in (5, 700, 40)]
    together = activations(PerFrame(), tracks, "fp32")
    assert [len(track) for track in together] == [5, 700, 40]
    torch.testing.assert_close(together[1], activations(PerFrame(), tracks[1:2], "fp32")[0])


def test_protocols_are_named_and_differ_little(checkpoint, shards):
    tracks, segments = (
        evaluate(checkpoint, "mdb", shards, split="all", protocol=protocol, device="cpu")
        for protocol in ("tracks", "segments")
    )
    assert (tracks.protocol, segments.protocol) == ("tracks", "segments")
    assert tracks.micro_f1 > 0.8
    assert segments.micro_f1 == pytest.approx(tracks.micro_f1, abs=0.05)
    assert {name: of.onsets for name, of in tracks.classes.items()} == {
        name: of.onsets for name, of in segments.classes.items()
    }
    shown = tracks.to_dict()
    assert {
        "corpus",
        "split",
        "protocol",
        "tolerance_ms",
        "micro_f1",
        "macro_f1",
        "precision",
        "recall",
        "classes",
    } <= set(shown)
    assert shown["tolerance_ms"] == 50


def test_evaluation_refuses(checkpoint, shards, tmp_path):
    from dataclasses import replace

    for arguments, words in (
        ({"protocol": "frames"}, "unknown protocol 'frames'; choose from tracks, segments"),
        ({"split": "dev"}, "unknown split 'dev'; choose from train, validation, test, all"),
    ):
        with pytest.raises(Refused, match=words):
            evaluate(checkpoint, "mdb", shards, **arguments)
    with pytest.raises(Refused, match="corpus 'sadtp' is not prepared"):
        evaluate(checkpoint, "sadtp", shards)
    with pytest.raises(Refused, match=r"corpus 'mdb' has classes .* the checkpoint"):
        evaluate(replace(checkpoint, classes=("kick", "snare")), "mdb", shards)


def test_a_recording_becomes_midi(checkpoint, tmp_path):
    samples, labels = drum_hits(123, seconds=20.0)
    soundfile.write(tmp_path / "song.flac", np.stack([samples, samples], axis=1), SAMPLE_RATE_HZ)
    transcription = Transcriber(checkpoint).transcribe(tmp_path / "song.flac")
    assert transcription.seconds == pytest.approx(20.0, abs=0.02)
    write_midi(transcription, tmp_path / "out" / "song.mid")
    # partitura is the independent reader
    notes = partitura.load_performance_midi(tmp_path / "out" / "song.mid")[0].note_array()
    pitch_of = {"KD": 36, "SD": 38, "HIT": 45, "CHH": 42, "CRC": 49}
    found = sum(
        bool(((np.abs(notes["onset_sec"] - time_s) <= 0.05) & (notes["pitch"] == pitch_of[label])).any())
        for time_s, label in labels
    )
    assert found >= 0.8 * len(labels)
    assert len(notes) == len(transcription.onsets)


def test_another_rule_hears_more_or_less(checkpoint, tmp_path):
    samples, _ = drum_hits(123, seconds=5.0)
    soundfile.write(tmp_path / "song.wav", samples, SAMPLE_RATE_HZ)
    rules = PeakRule(threshold=0.95), None, PeakRule(threshold=0.1), PeakRule(thresholds=(1.0, 0.1, 0.1, 0.1, 0.1))
    few, own, many, no_kicks = (
        Transcriber(checkpoint, rule).transcribe(tmp_path / "song.wav").onsets for rule in rules
    )
    assert len(few) < len(own) < len(many)
    assert list(no_kicks.times_s) == list(many.times_s[many.classes != 0])


def made_up(rows) -> Transcription:
    times_s, classes, strengths = np.array(rows).T
    onsets = Onsets.of(times_s, classes, strengths)
    return Transcription(onsets, CLASSES, np.zeros((500, 84), np.float32), np.zeros((500, 5), np.float32))


def test_midi_holds_every_onset_at_its_time(tmp_path):
    rows = [(0.0, 0, 1.0), (0.0, 3, 0.5), (0.05, 0, 0.6), (1.234, 4, 0.9), (4.0, 2, 0.001)]
    write_midi(made_up(rows), tmp_path / "a.mid")
    time_s, notes = 0.0, []
    for message in mido.MidiFile(tmp_path / "a.mid"):
        time_s += message.time
        if message.type == "note_on" and message.velocity:
            assert message.channel == 9
            notes.append((time_s, message.note, message.velocity))
    assert [pitch for _, pitch, _ in notes] == [36, 42, 36, 49, 45]
    assert [time for time, _, _ in notes] == pytest.approx([0.0, 0.0, 0.05, 1.234, 4.0], abs=6e-4)
    assert [velocity for _, _, velocity in notes] == [118, 68, 77, 107, 1]


def test_a_roll_keeps_every_stroke_for_other_readers(tmp_path):
    write_midi(made_up([(0.5 + 0.06 * stroke, 3, 0.9) for stroke in range(20)]), tmp_path / "a.mid")
    assert len(partitura.load_performance_midi(tmp_path / "a.mid")[0].note_array()) == 20


def test_nothing_heard_is_a_midi_file_without_notes(tmp_path):
    empty = Transcription(Onsets.of([], []), CLASSES, np.zeros((10, 84)), np.zeros((10, 5)))
    write_midi(empty, tmp_path / "a.mid")
    assert not [message for message in mido.MidiFile(tmp_path / "a.mid") if message.type == "note_on"]


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_pitches_are_general_midi(classes):
    pitches = [PITCHES[name] for name in VOCABULARIES[classes]]
    assert [class_map("general_midi", classes)[str(pitch)] for pitch in pitches] == list(range(classes))


def test_plot_is_a_picture(tmp_path):
    plot(made_up([(0.5, 0, 1.0), (2.0, 4, 0.7)]), tmp_path / "a.png", title="a", seconds=4)
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


def test_transcription_refuses_what_is_no_audio(checkpoint, tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(Refused, match=r"a\.wav cannot be decoded"):
        Transcriber(checkpoint).transcribe(tmp_path / "a.wav")


def test_features_of_a_checkpoint_are_this_version(checkpoint):
    assert checkpoint.features == FEATURES
    assert isinstance(checkpoint.network(), Network)
