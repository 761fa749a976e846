"""Numbers in what others wrote."""

import math


def is_finite(value: object) -> bool:
    """Whether it is a number (no truth value) that a float can hold: not NaN, not infinite, no integer beyond them."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
