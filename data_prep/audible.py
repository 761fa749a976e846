"""Which hits can be heard in a mix: a label that nobody could hear would teach a network to guess.

A third of the snare hits of human performances are played at a quarter of full force or less; under loud music some of
them leave no trace. People who annotate recordings do not write such hits down. T frames, F bands, N onsets.
"""

from functools import cache

import numpy as np

from data_prep.midi import Notes
from data_prep.onsets import onset_frames
from data_prep.pieces import PIECE_CLASS, PITCHES
from data_prep.render import STEMS, Rendered
from data_prep.spectrogram import filterbank, log_spectrogram

RISE, OCTAVES = 0.3, 0.5  # of the mix (-10 dB), in bands that make up half an octave
BEFORE_FRAMES, AFTER_FRAMES = 3, 3  # the rise is from the quietest frame before to the loudest after
SILENT = 1e-4  # the front end's magnitude of what is no sound


@cache
def band_octaves() -> np.ndarray:
    """(F,) how much of an octave each band stands for: much at the bottom, where a band is one bin."""
    return np.gradient(np.log2(filterbank().argmax(axis=1)))


def audible(stem: np.ndarray, mix: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the magnitudes (T, F) of what is struck rise by RISE of the mix's (T, F) in OCTAVES.

    ``frames``: (N,) where the hits are. Before the first frame there is silence.
    """
    last = len(stem) - 1
    padded = np.concatenate([np.zeros_like(stem[:BEFORE_FRAMES]), stem])
    lead = len(padded) - len(stem)
    before = np.min([padded[frames + lead - step] for step in range(1, lead + 1)], axis=0)  # (N, F)
    after = [np.clip(frames + step, 0, last) for step in range(AFTER_FRAMES + 1)]
    heard = np.max([(stem[at] - before) / (mix[at] + SILENT) for at in after], axis=0)
    return (heard >= RISE) @ band_octaves() >= OCTAVES


def magnitudes(samples: np.ndarray) -> np.ndarray:
    """(S,) -> (T, F) float32 of the front end, before its logarithm."""
    return np.expm1(log_spectrogram(samples) * np.float32(np.log(10)))


def heard_notes(notes: Notes, stems: Rendered, drums: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """(N,) bool: which notes can be heard in the mix (S,); those that mean no piece of a kit count as heard.

    ``stems`` are the drum classes as they were played, ``drums`` (S,) all of them as they are in the mix: what was done
    to them together was done to each.
    """
    heard = np.ones(len(notes), bool)
    frames, mixed = onset_frames(notes.times_s), magnitudes(mix)
    changed = magnitudes(drums) / (magnitudes(stems.samples.sum(axis=0)) + SILENT)
    rows = np.array([STEMS.index(PIECE_CLASS[PITCHES[p]]) if p in PITCHES else -1 for p in notes.pitches.tolist()])
    for row, stem in enumerate(stems.samples):
        own = (rows == row) & stems.sounded
        if own.any():
            heard[own] = audible(magnitudes(stem) * changed, mixed, frames[own])
    return heard
