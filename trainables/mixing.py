"""Training windows that never come twice: classes, music and room mixed anew on the device of the training.

B batch, T frames, L frames read for them, S stems (classes), F bands, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused
from data_prep.render import STEMS
from data_prep.spectrogram import BANDS
from trainables.augmentation import (
    Draws,
    amplitude,
    audible,
    dynamics,
    equaliser,
    pitch_matrix,
    power,
    reverberation,
    stretched,
    stretched_targets,
    together,
)
from trainables.config import Augmentation, Settings
from trainables.data import Spans, SplitData, TrainingData
from trainables.level import LEVELS, bands_of, magnitudes_of
from trainables.placement import Batches, Windows, place

MOST_TONAL = 0.5  # see trainables.augmentation.together
EXPONENTS = 0.6, 1.4  # of dynamics: from compressed to expanded
MIX_EXPONENTS = 0.7, 1.0
ROOM_S, ROOM_WET_DB = (0.15, 0.8), (-26.0, -8.0)
ROOM_DARKENING = 0.5  # the highest band's reverberation lasts this much of the lowest's
NOISE_DB = -60.0, -25.0  # under the mix
SILENCE_LEVEL = 1e-4
LEAST_POWER = 1e-6
MOMENTS_WINDOWS = 256  # that mean and deviation are taken from


class MixedWindows(Windows):
    """Windows of all corpora that are to be learned from, each changed and mixed with others by chance.

    The sources are stems, or recordings as they are (which count as one stem); music goes under them. An epoch has
    ``settings.epoch_windows`` windows, or as many as there are. Everything is drawn from the generator that is given.
    """

    kind = "mixed"

    def __init__(self, data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0) -> None:
        super().__init__(data.sources[0], device)
        self.augmentation, self.change = settings.augmentation, LEVELS[settings.level]
        self._sources = [place(split, device, share) for split in data.sources]
        self._music = place(data.music, device, share) if data.music is not None else None
        self._stems = max(split.bands for split in data.sources) // BANDS
        self._sizes = np.array([len(split) for split in data.sources])
        self._windows = settings.epoch_windows or int(self._sizes.sum())
        self._apart = np.array([split.bands > BANDS for split in data.sources])  # stems, not recordings as they are
        self._stem_of = [STEMS.index(name) if name in STEMS else None for name in data.classes]
        self._long = WINDOW_FRAMES
        if settings.augmentation.stretch:
            self._long = math.ceil(WINDOW_FRAMES * (1 + settings.augmentation.stretch)) + 2

    def __len__(self) -> int:
        return self._windows

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """An epoch: windows drawn from all corpora alike, each mixed by chance."""
        chance = torch.Generator(self.device)
        chance.manual_seed(int(generator.integers(1 << 62)))
        draws = Draws(chance)
        for first in range(0, self._windows, batch_size):
            count = min(batch_size, self._windows - first)
            places = generator.integers(self._sizes.sum(), size=count)
            yield self._mixed(places, draws, generator)

    def in_order(self, batch_size: int) -> Batches:
        """Mixed windows have no order."""
        raise NotImplementedError

    _batches = None  # type: ignore[assignment]

    def moments(self, seed: int) -> tuple[float, float]:
        """Mean and deviation of the values that a network will be given."""
        bands = next(self.shuffled(MOMENTS_WINDOWS, np.random.default_rng(seed)))[0]
        return float(bands.mean()), float(bands.std())

    def _source_of(self, places: np.ndarray) -> np.ndarray:
        """Which source each window numbered through all of them is from."""
        return np.searchsorted(self._sizes.cumsum(), places, side="right")

    def _read(self, places: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Stems (B, L, S, F) float16 and halves (B, L, K) of windows numbered through all corpora."""
        stems = torch.zeros(len(places), self._long, self._stems, BANDS, dtype=torch.float16, device=self.device)
        halves = torch.zeros(len(places), self._long, self.split.classes, dtype=torch.uint8, device=self.device)
        firsts, of = self._sizes.cumsum() - self._sizes, self._source_of(places)
        for number, windows in enumerate(self._sources):
            rows = np.flatnonzero(of == number)
            if len(rows):
                spans = spans_near(windows.split, places[rows] - firsts[number], self._long, generator)
                bands, targets = windows.read(spans, self._long)
                there = torch.from_numpy(rows).to(self.device)
                stems[there, :, : windows.split.bands // BANDS] = bands.unflatten(2, (-1, BANDS))
                halves[there] = targets
        return stems, halves

    def _mixed(self, places: np.ndarray, draws: Draws, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One batch: bands (B, T, F) float32 at the policy's level, give or take the gain, and halves (B, T, K)."""
        wanted, count = self.augmentation, len(places)
        stems, halves = self._read(places, generator)
        if wanted.stretch:
            speeds = 1 + draws.between(-wanted.stretch, wanted.stretch, count)
            halves = stretched_targets(halves, torch.zeros_like(speeds), speeds, WINDOW_FRAMES)
            stems = stretched(stems, speeds.unsqueeze(1) * torch.arange(WINDOW_FRAMES, device=self.device))
        parts, recording = self._recording_of(magnitudes_of(stems).transpose(1, 2), draws)
        empty = draws.chance(wanted.bleed_share + wanted.silence_share, count)
        silent = empty & draws.chance(
            wanted.silence_share / max(wanted.bleed_share + wanted.silence_share, 1e-9), count
        )
        mix = self._with_music(recording, empty, draws, generator)
        if wanted.noise_share:
            mix = with_noise(mix, wanted.noise_share, draws)
        if wanted.audible_rise and self._stems > 1:
            heard = audible(parts, mix, halves, self._stem_of, wanted.audible_rise)
            halves = torch.where(
                torch.from_numpy(self._apart[self._source_of(places)]).to(self.device)[:, None, None], heard, halves
            )
        if wanted.compression_share:
            exponents = 1 - draws.chance(wanted.compression_share, count) * (1 - draws.between(*MIX_EXPONENTS, count))
            mix = dynamics(mix, exponents)
        if wanted.equaliser_db:
            mix = mix * amplitude(equaliser(draws, wanted.equaliser_db, count)).unsqueeze(1)
        if self.change is not None:
            mix = self.change(mix)
        gains = draws.between(-wanted.gain_db, wanted.gain_db, count)
        mix = mix * amplitude(gains)[:, None, None]
        if wanted.silence_share:
            mix = torch.where(silent[:, None, None], draws.between(0, SILENCE_LEVEL, *mix.shape), mix)
        return bands_of(mix), halves * ~empty[:, None, None]

    def _recording_of(self, stems: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """(B, S, T, F) magnitudes of the stems -> the same as they are in the recording, and (B, T, F) of all of it."""
        wanted, (count, classes) = self.augmentation, stems.shape[:2]
        if wanted.class_gain_db or wanted.class_equaliser_db or wanted.class_pitch_semitones or wanted.pitch_semitones:
            stems = stems @ self._shaping(count, classes, draws)
        if wanted.compression_share:
            changed = draws.chance(wanted.compression_share, count, classes)
            stems = dynamics(stems, 1 - changed * (1 - draws.between(*EXPONENTS, count, classes)))
        recording = together(stems, draws.between(0, MOST_TONAL, count))
        if not wanted.room_share:
            return stems, recording
        seconds = draws.between(*ROOM_S, count, 1)
        shorter = torch.linspace(1, ROOM_DARKENING, BANDS, device=self.device)
        decays = 10 ** (-6 / (seconds * shorter * FRAMES_PER_S))  # of power: 60 dB in ``seconds``
        wet = amplitude(draws.between(*ROOM_WET_DB, count)) * draws.chance(wanted.room_share, count)
        echo = reverberation(recording.square(), decays)
        return stems, (recording.square() + echo * wet[:, None, None].square()).sqrt_()

    def _shaping(self, count: int, classes: int, draws: Draws) -> Tensor:
        """(B, S, F, F): each class's gain, equaliser and pitch, and the pitch of all, as one matrix."""
        wanted = self.augmentation
        semitones = draws.between(-wanted.pitch_semitones, wanted.pitch_semitones, count, 1)
        own = draws.between(-wanted.class_pitch_semitones, wanted.class_pitch_semitones, count, classes)
        gains_db = draws.normal(wanted.class_gain_db, count, classes, 1)
        gains_db = gains_db + equaliser(draws, wanted.class_equaliser_db, count, classes)
        return pitch_matrix(semitones + own) * amplitude(gains_db).unsqueeze(-2)

    def _with_music(self, recording: Tensor, empty: Tensor, draws: Draws, generator: np.random.Generator) -> Tensor:
        """(B, T, F) with music under some, and in the place of the recording where the window is ``empty`` (B,)."""
        wanted, count = self.augmentation, len(recording)
        recording = recording * ~empty[:, None, None]
        if self._music is None or not (wanted.music_share or wanted.bleed_share):
            return recording
        spans = spans_near(self._music.split, generator.integers(len(self._music), size=count), self._long, generator)
        music = magnitudes_of(self._music.read(spans, WINDOW_FRAMES)[0])
        if wanted.pitch_semitones or wanted.equaliser_db:
            semitones = draws.between(-wanted.pitch_semitones, wanted.pitch_semitones, count)
            gains = amplitude(equaliser(draws, wanted.equaliser_db, count)).unsqueeze(1)
            music = music @ (pitch_matrix(semitones) * gains)
        ratio_db = draws.between(wanted.over_music_low_db, wanted.over_music_high_db, count)
        factor = (power(recording) / power(music).clamp(min=LEAST_POWER)).sqrt() / amplitude(ratio_db)
        factor = torch.where(empty | (power(recording) < LEAST_POWER), 1.0, factor)
        factor = factor * (empty | draws.chance(wanted.music_share, count))
        both = torch.stack((recording, music * factor[:, None, None]), dim=1)
        return together(both, draws.between(0, MOST_TONAL, count))


def with_noise(mix: Tensor, share: float, draws: Draws) -> Tensor:
    """(B, T, F) with steady noise of a colour by chance under some."""
    count = len(mix)
    colour = amplitude(equaliser(draws, 10.0, count)).unsqueeze(1)
    level = mix.mean(dim=(1, 2)) * amplitude(draws.between(*NOISE_DB, count)) * draws.chance(share, count)
    grain = draws.between(0.5, 1.5, *mix.shape)
    return (mix.square() + (grain * colour * level[:, None, None]).square()).sqrt()


def spans_near(split: SplitData, numbers: np.ndarray, frames: int, generator: np.random.Generator) -> Spans:
    """Windows by their numbers, each moved by up to half a window and kept within its track as far as that is long."""
    shifts = generator.integers(-WINDOW_FRAMES // 2, WINDOW_FRAMES // 2 + 1, len(numbers))
    tracks, starts = (of[numbers] for of in split.in_order)
    return Spans(tracks, np.clip(starts + shifts, 0, np.maximum(split.frames[tracks] - frames, 0)))


def check_recipe(mixed: Sequence[str], settings: Settings) -> None:
    """Refused where corpora that are there to be mixed, by their names, stand beside settings that mix nothing."""
    if mixed and settings.recipe == "study" and settings.augmentation.is_off:
        raise Refused(
            f"{', '.join(map(repr, mixed))} {'is' if len(mixed) == 1 else 'are'} there to be mixed in training, which "
            "the recipe study does not do; train by the recipe mirtune, or name other corpora alone"
        )


def training_windows(data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0) -> Windows:
    """The windows a network learns from: as they lie in the shards, or mixed anew where the settings ask for it.

    Raises Refused where ``check_recipe`` does.
    """
    check_recipe(data.mixed, settings)
    asked: Augmentation = settings.augmentation
    if asked.is_off and settings.level == "as_recorded" and not settings.epoch_windows and len(data.sources) == 1:
        return place(data.sources[0], device, share)
    return MixedWindows(data, settings, device, share)


def as_heard(data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0) -> TrainingData:
    """The data with mean and deviation as a network is given its values: of mixed windows where they are mixed."""
    windows = training_windows(data, settings, device, share)
    if not isinstance(windows, MixedWindows):
        return data
    mean, deviation = windows.moments(settings.seed)
    return replace(data, mean=mean, deviation=deviation)
