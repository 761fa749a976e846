"""Preparation end to end against the plain route on the same files, one thread; where its time goes; bytes; memory.

The plain route reads a file whole, gives it to torchaudio, multiplies with the dense filterbank and saves float32
tensors. Ours reads labels, writes targets, tables and checksums besides.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # miniature
sys.path.insert(0, str(Path(__file__).parents[2]))  # before tests/data_prep
from data_prep.classes import VOCABULARIES
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.corpora.track import Annotated, Heard
from data_prep.job import plan, prepare
from data_prep.onsets import Onsets
from data_prep.parts import Part, plan_parts
from data_prep.rates import HOP_SAMPLES, SAMPLE_RATE_HZ
from data_prep.spectrogram import FFT_SAMPLES, filterbank
from data_prep.workers import run_on_workers

SECONDS, TRACKS, ROUNDS = 180.0, 8, 5
BLOCK = np.zeros(SAMPLE_RATE_HZ, np.float32)


def compare(channels: int) -> None:
    """Print how much faster than the plain route, with what share of its bytes, and where the time goes."""
    import torch
    from miniature import drum_hits, write_mdb_track
    from stages import print_shares, seconds_by_stage
    from timing import report

    from data_prep.corpora.mdb import SPLIT_OF

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, track in enumerate(list(SPLIT_OF)[:TRACKS]):
            samples, labels = drum_hits(seed, SECONDS)
            write_mdb_track(folder / "source", track, np.stack([samples * 0.9, samples][:channels], axis=1), labels)
        options, plain_s, ours_s = PrepOptions(workers=1), [], []
        for number in range(ROUNDS):  # in turns: other load on the machine hits both
            plain_s.append(seconds_of_plain(folder / "source", folder / f"plain-{number}"))
            began = time.perf_counter()
            prepare("mdb", source=folder / "source", shards=folder / f"shards-{number}", options=options)
            ours_s.append(time.perf_counter() - began)
        report(
            f"Preparation of {TRACKS * SECONDS / 60:.0f} minutes, 16 bits, {channels} channel(s), one thread",
            ("torchaudio, dense product, torch.save", min(plain_s)),
            ("mirtune prep", min(ours_s)),
            target=5,
        )
        tracks = plan("mdb", folder / "source", options)[3]
        stages = [seconds_by_stage(tracks, options.classes) for _ in range(ROUNDS)]
        fastest = Counter({stage: min(took[stage] for took in stages) for stage in stages[0]})
        print_shares(fastest, min(ours_s), lambda seconds: f"{seconds:9.4f} s")
        sizes = [
            sum(path.stat().st_size for path in (folder / of).rglob("*") if path.is_file())
            for of in ("plain-0", "shards-0")
        ]
        print(f"  on disk {sizes[1] / sizes[0]:.2f} of the plain route's bytes; asked for: 0.25\n", flush=True)


def seconds_of_plain(source: Path, out: Path) -> float:
    """Whole-file torchaudio spectrogram, dense product, torch.save of float32 tensors."""
    import soundfile
    import torch
    import torchaudio

    out.mkdir()
    began = time.perf_counter()
    transform = torchaudio.transforms.Spectrogram(FFT_SAMPLES, hop_length=HOP_SAMPLES, power=1, pad_mode="constant")
    bank = torch.from_numpy(filterbank().astype(np.float32))
    for path in sorted((source / "audio" / "full_mix").glob("*.wav")):
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        bands = torch.log10(1 + bank @ transform(torch.from_numpy(samples).mean(dim=1))).T.contiguous()
        torch.save((bands, torch.zeros(len(bands), 5)), out / f"{path.stem}.pt")
    return time.perf_counter() - began


@dataclass(frozen=True)
class Silence:
    """So many seconds of nothing, and an onset every tenth of a second."""

    seconds: int
    audio = sources = materials = ()

    def annotate(self) -> Annotated:
        times_s = np.arange(0.5, self.seconds, 0.1)
        return Annotated(Onsets.of(times_s, np.arange(len(times_s)) % 5), len(times_s))

    def read(self) -> Heard:
        return Heard((BLOCK for _ in range(self.seconds)), self.annotate())


def prepare_and_weigh(part: Part) -> int:
    """Prepare a part; the most KiB that its process has held so far."""
    part.prepare()
    return peak_kib()


def peak_kib() -> int:
    """The most KiB of physical memory that this process has held, shared libraries included."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def weigh(tracks: int, seconds: int, workers: int) -> None:
    """Print the most KiB that a worker holds after its imports and after a corpus; called in a process of its own."""

    def silence(source: Path | None, options: PrepOptions) -> Iterator[Track]:
        return (Track(f"{n:06d}", "train", str(n), Silence(seconds)) for n in range(tracks))

    CORPORA["silence"] = CorpusSource("silence", "Silence", "none", silence, needs_source=False)
    imported = peak_kib()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if workers == 1:
            prepare("silence", source=None, shards=folder, options=PrepOptions(workers=1))
            peak = peak_kib()
        else:
            (folder / "parts").mkdir()
            parts = plan_parts(silence(None, PrepOptions()), folder, VOCABULARIES[5])
            peak = max(kib for _, kib in run_on_workers(prepare_and_weigh, parts, workers))
    print(imported, peak)


def print_memory() -> None:
    """The peak of a worker over corpora of different sizes, each in fresh processes."""
    print("Peak memory of a worker; asked for: under 400 MB whatever the corpus")
    for tracks, seconds, workers, corpus in (
        (10, 180, 1, "half an hour"),
        (200, 180, 1, "10 hours"),
        (1, 3600, 1, "one track of an hour"),
        (45_000, 1, 1, "45,000 tracks of a second"),
        (200, 180, 2, "10 hours"),
    ):
        arguments = [sys.executable, __file__, *map(str, (tracks, seconds, workers))]
        run = subprocess.run(arguments, capture_output=True, text=True, check=True)
        imported, peak = (int(kib) * 1024 / 1e6 for kib in run.stdout.split()[-2:])
        where = f"this process, {imported:.0f} MB of it imports" if workers == 1 else f"one of {workers} on Ray"
        print(f"  {corpus:<52} {peak:6.0f} MB ({where}){'' if peak < 400 else '  <-- MISSED'}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        weigh(*map(int, sys.argv[1:]))
    else:
        compare(channels=1)
        compare(channels=2)
        print_memory()
