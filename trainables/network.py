"""The whole network: standardised bands through a model to a task's logits. B batch, T frames, F bands, K classes."""

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from trainables.level import at_level
from trainables.models import build_model
from trainables.tasks import Task

if TYPE_CHECKING:
    from trainables.data import TrainingData


class Network(nn.Module):
    """(B, T, F) bands -> (B, T, K) logits; its buffers hold the mean and deviation of its data, or of each band."""

    def __init__(
        self, task: Task, architecture: str, hyperparameters: dict[str, Any], *, bands: int, classes: int,
        mean: float | Tensor = 0.0, deviation: float | Tensor = 1.0, level: str = "as_recorded",
    ) -> None:  # fmt: skip
        super().__init__()
        self.level = level  # of a recording that is listened to; training windows come at theirs
        self.model = build_model(architecture, hyperparameters, bands)
        self.head = task.head(self.model.features, classes)  # type: ignore[arg-type]
        for name, of in (("mean", mean), ("deviation", deviation)):  # clones: weights are loaded into each of them
            self.register_buffer(name, torch.as_tensor(of, dtype=torch.float32).clone())

    @classmethod
    def fitting(
        cls, data: "TrainingData", task: Task, architecture: str, hyperparameters: dict[str, Any],
        level: str = "as_recorded",
    ) -> Self:  # fmt: skip
        """A network for the bands and classes of ``data``, standardising by the moments of its training split."""
        return cls(
            task, architecture, hyperparameters,
            bands=data.bands, classes=len(data.classes), mean=data.mean, deviation=data.deviation, level=level,
        )  # fmt: skip

    def forward(self, bands: Tensor, gain_db: float | Tensor = 0.0) -> Tensor:
        """(B, T, F) float16 or float32 -> (B, T, K); not in training, at the network's level and so much louder."""
        bands = bands.float()
        if not self.training:
            bands = at_level(bands, self.level, gain_db)
        return self.head(self.model((bands - self.mean) / self.deviation))  # type: ignore[operator]

    @property
    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def best_device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16_units(device: torch.device) -> bool:
    """Whether bf16 arithmetic is fast there: GPUs from Ampere on, processors with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to bf16 for "bf16", or for "auto" where the device has units for it; switched off for "fp32"."""
    if precision == "auto":
        precision = "bf16" if has_bf16_units(device) else "fp32"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
