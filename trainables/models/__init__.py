"""The architectures: one table. Every model turns bands into features; the head belongs to the task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from data_prep.refused import check_known
from trainables.config import Config
from trainables.models.cnn import Cnn, CnnConfig
from trainables.models.conv_transformer import ConvTransformer, ConvTransformerConfig
from trainables.models.crnn import Crnn, CrnnConfig
from trainables.models.rnn import Rnn, RnnConfig
from trainables.models.vit import Vit, VitConfig


@dataclass(frozen=True)
class ModelFamily:
    """An architecture: the class of its hyperparameters, and the module that they build with the number of bands."""

    title: str
    config: type[Config]
    build: Callable[[Any, int], nn.Module]


MODELS = {
    "rnn": ModelFamily("RNN", RnnConfig, Rnn),
    "cnn": ModelFamily("CNN", CnnConfig, Cnn),
    "crnn": ModelFamily("CRNN", CrnnConfig, Crnn),
    "conv_transformer": ModelFamily("convolutional transformer", ConvTransformerConfig, ConvTransformer),
    "vit": ModelFamily("vision transformer", VitConfig, Vit),
}


def build_model(architecture: str, hyperparameters: dict[str, Any], bands: int) -> nn.Module:
    """A model (B, T, F) -> (B, T, D) with ``features`` = D; Refused on an unknown name or hyperparameter."""
    check_known("architecture", architecture, sorted(MODELS))
    family = MODELS[architecture]
    return family.build(family.config.from_dict(hyperparameters), bands)
