"""Transcription of a recording: onsets, a General MIDI file, a picture. T frames, F bands, K classes, N onsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from data_prep.audio import read_blocks
from data_prep.colours import colours_of
from data_prep.files import write_atomically
from data_prep.midi import DRUM_CHANNEL
from data_prep.onsets import Onsets
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused, printable
from data_prep.spectrogram import log_spectrogram_of
from trainables.checkpoint import Checkpoint
from trainables.inference import AS_IT_IS, activations
from trainables.metrics import join_tracks
from trainables.network import best_device
from trainables.peaks import PeakRule, find_peaks

# General MIDI percussion: bass drum 1, acoustic snare, low tom, closed hi-hat, crash cymbal 1 (for all cymbals, too),
# ride cymbal 1, ride bell, claves.
PITCHES = {"kick": 36, "snare": 38, "toms": 45, "hi-hat": 42, "cymbals": 49}
PITCHES |= {"crash": 49, "ride": 51, "bell": 53, "claves": 75}
TICKS_PER_BEAT, BEATS_PER_MINUTE, NOTE_S = 480, 120, 0.1


@dataclass(frozen=True)
class Transcription:
    """What was heard: onsets (velocity: the activation at the peak, 0..1), bands (T, F) and activations (T, K)."""

    onsets: Onsets
    classes: tuple[str, ...]
    bands: np.ndarray
    activations: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.bands) / FRAMES_PER_S


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
        self._checkpoint, self._gains_db = checkpoint, gains_db
        self._rule = checkpoint.peak_rule if rule is None else rule
        self._network = checkpoint.network().to(best_device())

    def transcribe(self, audio: Path) -> Transcription:
        """Onsets of a recording (wav, flac, ogg, mp3); Refused where it cannot be read."""
        bands = log_spectrogram_of(read_blocks(audio))
        precision = self._checkpoint.config.settings.precision
        found = activations(self._network, [bands], precision, self._gains_db)
        line = join_tracks(found)
        gap = (line.shape[1] - len(bands)) // 2
        frames, classes = find_peaks(line, self._rule)[0].nonzero(as_tuple=True)
        onsets = Onsets.of(
            (frames.cpu().numpy() - gap) / FRAMES_PER_S, classes.cpu().numpy(), line[0, frames, classes].cpu().numpy()
        )
        return Transcription(onsets, self._checkpoint.classes, bands, found[0].cpu().numpy())


def write_midi(transcription: Transcription, path: Path) -> None:
    """Write a General MIDI file of one drum track at 120 beats a minute, atomically; times are right to 0.6 ms."""
    ticks_per_s = TICKS_PER_BEAT * BEATS_PER_MINUTE / 60
    events = []
    for index, name in enumerate(transcription.classes):
        own = transcription.onsets[transcription.onsets.classes == index]
        ends_s = np.minimum(own.times_s + NOTE_S, np.append(own.times_s[1:], np.inf))  # no note outlasts the next
        for time_s, end_s, strength in zip(own.times_s, ends_s, own.velocities, strict=True):
            velocity = int(np.clip(np.rint(127 * strength), 1, 127))
            events.append((round(time_s * ticks_per_s), 1, PITCHES[name], velocity))
            events.append((round(end_s * ticks_per_s), 0, PITCHES[name], 0))
    track = mido.MidiTrack([mido.MetaMessage("track_name", name="Drums"), mido.MetaMessage("set_tempo", tempo=500_000)])
    now = 0
    for tick, is_on, pitch, velocity in sorted(events):  # at one tick offs come before ons
        kind = "note_on" if is_on else "note_off"
        track.append(mido.Message(kind, channel=DRUM_CHANNEL, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    with write_atomically(path) as temporary:
        mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(temporary)


def plot(
    transcription: Transcription, path: Path, *, title: str = "", from_s: float = 0.0, seconds: float = 20.0
) -> None:
    """Write a PNG of spectrogram, activations and onsets of an excerpt, atomically."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    first = int(from_s * FRAMES_PER_S)
    shown = slice(first, first + int(seconds * FRAMES_PER_S))
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
