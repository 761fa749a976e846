"""Convolutional transformer: two convolution blocks, a projection, attention over time."""

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.models.blocks import Attention, Convolutions, ModelConfig


@dataclass(frozen=True)
class ConvTransformerConfig(ModelConfig):
    """Hyperparameters of the convolutional transformer."""

    heads: int = 4
    layers: int = 4
    width: int = 144


class ConvTransformer(nn.Module):
    """(B, T, F) -> (B, T, width)."""

    def __init__(self, config: ConvTransformerConfig, bands: int) -> None:
        super().__init__()
        self.over_bands = Convolutions(2, bands)
        self.projection = nn.Linear(self.over_bands.features, config.width)
        self.over_time = Attention(config.width, config.heads, config.layers)
        self.features = config.width

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        return self.over_time(self.projection(self.over_bands(bands)))
