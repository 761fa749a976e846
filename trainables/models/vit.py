"""Vision transformer: patches of one frame by P bands, side by side a frame, attention over time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_prep.refused import Refused
from trainables.models.blocks import Attention, ModelConfig


@dataclass(frozen=True)
class VitConfig(ModelConfig):
    """Hyperparameters of the vision transformer."""

    patch_bands: int = 7
    heads: int = 6
    layers: int = 6
    width: int = 144


class Vit(nn.Module):
    """(B, T, F) -> (B, T, width). The patches of a frame share its width evenly."""

    def __init__(self, config: VitConfig, bands: int) -> None:
        super().__init__()
        if bands % config.patch_bands or config.width % (bands // config.patch_bands):
            raise Refused(
                f"patch_bands = {config.patch_bands} and width = {config.width}; expected patches that divide {bands} "
                "bands, and a width that their number divides"
            )
        patches = bands // config.patch_bands
        self.patch_bands = config.patch_bands
        self.projection = nn.Linear(config.patch_bands, config.width // patches)
        self.positions = nn.Parameter(torch.randn(patches, config.width // patches))
        self.over_time = Attention(config.width, config.heads, config.layers)
        self.features = config.width

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        patches = self.projection(bands.unflatten(2, (-1, self.patch_bands))) + self.positions
        return self.over_time(patches.flatten(2))
