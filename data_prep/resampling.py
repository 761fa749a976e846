"""Other sample rates to 44.1 kHz: a windowed sinc, block by block, with the result of resampling the whole recording.

The filter is torchaudio's default (Hann window over six zero crossings to each side, rolloff 0.99), its weights in
float64 until they are rounded once. S samples in, R samples out.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import ceil, floor, gcd

import numpy as np

ZERO_CROSSINGS, ROLLOFF = 6, 0.99
# Outputs that share a product: few, so that it is not mostly zeros; not one by one, so that it is a product.
OUTPUTS_AT_ONCE = 32


@lru_cache(maxsize=2)  # of odd rates a table is up to 70 MB
def _products(step_in: int, step_out: int) -> tuple[tuple[int, np.ndarray], ...]:
    """Of ``step_out`` outputs, for some at once: their first input, and (inputs, outputs) float32 weights.

    Output p lies at input p * step_in / step_out; inputs before the first one are counted below zero.
    """
    per_input = min(1.0, step_out / step_in) * ROLLOFF  # zero crossings
    reach = ZERO_CROSSINGS / per_input  # inputs
    products = []
    for first in range(0, step_out, OUTPUTS_AT_ONCE):
        at = np.arange(first, min(first + OUTPUTS_AT_ONCE, step_out)) * step_in / step_out
        inputs = np.arange(floor(at[0] - reach), ceil(at[-1] + reach) + 1)
        crossings = np.clip((inputs[:, None] - at) * per_input, -ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = np.cos(crossings * np.pi / ZERO_CROSSINGS / 2) ** 2
        products.append((int(inputs[0]), (np.sinc(crossings) * window * per_input).astype(np.float32)))
    return tuple(products)


def resample_blocks(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Consecutive blocks (S,) float32 at ``from_hz`` -> consecutive blocks (R,) float32 at ``to_hz``.

    In all R = ceil(S * to_hz / from_hz); before the first and after the last sample there are zeros.
    """
    if from_hz == to_hz:
        yield from blocks
        return
    common = gcd(from_hz, to_hz)
    times = ceil(OUTPUTS_AT_ONCE / (to_hz // common))
    step_in, step_out = times * from_hz // common, times * to_hz // common
    products = _products(step_in, step_out)
    before = -products[0][0]
    needed = before + max(first + len(weights) for first, weights in products)  # inputs for one step
    pending = np.zeros(before, np.float32)
    heard = given = 0
    for block in blocks:
        heard += len(block)
        pending = np.concatenate([pending, block])
        if (steps := (len(pending) - needed) // step_in + 1) > 0:
            yield _whole_steps(pending, steps, step_in, before, products)
            given += steps * step_out
            pending = pending[steps * step_in :]
    if (left := -(-heard * to_hz // from_hz) - given) > 0:
        steps = -(-left // step_out)
        pending = np.concatenate([pending, np.zeros(max(0, steps * step_in + needed - len(pending)), np.float32)])
        yield _whole_steps(pending, steps, step_in, before, products)[:left]


def _whole_steps(
    pending: np.ndarray, steps: int, step_in: int, before: int, products: tuple[tuple[int, np.ndarray], ...]
) -> np.ndarray:
    """The outputs (steps * step_out,) of so many steps, of which the first begins ``before`` samples into pending."""
    outputs = []
    for first, weights in products:
        windows = np.lib.stride_tricks.sliding_window_view(pending[before + first :], len(weights))
        outputs.append(np.ascontiguousarray(windows[: steps * step_in : step_in]) @ weights)
    return np.concatenate(outputs, axis=1).ravel()
