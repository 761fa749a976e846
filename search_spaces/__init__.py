"""What a search may choose, one space per architecture: scalars only, and every combination builds a model.

Keys are the fields of the model's configuration, besides `learning_rate` and `weight_decay`, which belong to training.
A recipe adds a space of its own, of further names of training.
"""

from collections.abc import Mapping

from ray.tune.search.sample import Domain

from search_spaces import cnn, conv_transformer, crnn, rnn, vit
from search_spaces.recipes import RECIPE_SPACES

__all__ = ["RECIPE_SPACES", "SPACES", "space_of"]

SPACES: dict[str, Mapping[str, Domain]] = {
    "rnn": rnn.SPACE,
    "cnn": cnn.SPACE,
    "crnn": crnn.SPACE,
    "conv_transformer": conv_transformer.SPACE,
    "vit": vit.SPACE,
}


def space_of(architecture: str, recipe: str) -> dict[str, Domain]:
    """The space of an architecture that is trained by a recipe."""
    return {**SPACES[architecture], **RECIPE_SPACES[recipe]}
