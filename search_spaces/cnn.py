"""The convolutional network's space."""

from ray import tune

from search_spaces.common import OPTIMISER, WIDTHS, whole

SPACE = {**OPTIMISER, "convolutions": whole(1, 3), "layers": whole(1, 4), "hidden": tune.choice(WIDTHS)}
