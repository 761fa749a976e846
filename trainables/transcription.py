"""Transcription of a recording of any length: onsets, a picture. S samples, T frames, F bands, K classes, N onsets.

A recording passes as a stream: decoded, its bands, windows through the network, peaks. Memory holds a batch of windows
and what an excerpt needs, so that an hour takes no more of it than a minute.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.audio import read_blocks
from data_prep.colours import colours_of
from data_prep.files import write_atomically
from data_prep.onsets import Onsets
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused, printable
from data_prep.spectrogram import log_spectrogram_blocks
from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint
from trainables.inference import AS_IT_IS, activation_blocks
from trainables.network import best_device
from trainables.notation import NOTE_MAPS, WRITERS, NotationOptions, Transcribed
from trainables.peaks import PeakRule
from trainables.transcribing_peaks import Peaks, PeakStream
from trainables.transcribing_samples import sample_blocks

PITCHES = NOTE_MAPS["gm"]  # by class
SHOWN_S = 20.0  # of a recording in a picture


@dataclass(frozen=True)
class Transcription:
    """What was heard: onsets of the whole recording (velocity: the activation at the peak, 0..1), and an excerpt.

    Of the excerpt, which begins at ``first_frame``, there are bands (T, F) and activations (T, K). ``frames`` are those
    of the recording; where none are told it is the excerpt.
    """

    onsets: Onsets
    classes: tuple[str, ...]
    bands: np.ndarray
    activations: np.ndarray
    first_frame: int = 0
    frames: int | None = None

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return (len(self.bands) if self.frames is None else self.frames) / FRAMES_PER_S

    def titled(self, title: str) -> Transcribed:
        """What is given to those who write it down."""
        return Transcribed(self.onsets, self.classes, self.seconds, title)


class Transcriber:
    """A checkpoint ready to transcribe: loaded once, used for any number of recordings.

    ``rule`` picks the peaks in the place of the checkpoint's own; activations are means over ``gains_db``. Refused
    where the checkpoint has classes that are no General MIDI percussion.
    """

    def __init__(
        self, checkpoint: Checkpoint, rule: PeakRule | None = None, gains_db: Sequence[float] = AS_IT_IS
    ) -> None:
        if strangers := [name for name in checkpoint.classes if name not in PITCHES]:
            known = ", ".join(PITCHES)
            raise Refused(f"the checkpoint has a class {strangers[0][:40]!r}; expected some of {known}: give another")
        self.classes = checkpoint.classes
        self._precision, self._gains_db = checkpoint.config.settings.precision, gains_db
        self._rule = checkpoint.peak_rule if rule is None else rule
        self._rule.thresholds_of(len(self.classes))
        self._network = checkpoint.network().to(best_device())

    def transcribe(self, audio: Path, excerpt_s: tuple[float, float] = (0.0, SHOWN_S)) -> Transcription:
        """Onsets of a recording (wav, flac, ogg, mp3); Refused where it cannot be read.

        Bands and activations are kept of the excerpt, from one second to another: (0, inf) for all of them.
        """
        return self.transcribe_blocks(read_blocks(audio), excerpt_s)

    def transcribe_blocks(
        self, blocks: Iterable[np.ndarray], excerpt_s: tuple[float, float] = (0.0, SHOWN_S)
    ) -> Transcription:
        """``transcribe`` for consecutive blocks (S,) of mono float32 samples in [-1, 1] at 44.1 kHz."""
        first, end = (min(max(of * FRAMES_PER_S, 0.0), 1e12) for of in excerpt_s)
        bands, shown = Excerpt(int(first), int(end)), Excerpt(int(first), int(end))
        peaks, found = PeakStream(self._rule, len(self.classes)), list[Peaks]()
        passing = bands.passing(log_spectrogram_blocks(blocks))
        for activations in activation_blocks(self._network, passing, self._precision, self._gains_db):
            shown.add(activations)
            found.append(peaks.feed(activations))
        found.append(peaks.finish())
        frames, classes, strengths = (torch.cat(of).numpy() for of in zip(*found, strict=True))
        onsets = Onsets.of(frames / FRAMES_PER_S, classes, strengths)
        return Transcription(onsets, self.classes, bands.held(), shown.held(), int(first), bands.passed)


class Excerpt:
    """The frames of a stream from ``first`` to before ``end``."""

    def __init__(self, first: int, end: int) -> None:
        self._first, self._end, self.passed = first, end, 0
        self._kept: list[np.ndarray] = []

    def add(self, block: np.ndarray | Tensor) -> None:
        """The stream's next frames (T, ...)."""
        own = slice(max(self._first - self.passed, 0), max(self._end - self.passed, 0))
        if not self._kept or (self.passed < self._end and self.passed + len(block) > self._first):
            kept = block[own]
            self._kept.append(kept.cpu().numpy() if isinstance(kept, Tensor) else kept)
        self.passed += len(block)

    def passing(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks as they are, each added."""
        for block in blocks:
            self.add(block)
            yield block

    def held(self) -> np.ndarray:
        """All of the excerpt that there was."""
        return np.concatenate(self._kept)


def transcribe(
    path_or_samples: Any,
    rate: int | None = None,
    *,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    rule: PeakRule | None = None,
    gains_db: Sequence[float] = AS_IT_IS,
) -> Onsets:
    """Onsets of a recording, by the checkpoint that comes with mirtune or another one.

    The recording is the path of a file (wav, flac, ogg, mp3), or samples (S,) or (S, channels), which have a ``rate`` a
    second: floats in [-1, 1], or PCM integers of 8, 16 or 32 bits. Times are seconds, classes indices into the
    checkpoint's, velocities the network's activation at each onset, 0..1. Raises Refused, a ValueError, where the
    recording cannot be read. ``checkpoint`` is a folder or what was loaded of one; who transcribes much with another
    than the default makes a ``Transcriber`` once instead.

        onsets = transcribe("song.flac")
        kicks_s = onsets.times_s[onsets.classes == 0]
    """
    if isinstance(path_or_samples, str | os.PathLike):
        if rate is not None:
            raise Refused(f"a rate of {str(rate)[:40]} for a file, which tells its own; give none")
        blocks = read_blocks(Path(path_or_samples))
    else:
        blocks = sample_blocks(path_or_samples, rate)
    if checkpoint is None and rule is None and tuple(gains_db) == AS_IT_IS:
        return default_transcriber().transcribe_blocks(blocks).onsets
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint.load(DEFAULT_FOLDER if checkpoint is None else Path(checkpoint))
    return Transcriber(checkpoint, rule, gains_db).transcribe_blocks(blocks).onsets


@cache
def default_transcriber() -> Transcriber:
    """The checkpoint that comes with mirtune, ready; loaded once in a process."""
    return Transcriber(Checkpoint.load(DEFAULT_FOLDER))


def write_midi(transcription: Transcription, path: Path, options: NotationOptions | None = None) -> None:
    """Write a General MIDI file of one track, atomically; for other formats see trainables.notation.WRITERS."""
    WRITERS["midi"].write(transcription.titled(""), path, options or NotationOptions())


def plot(
    transcription: Transcription, path: Path, *, title: str = "", from_s: float = 0.0, seconds: float = SHOWN_S
) -> None:
    """Write a PNG of spectrogram, activations and onsets of an excerpt, atomically."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    first = max(int(from_s * FRAMES_PER_S) - transcription.first_frame, 0)
    shown = slice(first, first + int(seconds * FRAMES_PER_S))
    from_s = (transcription.first_frame + first) / FRAMES_PER_S
    bands, strengths = transcription.bands[shown], transcription.activations[shown]
    extent_s = (from_s, from_s + len(bands) / FRAMES_PER_S)
    classes = transcription.classes
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(14, 7), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    above.imshow(bands.T, origin="lower", aspect="auto", cmap="magma", extent=(*extent_s, 0, bands.shape[1]))
    above.set(ylabel="band")
    above.set_title(printable(title), parse_math=False)  # the name of a file may have dollars
    times_s = np.arange(len(bands)) / FRAMES_PER_S + from_s
    for index, colour in enumerate(colours_of(classes)):
        floor = len(classes) - 1 - index
        below.fill_between(times_s, floor, floor + 0.9 * strengths[:, index], color=colour, alpha=0.45, linewidth=0)
        of = transcription.onsets
        at = of.times_s[(of.classes == index) & (of.times_s >= extent_s[0]) & (of.times_s < extent_s[1])]
        below.vlines(at, floor, floor + 0.9, color=colour, linewidth=1.2)
    below.set_yticks([len(classes) - 0.6 - index for index in range(len(classes))], classes)
    below.set(xlabel="time (s)", ylim=(0, len(classes)), xlim=extent_s)
    below.grid(axis="x", alpha=0.3)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
