"""Transcription by the checkpoint that comes with mirtune: how many times real time, on one core and one thread.

    python tests/benchmarks/transcription.py [--song PATH]    speed, a song of three minutes as wav, flac and mp3
    python tests/benchmarks/transcription.py --memory         peak memory of 10 and of 60 minutes

Speed is of the processor's time, which other work on the machine hardly changes; a new process's begins with Python.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from timing import print_table

from data_prep.audio import read_audio, read_blocks
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ
from data_prep.spectrogram import FFT_SAMPLES, filterbank, log_spectrogram_of
from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint
from trainables.inference import activations
from trainables.metrics import join_tracks
from trainables.peaks import find_peaks
from trainables.transcription import Transcriber

SECONDS, ASKED = 180, 90.0
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}
MINUTES = 10, 60
REPEATS = 5


def made_up_song(seconds: int) -> np.ndarray:
    """Hits of noise and of tones over a chord, stereo: (S, 2) float32."""
    generator = np.random.default_rng(0)
    time_s = np.arange(seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    song = sum(0.03 * np.sin(2 * np.pi * of * time_s) for of in (110.0, 164.8, 220.0, 277.2))
    decay = np.exp(-np.arange(SAMPLE_RATE_HZ // 4) / 2000)
    for at in range(0, len(song) - len(decay), SAMPLE_RATE_HZ // 6):
        song[at : at + len(decay)] += decay * generator.normal(0, 0.2, len(decay))
    return np.stack([song, song * 0.8], axis=1).astype(np.float32)


def write(path: Path, song: np.ndarray) -> None:
    """In blocks: libsndfile's encoders run out of stack on a whole song."""
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, song.shape[1], FORMATS[path.suffix[1:]]) as file:
        for first in range(0, len(song), 65536):
            file.write(song[first : first + 65536])


def processor_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The least processor time of some runs after one that warms up."""
    work()
    took = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def plain(path: Path, checkpoint: Checkpoint) -> int:
    """The same network the plain way: everything at once in fp32, torchaudio's spectrogram, a dense product."""
    import torchaudio

    spectrogram = torchaudio.transforms.Spectrogram(FFT_SAMPLES, hop_length=HOP_SAMPLES, power=1, pad_mode="constant")
    samples = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0]).mean(dim=1)
    bank = torch.from_numpy(filterbank().astype(np.float32))
    bands = torch.log10(1 + bank @ spectrogram(samples)).T.numpy()
    line = join_tracks(activations(checkpoint.network(), [bands], "fp32"))
    return int(find_peaks(line, checkpoint.peak_rule).sum())


def speed(folder: Path, song: np.ndarray) -> None:
    """A line for each format, and what the time goes into."""
    checkpoint = Checkpoint.load(DEFAULT_FOLDER)
    transcriber, network = Transcriber(checkpoint), checkpoint.network()
    seconds, rows = len(song) / SAMPLE_RATE_HZ, []
    for name in FORMATS:
        path = folder / f"song.{name}"
        write(path, song)
        bands = log_spectrogram_of([read_audio(path)])
        whole = processor_s(lambda path=path: transcriber.transcribe(path, (0.0, 0.0)))
        alone = processor_s(lambda bands=bands: activations(network, [bands]), 3)
        front = processor_s(lambda path=path: log_spectrogram_of(read_blocks(path)), 3)
        in_fp32 = processor_s(lambda path=path: plain(path, checkpoint), 1)
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = f"from trainables.transcription import transcribe; transcribe({str(path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        fresh = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        times = f"{seconds / whole:.0f}{'' if seconds / whole >= ASKED else ' MISSED'}"
        rows.append([name, f"{whole:.2f}", times, f"{seconds / fresh:.0f}", f"{front:.2f}", f"{alone:.2f}"])
        rows[-1] += [f"{whole / alone:.2f}", f"{in_fp32 / whole:.1f}"]
    print_table(
        f"A song of {seconds:.0f} s, one thread; asked for: {ASKED:.0f} times real time (s of processor time)",
        ["format", "s", "x real", "x real, new process", "front end s", "network s", "of network", "x plain fp32"],
        rows,
    )


def memory(folder: Path) -> None:
    """Peak memory of a process that transcribes so many minutes; bands and activations alone would be 1 MB a minute."""
    rows = []
    song = made_up_song(60)
    for minutes in MINUTES:
        path = folder / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(song)
        code = (
            f"from trainables.transcription import transcribe; found = transcribe({str(path)!r}); "
            "import resource; print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        began = time.perf_counter()
        told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        took = time.perf_counter() - began
        rows.append([f"{minutes} min", told[0], f"{int(told[1]) / 1024:.0f}", f"{took:.1f}"])
        path.unlink()
    print_table("Peak memory", ["recording", "onsets", "MB", "wall s"], rows)


def main() -> None:
    """Speed, or memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--song", type=Path, help="a song in the place of one that is made up")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            memory(Path(folder))
        elif arguments.song:
            speed(Path(folder), soundfile.read(arguments.song, dtype="float32", always_2d=True)[0])
        else:
            speed(Path(folder), made_up_song(SECONDS))


if __name__ == "__main__":
    main()
