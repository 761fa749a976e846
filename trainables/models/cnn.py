"""CNN: convolution blocks, then dense layers a frame."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from trainables.models.blocks import Convolutions, ModelConfig


@dataclass(frozen=True)
class CnnConfig(ModelConfig):
    """Hyperparameters of the CNN."""

    convolutions: int = 2
    layers: int = 2
    hidden: int = 288


class Cnn(nn.Module):
    """(B, T, F) -> (B, T, hidden)."""

    def __init__(self, config: CnnConfig, bands: int) -> None:
        super().__init__()
        self.over_bands = Convolutions(config.convolutions, bands)
        widths = [self.over_bands.features] + [config.hidden] * config.layers
        dense = [layer for d, e in pairwise(widths) for layer in (nn.Linear(d, e), nn.ReLU())]
        self.per_frame = nn.Sequential(*dense)
        self.features = config.hidden

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        return self.per_frame(self.over_bands(bands))
