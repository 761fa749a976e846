"""RNN: a recurrent stack over the bands themselves."""

from dataclasses import dataclass

from torch import Tensor, nn

from trainables.models.blocks import ModelConfig, Recurrence


@dataclass(frozen=True)
class RnnConfig(ModelConfig):
    """Hyperparameters of the RNN."""

    layers: int = 3
    hidden: int = 144
    unit: str = "gru"


class Rnn(nn.Module):
    """(B, T, F) -> (B, T, 2 hidden)."""

    def __init__(self, config: RnnConfig, bands: int) -> None:
        super().__init__()
        self.over_time = Recurrence(config.unit, bands, config.hidden, config.layers)
        self.features = self.over_time.features

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        return self.over_time(bands)
