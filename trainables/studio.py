"""What is done to the sounds of a batch between the tracks and the mix, each by chance and only where it is asked for.

B batch, T frames, S stems (classes), F bands, K classes. All sounds are magnitudes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.rates import FRAMES_PER_S
from trainables.augmentation import (
    Draws,
    amplitude,
    audible,
    darkness,
    dynamics,
    equaliser,
    pitch_matrix,
    power,
    reverberation,
    together,
)
from trainables.config import Augmentation

MOST_TONAL = 0.5  # see trainables.augmentation.together
CLASS_EXPONENTS, MIX_EXPONENTS = (0.6, 1.4), (0.7, 1.0)  # of dynamics: below 1 compressed, above expanded
ROOM_S, ROOM_WET_DB = (0.15, 0.8), (-26.0, -8.0)
RING_S, RING_WET_DB = (0.8, 4.0), (-12.0, 3.0)
ROOM_DARKENING = 0.5  # the highest band's reverberation lasts this much of the lowest's
NOISE_DB, NOISE_COLOUR_DB = (-60.0, -25.0), 10.0  # under the mix
SILENCE_DB = (-100.0, -55.0)  # of a magnitude of 1
DARKER_DB = -14.0, 2.0  # at the top: renders are brighter than recorded mixes, by 3 to 9 dB above 8 kHz (evidence),
BRIGHTER_DB = -2.0, 8.0  # and General MIDI instruments duller than voices and guitars
QUIETER_DB = -10.0
LEAST_POWER = 1e-6


@dataclass(frozen=True)
class Studio:
    """The augmentation that is asked for, the level that windows are to have, and where chance comes from."""

    asked: Augmentation
    level: Callable[[Tensor], Tensor] | None
    draws: Draws

    def played(self, stems: Tensor, apart: Tensor) -> Tensor:
        """(B, S, T, F): each class with a level, equaliser, tuning and dynamics of its own.

        Those that are ``apart`` (B,), not mixed already, are darker as well.
        """
        asked, draws, (count, classes) = self.asked, self.draws, stems.shape[:2]
        of_classes = asked.class_gain_db, asked.class_equaliser_db, asked.class_pitch_semitones
        if any((*of_classes, asked.pitch_semitones, asked.equaliser_db)):
            stems = stems @ self._shaping(count, classes, apart)
        if asked.compression_share:
            changed = draws.chance(asked.compression_share, count, classes)
            stems = dynamics(stems, 1 - changed * (1 - draws.between(*CLASS_EXPONENTS, count, classes)))
        return stems

    def ringing(self, stems: Tensor, apart: Tensor) -> Tensor:
        """(B, S, T, F): in some windows whose stems are ``apart`` (B,) one class rings on, as a ride never damped."""
        if not self.asked.ring_share:
            return stems
        draws, (count, classes) = self.draws, stems.shape[:2]
        rows = torch.arange(count, device=stems.device), (draws.between(0, 1, count) * classes).long()
        powers = stems[rows].square()
        decays = 10 ** (-6 / (draws.between(*RING_S, count, 1) * FRAMES_PER_S)).expand(-1, stems.shape[3])
        wet = amplitude(draws.between(*RING_WET_DB, count)) * draws.chance(self.asked.ring_share, count) * apart
        changed = stems.clone()
        changed[rows] = (powers + reverberation(powers, decays) * wet[:, None, None].square()).sqrt_()
        return changed

    def in_a_room(self, stems: Tensor, apart: Tensor) -> Tensor:
        """(B, S, T, F) -> (B, T, F); some of those that are ``apart`` (B,), not mixed already, in a room."""
        asked, draws, count = self.asked, self.draws, len(stems)
        recording = together(stems, draws.between(0, MOST_TONAL, count))
        if not asked.room_share:
            return recording
        shorter = torch.linspace(1, ROOM_DARKENING, stems.shape[3], device=stems.device)
        decays = 10 ** (-6 / (draws.between(*ROOM_S, count, 1) * shorter * FRAMES_PER_S))  # of power: 60 dB
        wet = amplitude(draws.between(*ROOM_WET_DB, count)) * draws.chance(asked.room_share, count) * apart
        echo = reverberation(recording.square(), decays)
        return (recording.square() + echo * wet[:, None, None].square()).sqrt_()

    def over(self, recording: Tensor, music: Tensor, empty: Tensor, apart: Tensor) -> Tensor:
        """The recording (B, T, F) over music under some, and music alone where the window is ``empty`` (B,).

        What is not ``apart`` (B,) has its music already. Its level is never more than QUIETER_DB below most others', so
        that a few soft hits do not bring the music down with them.
        """
        asked, draws, count = self.asked, self.draws, len(recording)
        if asked.pitch_semitones or asked.equaliser_db:
            semitones = draws.between(-asked.pitch_semitones, asked.pitch_semitones, count)
            curve = equaliser(draws, asked.equaliser_db, count)
            if asked.equaliser_db:
                curve = curve + darkness(draws, *BRIGHTER_DB, count)
            music = music @ (pitch_matrix(semitones) * amplitude(curve).unsqueeze(1))
        ratio_db = draws.between(asked.over_music_low_db, asked.over_music_high_db, count)
        powers = [power(of) for of in (recording, music)]
        floors = [of.median() * 10 ** (QUIETER_DB / 10) for of in powers]
        own, its = (torch.maximum(of, floor).clamp(min=LEAST_POWER) for of, floor in zip(powers, floors, strict=True))
        factor = torch.where(empty | (powers[0] < LEAST_POWER), 1.0, (own / its).sqrt() / amplitude(ratio_db))
        factor = factor * (empty | (apart & draws.chance(asked.music_share, count)))
        both = torch.stack((recording, music * factor[:, None, None]), dim=1)
        return together(both, draws.between(0, MOST_TONAL, count))

    def with_noise(self, mix: Tensor) -> Tensor:
        """(B, T, F) with steady noise of some colour under some."""
        if not self.asked.noise_share:
            return mix
        chosen = self.draws.chance(self.asked.noise_share, len(mix))
        level = mix.mean(dim=(1, 2)) * amplitude(self.draws.between(*NOISE_DB, len(mix))) * chosen
        return (mix.square() + self._noise(mix, level).square()).sqrt()

    def heard(self, stems: Tensor, mix: Tensor, halves: Tensor, stem_of: Sequence[int | None], apart: Tensor) -> Tensor:
        """(B, T, K) halves of what can be heard, where the stems are ``apart`` (B,); the others stay."""
        if not self.asked.audible_rise:
            return halves
        return torch.where(apart[:, None, None], audible(stems, mix, halves, stem_of, self.asked.audible_rise), halves)

    def mastered(self, mix: Tensor, silent: Tensor) -> Tensor:
        """(B, T, F) compressed, equalised and at the level, give or take the gain; where ``silent`` (B,), noise."""
        asked, draws, count = self.asked, self.draws, len(mix)
        if asked.compression_share:
            changed = draws.chance(asked.compression_share, count)
            mix = dynamics(mix, 1 - changed * (1 - draws.between(*MIX_EXPONENTS, count)))
        if asked.equaliser_db:
            mix = mix * amplitude(equaliser(draws, asked.equaliser_db, count)).unsqueeze(1)
        if asked.silence_share:
            faint = self._noise(mix, amplitude(draws.between(*SILENCE_DB, count)))
            mix = torch.where(silent[:, None, None], faint, mix)
        if self.level is not None:
            mix = self.level(mix)
        return mix * amplitude(draws.between(-asked.gain_db, asked.gain_db, count))[:, None, None]

    def _shaping(self, count: int, classes: int, apart: Tensor) -> Tensor:
        """(B, S, F, F): each class's gain, equaliser and pitch, the pitch and darkness of all, as one matrix."""
        asked, draws = self.asked, self.draws
        semitones = draws.between(-asked.pitch_semitones, asked.pitch_semitones, count, 1)
        own = draws.between(-asked.class_pitch_semitones, asked.class_pitch_semitones, count, classes)
        gains_db = draws.normal(asked.class_gain_db, count, classes, 1)
        gains_db = gains_db + equaliser(draws, asked.class_equaliser_db, count, classes)
        if asked.equaliser_db:
            gains_db = gains_db + (darkness(draws, *DARKER_DB, count) * apart.unsqueeze(1)).unsqueeze(1)
        return pitch_matrix(semitones + own) * amplitude(gains_db).unsqueeze(-2)

    def _noise(self, mix: Tensor, level: Tensor) -> Tensor:
        """Noise in the shape of the mix (B, T, F), of a colour by chance, at levels (B,)."""
        colour = amplitude(equaliser(self.draws, NOISE_COLOUR_DB, len(mix))).unsqueeze(1)
        return self.draws.between(0.5, 1.5, *mix.shape) * colour * level[:, None, None]
