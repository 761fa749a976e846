"""How fast the renderer is, on one core, as times real time, and against the plain way to do the same in the same run.

The plain sampler adds hit by hit into a float64 track of the whole length, as one would write it first: every hit is a
full-length array. Run: python tests/benchmarks/render.py [KIT_FOLDER ...]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_prep.accompaniment import generated_accompaniment
from data_prep.augment import augment
from data_prep.grooves import STYLES, generate_groove
from data_prep.kit_splits import kits_by_split
from data_prep.kits import load_kit
from data_prep.midi import Notes
from data_prep.pieces import piece_for
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.render import render_drums
from data_prep.samples import Kit
from data_prep.spectrogram import log_spectrogram

SECONDS, TRACKS = 20.0, 24


def plainly(notes: Notes, kit: Kit) -> np.ndarray:
    """The same hits, each padded to the track's length and summed."""
    total = np.zeros(round(SECONDS * SAMPLE_RATE_HZ))
    for time_s, pitch, velocity in zip(notes.times_s, notes.pitches, notes.velocities, strict=True):
        piece = piece_for(int(pitch), kit.pieces)
        if piece is None or time_s >= SECONDS:
            continue
        voice = kit.pieces[piece][0]
        samples = voice.layers[-1].samples
        track = np.zeros(len(total))
        start = int(time_s * SAMPLE_RATE_HZ)
        track[start : start + len(samples)] = samples[: len(total) - start] * (velocity / 127) ** voice.curve
        total = total + track
    return total


def timed(name: str, work: Callable[[int], object]) -> float:
    """Run ``work`` for every track twice, and print the faster round as times real time."""
    best = np.inf
    for _ in range(2):
        before = time.perf_counter()
        for number in range(TRACKS):
            work(number)
        best = min(best, time.perf_counter() - before)
    speed = TRACKS * SECONDS / best
    print(f"{name:34} {speed:8.0f} times real time")
    return speed


def main(folders: list[Path]) -> None:
    """Print one line per part of the chain, and the ratio to the plain sampler."""
    before = time.perf_counter()
    kits = [load_kit(ref) for ref in kits_by_split(folders)["train"][:8]]
    print(
        f"{len(kits)} kits, {sum(kit.size_bytes for kit in kits) / 1e6:.0f} MB, in {time.perf_counter() - before:.2f} s"
    )
    notes = [generate_groove(STYLES[i % len(STYLES)], seed=i, bars=16) for i in range(TRACKS)]
    drums = [render_drums(n, kits[i % len(kits)], seed=i, seconds=SECONDS).samples for i, n in enumerate(notes)]
    music = [generated_accompaniment(SECONDS, i) for i in range(TRACKS)]
    fast = timed("render_drums", lambda i: render_drums(notes[i], kits[i % len(kits)], seed=i, seconds=SECONDS))
    slow = timed("plain sampler", lambda i: plainly(notes[i], kits[i % len(kits)]))
    print(f"{'ratio':34} {fast / slow:8.1f}")
    timed("generate_groove (16 bars)", lambda i: generate_groove(STYLES[i % len(STYLES)], seed=i, bars=16))
    timed("augment, with accompaniment", lambda i: augment(drums[i], music[i], seed=i))
    timed("generated_accompaniment", lambda i: generated_accompaniment(SECONDS, i))
    timed("log_spectrogram, for comparison", lambda i: log_spectrogram(drums[i]))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
