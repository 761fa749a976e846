"""How often: samples, frames, and how many of the one lie between two of the other. Nothing else is imported here."""


def exact_div(numerator: int, denominator: int) -> int:
    """``numerator / denominator``, asserting that nothing is left over."""
    quotient, rest = divmod(numerator, denominator)
    assert rest == 0, f"{numerator} is no multiple of {denominator}"
    return quotient


SAMPLE_RATE_HZ = 44_100
FRAMES_PER_S = 100
HOP_SAMPLES = exact_div(SAMPLE_RATE_HZ, FRAMES_PER_S)
