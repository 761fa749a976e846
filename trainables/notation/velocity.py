"""How loud a note is, from how sure the network was of it. N onsets."""

import numpy as np

UNKNOWN = 80  # where an onset has no strength
# strength -> velocity: soft where a peak rule lets a doubtful onset pass, mezzo forte at 0.5, forte where it is sure
STRENGTHS, VELOCITIES = (0.0, 0.2, 0.5, 0.8, 1.0), (1, 36, 68, 96, 118)


def velocities_of(strengths: np.ndarray, fixed: int | None = None) -> np.ndarray:
    """MIDI velocities 1..127 of strengths 0..1, (N,) -> (N,) int64: ``fixed`` for all, or on the curve above."""
    if fixed is not None:
        return np.full(len(strengths), fixed, np.int64)
    curve = np.rint(np.interp(strengths, STRENGTHS, VELOCITIES))
    return np.where(np.isnan(strengths), UNKNOWN, curve).astype(np.int64)
