"""What a short track costs beyond its audio: generated files of a second, silence with clicks, laid out as E-GMD is.

E-GMD has 45,537 of them. The cost of the audio is that of decoding the same files and making their features, by direct
calls in the same run. Run: python tests/benchmarks/short_tracks.py [--tracks 45000] [--profile]
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
import soundfile
from stages import print_shares, seconds_by_stage

from data_prep.corpora import PrepOptions
from data_prep.corpora.egmd import COLUMNS, TABLE
from data_prep.job import plan, prepare
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.workers import start_ray

MOST_MS = 5.0
PITCHES = (36, 38, 42, 46, 48)  # of kick, snare, hi-hat, open hi-hat, tom
FILES_A_FOLDER = 1000


def generate(folder: Path, tracks: int) -> None:
    """Write so many seconds of silence with four clicks each, a MIDI file of them, and the table of all."""
    rows, generator = [",".join(COLUMNS)], np.random.default_rng(0)
    for number in range(tracks):
        name = f"{number // FILES_A_FOLDER}/{number:05d}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        at_ms = np.sort(generator.choice(np.arange(10, 900, 40), 4, replace=False))
        samples = np.zeros(SAMPLE_RATE_HZ, np.int16)
        samples[at_ms * SAMPLE_RATE_HZ // 1000] = 20_000
        soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE_HZ)
        write_midi(folder / f"{name}.midi", at_ms, generator.choice(PITCHES, 4))
        split = "train" if number % 10 < 8 else ("validation", "test")[number % 2]
        rows.append(",".join((str(number), "1.0", split, f"{name}.midi", f"{name}.wav")))
    (folder / TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_midi(path: Path, at_ms: np.ndarray, pitches: np.ndarray) -> None:
    """Notes at whole milliseconds: 500 ticks a beat of half a second."""
    track = mido.MidiTrack()
    for wait_ms, pitch in zip(np.diff(at_ms, prepend=0), pitches, strict=True):
        track.append(mido.Message("note_on", channel=9, note=int(pitch), velocity=100, time=int(wait_ms)))
        track.append(mido.Message("note_off", channel=9, note=int(pitch), time=0))
    mido.MidiFile(tracks=[track], ticks_per_beat=500).save(path)


def core_seconds() -> float:
    """Processor seconds so far of this process and of what it started, Ray's workers and servers included."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # from the state on
        except OSError:  # ended meanwhile
            continue
        parents[int(path.parent.name)] = int(fields[1])
        ticks[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while grown := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= grown
    return sum(ticks[process] for process in ours) / os.sysconf("SC_CLK_TCK")


def main(tracks: int, profile: bool) -> None:
    """Print milliseconds a track beyond its audio for one worker and for two, and where they go."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "source", tracks)
        start_ray()
        listed = plan("egmd", folder / "source", PrepOptions())[3]
        print(f"{tracks:,} tracks of a second; asked for: under {MOST_MS:g} ms beyond their audio")
        for workers in (1, 2):
            options = PrepOptions(workers=workers)
            began, began_core_s = time.perf_counter(), core_seconds()
            manifest = prepare("egmd", source=folder / "source", shards=folder / f"shards-{workers}", options=options)
            wall_s, core_s = time.perf_counter() - began, core_seconds() - began_core_s
            assert sum(split.tracks for split in manifest.splits.values()) == tracks, manifest.refused[:3]
            stages = seconds_by_stage(listed, options.classes, time.process_time)
            audio_s = stages.pop("decode") + stages.pop("features")
            each = 1000 / tracks
            beyond_ms = (core_s - audio_s) * each
            print(f"\n{workers} worker(s): {core_s * each:.2f} ms of a core a track")
            print(f"  by the clock {wall_s * workers * each:.2f}, more where other work keeps the cores")
            verdict = "" if beyond_ms < MOST_MS else "  <-- MISSED"
            print(f"  {audio_s * each:.2f} of it audio, {beyond_ms:.2f} beyond{verdict}")
            print_shares(stages, core_s - audio_s, lambda seconds: f"{seconds * 1000 / tracks:9.3f} ms a track")
        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(
                prepare, "egmd", source=folder / "source", shards=folder / "profiled", options=PrepOptions(workers=1)
            )
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=4_500)
    parser.add_argument("--profile", action="store_true", help="also profile one worker")
    main(**vars(parser.parse_args()))
