"""What the architectures are put together from. B batch, T frames, F bands, C channels, D features."""

import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_prep.refused import Refused
from trainables.config import Config
from trainables.models.gru import Gru

UNITS: dict[str, Callable[..., nn.RNNBase]] = {
    "gru": Gru,
    "lstm": partial(nn.LSTM, batch_first=True, bidirectional=True),
}
BF16_SINCE_CUDNN = 91_300  # older ones have no recurrences in bf16
CHANNELS = (32, 64, 96)  # of the first, second and third convolution block
POOLED_BANDS = 3
WINDOWS_IN_CACHE = 3  # whose maps, 3 MB each, a processor still has when the next layer reads them
MOST = 4096  # of any hyperparameter: a configuration may come from a stranger
CONVOLUTION_DROPOUT, ATTENTION_DROPOUT, RECURRENT_DROPOUT = 0.3, 0.1, 0.1


# cuDNN copies cast weights into one chunk at every call, as it would under autocast.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


class ModelConfig(Config):
    """Hyperparameters: whole numbers of at least 1, and a recurrent unit that there is."""

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if isinstance(value, int) and not 1 <= value <= MOST:
                raise Refused(f"{name} = {str(value)[:40]}; expected 1 or more, and {MOST:,} at most")
            if name == "unit" and value not in UNITS:
                raise Refused(f"unit = {value!r}; choose from {', '.join(UNITS)}")


class ConvolutionBlock(nn.Sequential):
    """Twice [3x3 convolution, ReLU, batch norm], max-pool 3 over bands, dropout: (B, C, T, F) -> (B, C', T, F // 3)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                nn.Conv2d(channels, channels_out, kernel_size=3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(channels_out),
            ]
        super().__init__(*layers, nn.MaxPool2d((1, POOLED_BANDS)), nn.Dropout2d(CONVOLUTION_DROPOUT))


class Convolutions(nn.Module):
    """A stack of convolution blocks over time and bands, flattened a frame: (B, T, F) -> (B, T, D)."""

    def __init__(self, blocks: int, bands: int) -> None:
        super().__init__()
        if blocks > len(CHANNELS):
            raise Refused(f"convolutions = {blocks}; choose from {', '.join(map(str, range(1, len(CHANNELS) + 1)))}")
        channels = (1, *CHANNELS[:blocks])
        self.blocks = nn.Sequential(*map(ConvolutionBlock, channels[:-1], channels[1:]))
        self.features = channels[-1] * (bands // POOLED_BANDS**blocks)
        self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        if self.training or bands.is_cuda:
            return self._frames(bands)
        return torch.cat([self._frames(some) for some in bands.split(WINDOWS_IN_CACHE)])

    def _frames(self, bands: Tensor) -> Tensor:
        maps = self.blocks(channels_last(bands.unsqueeze(1)))
        if maps.requires_grad:
            # the gradient of the flattening lies channels-first, and the last block's backward would copy larger maps
            maps.register_hook(channels_last)
        return maps.permute(0, 2, 1, 3).flatten(2)


def channels_last(maps: Tensor) -> Tensor:
    """The same (B, C, T, F) with channels next to each other in memory."""
    return maps.contiguous(memory_format=torch.channels_last)


class Recurrence(nn.Module):
    """A bidirectional GRU or LSTM stack: (B, T, D) -> (B, T, 2 hidden)."""

    def __init__(self, unit: str, features: int, hidden: int, layers: int) -> None:
        super().__init__()
        dropout = RECURRENT_DROPOUT if layers > 1 else 0.0
        self.stack: nn.RNNBase = UNITS[unit](features, hidden, layers, dropout=dropout)
        self.features = 2 * hidden

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, 2 hidden)."""
        if features.is_cuda and torch.is_autocast_enabled("cuda"):
            able = (torch.backends.cudnn.version() or 0) >= BF16_SINCE_CUDNN
            return recur(self.stack, features, torch.get_autocast_dtype("cuda") if able else torch.float32)
        return self.stack(features)[0]


def recur(stack: nn.RNNBase, features: Tensor, dtype: torch.dtype) -> Tensor:
    """A bidirectional GRU or LSTM stack computed in ``dtype``: (B, T, D) -> (B, T, 2 hidden) of it.

    Left to autocast, cuDNN computes in fp16 whatever was asked for, and there the gradients of quiet frames are zero.
    """
    with torch.autocast(features.device.type, enabled=False):
        zeros = features.new_zeros(2 * stack.num_layers, len(features), stack.hidden_size, dtype=dtype)
        weights = [of.to(dtype) for layer in stack.all_weights for of in layer]
        given = weights, True, stack.num_layers, stack.dropout, stack.training, True, True
        if stack.mode == "LSTM":
            return torch._VF.lstm(features.to(dtype), (zeros, zeros), *given)[0]
        return torch._VF.gru(features.to(dtype), zeros, *given)[0]


class AttentionBlock(nn.Module):
    """Pre-norm self-attention and a GELU feed-forward of four times the width: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(ATTENTION_DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        features = features + self.dropout(self.attend(self.attention_norm(features)))
        return features + self.dropout(self.feed_forward(self.feed_forward_norm(features)))

    def attend(self, features: Tensor) -> Tensor:
        """Every frame looks at every frame: (B, T, D) -> (B, T, D)."""
        split = self.queries_keys_values(features).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*split.unbind(0))
        return self.attention_out(mixed.transpose(1, 2).flatten(2))


class Attention(nn.Module):
    """Sinusoidal positions over time, then attention blocks: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        if width % heads:
            raise Refused(f"width = {width} is no multiple of heads = {heads}; choose ones that fit")
        self.blocks = nn.Sequential(*(AttentionBlock(width, heads) for _ in range(layers)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.blocks(features + sinusoids(features.shape[1], features.shape[2], features.device))


def sinusoids(frames: int, width: int, device: torch.device) -> Tensor:
    """(T, D) sines and cosines of wavelengths from 2 pi to 10,000 times 2 pi (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(frames, device=device).unsqueeze(1) * rates
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
