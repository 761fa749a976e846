"""The convolutional recurrent network's space."""

from ray import tune

from search_spaces.common import OPTIMISER, RECURRENT_UNITS, WIDTHS, whole

SPACE = {**OPTIMISER, "layers": whole(2, 5), "hidden": tune.choice(WIDTHS), "unit": tune.choice(RECURRENT_UNITS)}
