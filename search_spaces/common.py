"""Domains that several architectures share."""

from collections.abc import Mapping

from ray import tune
from ray.tune.search.sample import Domain

OPTIMISER: Mapping[str, Domain] = {
    "learning_rate": tune.loguniform(1e-4, 5e-3),
    "weight_decay": tune.loguniform(1e-6, 1e-2),
}
WIDTHS = (72, 144, 288, 576)  # each divides by every number of heads
RECURRENT_UNITS = ("gru", "lstm")

ATTENTION: Mapping[str, Domain] = {
    "heads": tune.choice([2, 4, 6, 8]),
    "layers": tune.qrandint(2, 10, 2),
    "width": tune.choice(WIDTHS),
}


def whole(lowest: int, highest: int) -> Domain:
    """Whole numbers from ``lowest`` to ``highest``, both included."""
    return tune.randint(lowest, highest + 1)
