"""A track with a click on each onset, so that a person can hear whether the labels fit. S samples, K classes.

The music is on the left and the clicks are on the right: the balance lets a listener turn either down, an editor shows
each as a waveform of its own, and no click covers the attack that it marks. Time in the file is time in the labels.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from data_prep.corpora import CORPORA, Track
from data_prep.corpora.track import Framed
from data_prep.files import checksum, disk_space, write_atomically
from data_prep.manifest import CLEAN
from data_prep.onsets import Onsets
from data_prep.options import check_options, options_of
from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.spectrogram import frame_count, log_spectrogram_of

LOWEST_HZ, HIGHEST_HZ = 300.0, 3_600.0  # a vocabulary's first and last class; the others evenly between, to the ear
CLICK_S, DECAY_S = 0.06, 0.01
LEVEL = 0.3  # three at once do not clip
QUIETEST_DB, UNKNOWN_DB = -20.0, -6.0  # of velocity 0, and of a velocity that nobody wrote down
# Between float16 spectrograms of one rendering on two machines; another kit differs by a hundred times as much.
MAX_DIFFERENCE = 1e-3


def click_sounds(classes: int) -> np.ndarray:
    """(K, S) float32: a short tone a class, at its loudest in its first sample; the first class is the lowest."""
    clock_s = np.arange(round(CLICK_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitches_hz = np.geomspace(LOWEST_HZ, HIGHEST_HZ, classes)[:, None]
    fade = np.minimum(1, (CLICK_S - clock_s) / DECAY_S)
    return (np.cos(2 * np.pi * pitches_hz * clock_s) * np.exp(-clock_s / DECAY_S) * fade).astype(np.float32)


def click_levels(velocities: np.ndarray) -> np.ndarray:
    """(N,) amplitudes: 20 dB from velocity 0 to 1."""
    decibels = np.where(np.isnan(velocities), UNKNOWN_DB, QUIETEST_DB * (1 - velocities))
    return LEVEL * 10 ** (decibels / 20)


def with_clicks(blocks: Iterable[np.ndarray], onsets: Onsets, classes: int) -> Iterator[np.ndarray]:
    """Consecutive blocks (S,) of music -> blocks (S, 2) float32 of music and clicks; the last click rings out."""
    sounds = click_sounds(classes)
    ring = sounds.shape[1]
    ringing = np.zeros(ring, np.float32)
    starts = np.rint(onsets.times_s * SAMPLE_RATE_HZ).astype(np.int64)
    levels = click_levels(onsets.velocities)
    begin = 0
    for music in chain(blocks, [np.zeros(ring, np.float32)]):
        clicks = np.zeros(len(music) + ring, np.float32)
        clicks[:ring] = ringing
        for index in range(*np.searchsorted(starts, [begin, begin + len(music)])):
            at = starts[index] - begin
            clicks[at : at + ring] += levels[index] * sounds[onsets.classes[index]]
        yield np.stack([music, clicks[: len(music)]], axis=1)
        ringing = clicks[len(music) :]
        begin += len(music)


def write_clicks(corpus: Corpus, row: Any, onsets: Onsets, path: Path, *, source: Path | None = None) -> list[str]:
    """Write a track with clicks as a 16-bit WAV, atomically and in constant memory; returns what to be wary of.

    The audio is read, or rendered, anew; ``source`` is the corpus's folder where it has moved. Raises Refused where
    there is no audio, or it is not what the corpus was prepared from.
    """
    track, remarks = _track_again(corpus, row, source)
    with _writing(path), write_atomically(path) as temporary:
        peaks = _write(temporary, corpus, row, track, onsets, np.ones(2, np.float32))
        if peaks.max() > 1:  # floats, mixes and chords of clicks: too rare to measure every track beforehand
            _write(temporary, corpus, row, track, onsets, 1 / np.maximum(peaks, 1))
    return remarks


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Refused where the disk is full; libsndfile does not say whether it is."""
    try:
        with disk_space(path.parent):
            yield
    except soundfile.SoundFileError as error:
        raise Refused(
            f"{path} cannot be written ({error}); there may be no space left on its disk: free some, or give another "
            "--out"
        ) from error


def _write(path: Path, corpus: Corpus, row: Any, track: Track, onsets: Onsets, gains: np.ndarray) -> np.ndarray:
    """Write the WAV with a gain for each channel and return the channels' peaks before it."""
    heard = track.recording.read()
    if isinstance(heard, Framed):
        raise _no_audio(corpus)
    peaks, samples = np.zeros(2, np.float32), 0

    def written() -> Iterator[np.ndarray]:
        """The blocks of music, each written when the next is asked for."""
        nonlocal peaks, samples
        for channels in with_clicks(heard.blocks, onsets, len(corpus.manifest.classes)):
            peaks = np.maximum(peaks, np.abs(channels).max(axis=0, initial=0))
            file.write(channels * gains)
            samples += len(channels)
            yield channels[:, 0]

    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 2, "PCM_16", format="WAV") as file:
        if track.recording.audio:  # their checksums are right
            deque(written(), maxlen=0)
            difference = 0.0
        else:  # rendered, so that it is in memory as a whole anyway
            bands, (prepared, _) = log_spectrogram_of(written())[: row.frames], corpus.frames(row)
            difference = float(np.abs(bands - prepared).mean(dtype=np.float64)) if len(bands) == row.frames else np.inf
    prepare = corpus.manifest.command_into(corpus.folder)
    ringing_out = click_sounds(1).shape[1]
    if frame_count(samples - ringing_out) != row.frames or difference > MAX_DIFFERENCE:
        raise Refused(
            f"track {row.id} sounds otherwise now than when corpus {corpus.manifest.corpus!r} was prepared (kits, "
            f"accompaniment or mirtune changed since), so its clicks would mislead; run `{prepare}` again"
        )
    return peaks


def _track_again(corpus: Corpus, row: Any, source: Path | None) -> tuple[Track, list[str]]:
    """The track as its corpus module yields it now, and remarks; Refused where its audio is missing or has changed."""
    manifest = corpus.manifest
    if not manifest.whole_tracks:
        raise _no_audio(corpus)
    if manifest.adapter not in CORPORA:
        raise Refused(
            f"corpus {manifest.corpus!r} was read as {manifest.adapter!r}, which this mirtune does not know; "
            f"expected one of {', '.join(sorted(CORPORA))}: prepare it again"
        )
    prepare = manifest.command_into(corpus.folder)
    described, options = CORPORA[manifest.adapter], options_of(manifest)
    folder = source or (Path(manifest.source) if manifest.source else None)
    if source is None and folder is not None and not folder.is_dir():
        raise Refused(
            f"corpus {manifest.corpus!r} was prepared from {folder}, which is no folder here; say where its audio is "
            "now with --source DIR"
        )
    check_options(described, folder, options)
    track = next((track for track in described.tracks(folder, options) if track.id == row.id), None)
    if track is None or len(track.recording.sources) != len(row.checksums):
        raise Refused(
            f"{folder or described.title} no longer holds track {row.id} as corpus {manifest.corpus!r} was prepared "
            f"from it; give the right folder with --source, or run `{prepare}` again"
        )
    remarks = []
    for path, expected in zip(track.recording.sources, row.checksums, strict=True):
        if not path.is_file():
            raise Refused(f"no file {path}, from which track {row.id} was prepared; give its folder with --source DIR")
        if checksum(path) == expected:
            continue
        if path in track.recording.audio:
            raise Refused(
                f"{path} is not the audio that corpus {manifest.corpus!r} was prepared from (its checksum differs), so "
                f"its clicks would mislead; restore it, or run `{prepare}` again"
            )
        remarks.append(
            f"{path} has changed since corpus {manifest.corpus!r} was prepared: these are the onsets from before; "
            f"`{prepare}` reads it again"
        )
    return track, remarks


def _no_audio(corpus: Corpus) -> Refused:
    was = "was published as" if corpus.manifest.condition == CLEAN else "is there for training to mix and holds"
    return Refused(
        f"corpus {corpus.manifest.corpus!r} ({corpus.manifest.title}) {was} spectrograms without audio, so "
        "there is nothing to put clicks on; leave out --click and look at the picture"
    )
