"""CRNN: two convolution blocks, then the recurrent stack."""

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.models.blocks import Convolutions, ModelConfig, Recurrence


@dataclass(frozen=True)
class CrnnConfig(ModelConfig):
    """Hyperparameters of the CRNN."""

    layers: int = 3
    hidden: int = 144
    unit: str = "gru"


class Crnn(nn.Module):
    """(B, T, F) -> (B, T, 2 hidden)."""

    def __init__(self, config: CrnnConfig, bands: int) -> None:
        super().__init__()
        self.over_bands = Convolutions(2, bands)
        self.over_time = Recurrence(config.unit, self.over_bands.features, config.hidden, config.layers)
        self.features = self.over_time.features

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        return self.over_time(self.over_bands(bands))
