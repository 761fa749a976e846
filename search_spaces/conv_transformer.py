"""The convolutional transformer's space."""

from search_spaces.common import ATTENTION, OPTIMISER

SPACE = {**OPTIMISER, **ATTENTION}
