"""Training as one writes it first: windows in memory, fp32, losses and onsets taken to Python at every step.

B batch, T frames, F bands, K classes. The network is the CRNN with its parameters in the same order, out of torch's own
layers; weights, recipe and peak rule are those of the training loop.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from plain_counts import counted
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from trainables.config import Settings
from trainables.data import SplitData, TrainingData
from trainables.tasks.drum_onsets import infrequency_weights

CHANNELS = (1, 32, 64)


class PlainCrnn(nn.Module):
    """(B, T, F) -> (B, T, K): two convolution blocks, a bidirectional GRU stack, a linear layer."""

    def __init__(self, data: TrainingData, layers: int, hidden: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in pairwise(CHANNELS):
            for channels in (before, after):
                blocks += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm2d(after)]
            blocks += [nn.MaxPool2d((1, 3)), nn.Dropout2d(0.3)]
        self.convolutions = nn.Sequential(*blocks)
        features = CHANNELS[-1] * (data.bands // 9)
        self.gru = nn.GRU(features, hidden, layers, batch_first=True, bidirectional=True, dropout=0.1)
        self.head = nn.Linear(2 * hidden, len(data.classes))
        self.mean, self.deviation = data.mean, data.deviation

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, K)."""
        maps = self.convolutions(((bands - self.mean) / self.deviation).unsqueeze(1))
        return self.head(self.gru(maps.permute(0, 2, 1, 3).flatten(2))[0])

    def take_weights(self, of: nn.Module) -> None:
        """The parameters of the same network written otherwise; norms are as they begin."""
        with torch.no_grad():
            for own, theirs in zip(self.parameters(), of.parameters(), strict=True):
                own.copy_(theirs)


def dataset(split: SplitData) -> TensorDataset:
    """All windows of a split in memory: bands and targets (in 0..1), both float32."""
    bands, stored = split.read(split.in_order)
    return TensorDataset(bands.float(), stored.float() / 2)


def loss_of(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Binary cross-entropy summed over classes, each frame by the weights of what sounds in it, at least 1."""
    frames = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=2)
    if weights is not None:
        frames = frames * (targets * weights).sum(dim=2).clamp(min=1)
    return frames.mean()


@dataclass
class PlainTraining:
    """A network with its optimiser, trained and validated epoch by epoch."""

    network: PlainCrnn
    data: TrainingData
    settings: Settings

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        self.weights = torch.tensor(infrequency_weights(self.data.rates), dtype=torch.float32)

    def train(self, windows: TensorDataset, steps: int | None = None) -> float:
        """An epoch, or so many steps of it; the mean loss."""
        self.network.train()
        losses = []
        for bands, targets in DataLoader(windows, self.settings.batch_size, shuffle=True):
            loss = loss_of(self.network(bands), targets, self.weights)
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_norm)
            self.optimiser.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
        return float(np.mean(losses))

    @torch.no_grad()
    def validate(self, windows: TensorDataset) -> tuple[float, np.ndarray]:
        """Mean loss of the batches, and (K, 3) hits, false alarms and misses of the windows."""
        self.network.eval()
        losses, counts = [], np.zeros((len(self.data.classes), 3), np.int64)
        for bands, targets in DataLoader(windows, self.settings.batch_size):
            logits = self.network(bands)
            losses.append(loss_of(logits, targets, None).item())
            counts += counted(logits.sigmoid(), targets == 1)
        return float(np.mean(losses)), counts
