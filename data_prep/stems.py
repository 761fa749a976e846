"""Drums as stems in frames: each class in bands of its own, for training to mix. T frames, F bands, K classes.

It needs numpy alone where kits are packed, so that hours of them are rendered on the machine that trains.
"""

from collections.abc import Sequence

import numpy as np

from data_prep.classes import class_map, to_classes
from data_prep.kit_splits import drawn_kit
from data_prep.kits import KitRef
from data_prep.midi import Notes
from data_prep.onsets import Onsets, target_grid
from data_prep.render import render_stems
from data_prep.spectrogram import log_spectrogram_of

COMBINED_SHARE = 0.7  # of stems are of kits whose classes come from several
TAIL_S = 1.0  # the last hits ring on


def framed_stems(
    notes: Notes, kits: Sequence[KitRef], *, seed: int, vocabulary: str = "roland", classes: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Play notes on a kit by chance: bands (T, STEMS * F) float16, row after row of ``render.STEMS``, and targets
    (T, K).

    Nothing is done to the sound. Notes that the kit has no piece for are left out. The same notes, kits and seed give
    the same frames. Raises Refused where a kit cannot be read.
    """
    drawing, playing = map(int, np.random.SeedSequence(seed).generate_state(2))
    kit = drawn_kit(kits, np.random.default_rng(drawing), COMBINED_SHARE, apart=True)
    rendered = render_stems(notes, kit, seed=playing, seconds=float(notes.times_s[-1]) + TAIL_S)
    bands = [log_spectrogram_of([stem]) for stem in rendered.samples]
    of, _ = to_classes(notes.pitches.tolist(), class_map(vocabulary, classes))
    kept = (of >= 0) & rendered.sounded
    onsets = Onsets.of(notes.times_s[kept], of[kept]).merged()
    return np.concatenate(bands, axis=1), target_grid(onsets, len(bands[0]), classes)
