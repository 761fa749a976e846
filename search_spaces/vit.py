"""The vision transformer's space: patches of one frame by so many bands."""

from ray import tune

from search_spaces.common import ATTENTION, OPTIMISER

SPACE = {**OPTIMISER, **ATTENTION, "patch_bands": tune.choice([7, 14, 21])}
