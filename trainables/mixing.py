"""Training windows that never come twice: classes, music and room mixed anew on the device of the training.

B batch, T frames, L frames read for them, S stems (classes), F bands, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import WINDOW_FRAMES
from data_prep.refused import Refused
from data_prep.render import STEMS
from data_prep.spectrogram import BANDS
from trainables.augmentation import Draws, stretched, stretched_targets
from trainables.config import Augmentation, Settings
from trainables.data import TrainingData
from trainables.level import LEVELS, bands_of, magnitudes_of
from trainables.placement import Batches, TrainingWindows, place
from trainables.studio import Studio
from trainables.weighting import WeightedWindows, shares_of, spans_near

SIZE_POWER = 0.5  # how often windows are drawn from recordings and from stems grows with the root of how many there are
STRETCHED_SHARE = 0.5  # of the windows: between frames attacks are softer, which those that are heard in use are not
LEAST_DEVIATION = 0.01  # of a band, so that one without sound is not blown up
MOMENTS_BATCH, MOMENTS_BATCHES = 32, 8  # that mean and deviation are taken from


class MixedWindows(TrainingWindows):
    """Windows of all corpora that are to be learned from, each changed and mixed with others by chance.

    The sources are stems, or recordings as they are (which count as one stem); music goes under them. An epoch has
    ``settings.epoch_windows`` windows, or as many as there are. Everything is drawn from the generator that is given.
    """

    kind = "mixed"

    def __init__(self, data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0) -> None:
        super().__init__(data.sources[0], device)
        self.augmentation, self._level = settings.augmentation, LEVELS[settings.level]
        self._sources = [place(split, device, share, data.splits) for split in data.sources]
        self._music = place(data.music, device, share, data.splits) if data.music is not None else None
        self._stems = max(split.bands for split in data.sources) // BANDS
        self._sizes = np.array([len(split) for split in data.sources])
        self._firsts = self._sizes.cumsum() - self._sizes
        self._among, self._shares = self._sizes, self._sizes**SIZE_POWER / (self._sizes**SIZE_POWER).sum()
        if settings.corpus_power != 1:  # of all corpora, whether they are recordings or stems
            self._among = np.concatenate([split.windows_of_corpora for split in data.sources])
            self._shares = shares_of(self._among, settings.corpus_power)
        self._windows = settings.epoch_windows or int(self._sizes.sum())
        self._apart = np.array([split.bands > BANDS for split in data.sources])  # stems, not recordings as they are
        known = STEMS if self._stems > 1 else ()
        self._stem_of = [known.index(name) if name in known else None for name in data.classes]
        self._long = WINDOW_FRAMES
        if settings.augmentation.stretch:
            self._long = math.ceil(WINDOW_FRAMES * (1 + settings.augmentation.stretch)) + 2

    def __len__(self) -> int:
        return self._windows

    def shuffled(self, batch_size: int, generator: np.random.Generator) -> Batches:
        """An epoch: windows drawn from recordings and from stems, each mixed by chance."""
        chance = torch.Generator(self.device)
        chance.manual_seed(int(generator.integers(1 << 62)))
        draws = Draws(chance)
        for first in range(0, self._windows, batch_size):
            count = min(batch_size, self._windows - first)
            yield self._mixed(self._drawn(count, generator), draws, generator)

    def _drawn(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Windows (B,) numbered through all corpora: of each first its source or, where they have shares, its corpus.

        Corpora lie one behind the other in their source, and so do the sources: a window's number says both.
        """
        chosen = generator.choice(len(self._among), size=count, p=self._shares)
        return (self._among.cumsum() - self._among)[chosen] + generator.integers(self._among[chosen])

    def some(self, seed: int) -> Tensor:
        """Bands (B, T, F) as a network will be given them."""
        batches = self.shuffled(MOMENTS_BATCH, np.random.default_rng(seed))
        return torch.cat([of for of, _ in islice(batches, MOMENTS_BATCHES)])

    def _source_of(self, places: np.ndarray) -> np.ndarray:
        """Which source each window numbered through all of them is from."""
        return np.searchsorted(self._sizes.cumsum(), places, side="right")

    def _read(self, places: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Stems (B, L, S, F) float16 and halves (B, L, K) of windows numbered through all corpora."""
        stems = torch.zeros(len(places), self._long, self._stems, BANDS, dtype=torch.float16, device=self.device)
        halves = torch.zeros(len(places), self._long, self.split.classes, dtype=torch.uint8, device=self.device)
        of = self._source_of(places)
        for number, windows in enumerate(self._sources):
            rows = np.flatnonzero(of == number)
            if len(rows):
                spans = spans_near(windows.split, places[rows] - self._firsts[number], self._long, generator)
                bands, targets = windows.read(spans, self._long)
                there = torch.from_numpy(rows).to(self.device)
                stems[there, :, : windows.split.bands // BANDS] = bands.unflatten(2, (-1, BANDS))
                halves[there] = targets
        return stems, halves

    def _mixed(self, places: np.ndarray, draws: Draws, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One batch: bands (B, T, F) float32 at the policy's level, give or take the gain, and halves (B, T, K)."""
        asked, count, studio = self.augmentation, len(places), Studio(self.augmentation, self._level, draws)
        stems, halves = self._read(places, generator)
        if asked.stretch:
            speeds = draws.between(-asked.stretch, asked.stretch, count) * draws.chance(STRETCHED_SHARE, count) + 1
            halves = stretched_targets(halves, torch.zeros_like(speeds), speeds, WINDOW_FRAMES)
            stems = stretched(stems, speeds.unsqueeze(1) * torch.arange(WINDOW_FRAMES, device=self.device))
        apart = torch.from_numpy(self._apart[self._source_of(places)]).to(self.device)
        played = studio.ringing(studio.played(magnitudes_of(stems).transpose(1, 2), apart), apart)
        recording = studio.in_a_room(played, apart)
        empty = draws.chance(asked.bleed_share + asked.silence_share, count)
        silent = empty & draws.chance(asked.silence_share / max(asked.bleed_share + asked.silence_share, 1e-9), count)
        recording = recording * ~empty[:, None, None]
        if self._music is not None and (asked.music_share or asked.bleed_share):
            numbers = generator.integers(len(self._music), size=count)
            spans = spans_near(self._music.split, numbers, WINDOW_FRAMES, generator)
            recording = studio.over(recording, magnitudes_of(self._music.read(spans, WINDOW_FRAMES)[0]), empty, apart)
        mix = studio.with_noise(recording)
        halves = studio.heard(played, mix, halves, self._stem_of, apart) * ~empty[:, None, None]
        return bands_of(studio.mastered(mix, silent)), halves


def check_recipe(mixed: Sequence[str], settings: Settings) -> None:
    """Refused where corpora that are there to be mixed, by their names, stand beside settings that mix nothing."""
    if mixed and settings.recipe == "study" and settings.augmentation.is_off:
        raise Refused(
            f"{', '.join(map(repr, mixed))} {'is' if len(mixed) == 1 else 'are'} there to be mixed in training, which "
            "the recipe study does not do; train by the recipe mirtune, or name other corpora alone"
        )


def training_windows(
    data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0
) -> TrainingWindows:
    """The windows a network learns from: as they lie in the shards, or mixed anew where the settings ask for it.

    Raises Refused where ``check_recipe`` does.
    """
    check_recipe(data.mixed, settings)
    asked: Augmentation = settings.augmentation
    plain = asked.is_off and settings.level == "as_recorded" and settings.standardise == "all"
    if plain and not settings.epoch_windows and len(data.sources) == 1:
        windows = place(data.sources[0], device, share, data.splits)
        if settings.corpus_power == 1 or len(windows.split.windows_of_corpora) == 1:
            return windows
        return WeightedWindows(windows, settings.corpus_power, settings.seed)
    return MixedWindows(data, settings, device, share)


def as_heard(data: TrainingData, settings: Settings, device: torch.device, share: float = 1.0) -> TrainingData:
    """The data with mean and deviation as a network is given its values: of mixed windows where they are mixed."""
    windows = training_windows(data, settings, device, share)
    if not isinstance(windows, MixedWindows):
        return data
    bands = windows.some(settings.seed)
    if settings.standardise == "bands":
        mean, deviation = bands.mean(dim=(0, 1)), bands.std(dim=(0, 1)).clamp(min=LEAST_DEVIATION)
        return replace(data, mean=mean.cpu(), deviation=deviation.cpu())
    return replace(data, mean=float(bands.mean()), deviation=float(bands.std()))
