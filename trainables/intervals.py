"""How sure a score is: bootstrap intervals of F1. U units, K classes.

Units, tracks or the tracks of one performance together, are drawn with replacement, as many as there are, and the score
is taken of each draw; the interval holds the middle 95 % of these (the percentile method, Efron and Tibshirani, 1993).
"""

import numpy as np

DRAWS, SEED, SHARE = 1000, 0, 0.95
AT_ONCE = 1 << 22  # numbers drawn

Interval = list[float]  # low and high


def resampled(counts: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Counts (U, ...) -> (draws, ...) float64: the sums over U units drawn with replacement."""
    units, generator = len(counts), np.random.default_rng(seed)
    flat = counts.reshape(units, -1).astype(np.float64)
    sums = np.empty((draws, flat.shape[1]))
    step = max(AT_ONCE // units, 1)
    for first in range(0, draws, step):
        drawn = generator.integers(0, units, (min(step, draws - first), units))
        row = np.arange(len(drawn))[:, None] * units
        times = np.bincount((drawn + row).ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums[first : first + len(drawn)] = times @ flat
    return sums.reshape(draws, *counts.shape[1:])


def f1_intervals(
    counts: np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> tuple[Interval | None, list[Interval | None]]:
    """Of counts (U, K, 3) of hits, false alarms and misses: the interval of micro F1, and of each class's F1.

    None where fewer than two units hold anything to count: nothing says how much it varies. Draws without anything to
    count have no F1 and are left out.
    """
    sums, held = resampled(counts, draws, seed), np.any(counts, axis=2)
    micro = _of_sums(sums.sum(axis=1)) if np.count_nonzero(held.any(axis=1)) > 1 else None
    return micro, [_of_sums(sums[:, of]) if np.count_nonzero(held[:, of]) > 1 else None for of in range(held.shape[1])]


def _of_sums(sums: np.ndarray) -> Interval:
    """(draws, 3) -> the middle share of their F1s."""
    hits, alarms, misses = sums[sums.any(axis=1)].T
    f1s = 2 * hits / (2 * hits + alarms + misses)
    low, high = np.quantile(f1s, ((1 - SHARE) / 2, (1 + SHARE) / 2))
    return [float(low), float(high)]
