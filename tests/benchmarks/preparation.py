"""Preparation: speed against the plain route, and memory that does not grow with the corpus."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

sys.path.insert(0, str(Path(__file__).parents[1]))
from miniature import drum_hits, write_mdb_track
from timing import report

from data_prep.corpora import PrepOptions
from data_prep.corpora.mdb import SPLIT_OF
from data_prep.job import prepare
from data_prep.spectrogram import FFT_SAMPLES, HOP_SAMPLES, filterbank

torch.set_num_threads(1)
HOURS = 10


def plain(source: Path, out: Path) -> None:
    """Whole-file torchaudio spectrogram, dense product, torch.save of float32 tensors."""
    transform = torchaudio.transforms.Spectrogram(FFT_SAMPLES, hop_length=HOP_SAMPLES, power=1, pad_mode="constant")
    bank = torch.from_numpy(filterbank().astype(np.float32))
    for path in sorted((source / "audio" / "full_mix").glob("*.wav")):
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        bands = torch.log10(1 + bank @ transform(torch.from_numpy(samples).mean(dim=1))).T.contiguous()
        torch.save((bands, torch.zeros(len(bands), 5)), out / f"{path.stem}.pt")


def peak_mib(hours: float, seconds_a_track: int) -> float:
    """The most memory that a process of its own holds while it prepares so much generated audio."""
    code = f"""
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.job import prepare
from data_prep.onsets import Onsets
SECONDS = {seconds_a_track}
@dataclass(frozen=True)
class Noise:
    seed: int
    sources = ()
    def read(self):
        samples = np.random.default_rng(self.seed).standard_normal(SECONDS * 44100, dtype=np.float32) * 0.1
        times = np.arange(0.5, SECONDS - 1, 0.1)
        return samples, Onsets.of(times, np.arange(len(times)) % 5), Counter()
def tracks(source, options):
    return (Track(f"{{n:06d}}", "train", str(n), Noise(n)) for n in range(int({hours} * 3600 / SECONDS)))
CORPORA["noise"] = CorpusSource("noise", "Noise", "none", tuple("abcde"), False, False, tracks)
prepare("noise", source=None, shards=Path(sys.argv[1]), options=PrepOptions(workers=1))
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    return float(run.stdout)


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    samples, labels = drum_hits(0, seconds=180.0)
    for track in list(SPLIT_OF)[:8]:
        write_mdb_track(folder / "source", track, samples, labels)
    (folder / "plain").mkdir()
    began = time.perf_counter()
    plain(folder / "source", folder / "plain")
    plain_s = time.perf_counter() - began
    began = time.perf_counter()
    prepare("mdb", source=folder / "source", shards=folder / "shards", options=PrepOptions(workers=1))
    ours_s = time.perf_counter() - began
    report(
        "Preparation of 24 minutes, one process (ours also reads labels, writes targets, tables and checksums)",
        ("torchaudio, dense product, torch.save", plain_s),
        ("mirtune prep", ours_s),
        target=1,
    )
    sizes = [
        sum(path.stat().st_size for path in (folder / of).rglob("*") if path.is_file()) for of in ("plain", "shards")
    ]
    print(f"  on disk {sizes[1] / sizes[0]:.2f} of the plain route's bytes\n")

short, long = peak_mib(0.5, 180), peak_mib(HOURS, 180)
print(f"Memory of one worker: {short:.0f} MiB after half an hour of audio, {long:.0f} MiB after {HOURS} hours")
