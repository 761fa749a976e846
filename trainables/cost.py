"""What a network costs in arithmetic and memory, counted by running it on tensors without values.

B batch, T frames, F bands. Every count is a polynomial of at most the second degree in T, for a frame costs the same
wherever it stands, and only attention looks at pairs of frames. Three short lengths therefore decide the count of a
window: nine frames instead of 400, for a recurrent layer is unrolled where there is no fused kernel.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from data_prep.manifest import WINDOW_FRAMES
from trainables.network import Network
from trainables.tasks import find_task

# Frames: one apart, so their differences are the polynomial's; a recurrent layer of one has no steps.
LENGTHS = (2, 3, 4)
COUNTED_WINDOWS = 2  # one window alone is laid out differently: some copies that a batch needs are views then
FLOAT_BYTES, BF16_BYTES = 4, 2
ADAMW_MOMENTS = 2


@dataclass(frozen=True)
class Cost:
    """Of one network: parameters, and a window's FLOP and bytes; ``windows`` at once are what it is trained with.

    FLOP are those of products (matrices, convolutions, attention), two for a multiplication with its addition; what is
    elementwise is left out, and what a fused kernel computes twice is counted once. saved_bytes are what the forward
    pass keeps for the backward pass with activations in bf16, scores of attention left out, for fused kernels do not
    keep them: a floor, to which kernels add their workspaces.
    """

    parameters: int
    forward_flop: int
    training_flop: int  # forward and backward
    saved_bytes: int
    windows: int = 1

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters in fp32."""
        return FLOAT_BYTES * self.parameters

    @property
    def training_bytes(self) -> int:
        """Bytes of parameters, gradients, optimiser and what a step over ``windows`` windows keeps for its backward."""
        return (2 + ADAMW_MOMENTS) * self.parameter_bytes + self.windows * self.saved_bytes


def cost_of(
    architecture: str, hyperparameters: dict[str, Any], *, bands: int, classes: int, windows: int = 1,
    frames: int = WINDOW_FRAMES, task: str = "drum_onsets",
) -> Cost:  # fmt: skip
    """The cost of training an architecture on windows of ``frames``; Refused on an unknown name or hyperparameter."""
    with torch.device("meta"):
        network = Network(find_task(task), architecture, hyperparameters, bands=bands, classes=classes).train()
    counts = [_count(network, bands, length) for length in LENGTHS]
    forward, training, saved = ([count[of] for count in counts] for of in range(3))
    return Cost(
        parameters=network.parameter_count,
        forward_flop=_extrapolated(forward, frames) // COUNTED_WINDOWS,
        training_flop=_extrapolated(training, frames) // COUNTED_WINDOWS,
        # the term of the second degree is that of the scores of attention
        saved_bytes=_extrapolated(saved, frames, quadratic=False) // COUNTED_WINDOWS,
        windows=windows,
    )


def _count(network: Network, bands: int, frames: int) -> tuple[int, int, int]:
    """FLOP forward, FLOP forward and backward, and bytes saved between them, of COUNTED_WINDOWS short windows."""
    weights = {of.untyped_storage()._cdata for of in (*network.parameters(), *network.buffers())}
    saved: dict[int, Tensor] = {}  # by storage: views of one are counted once

    def keep(tensor: Tensor) -> Tensor:
        saved.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network(torch.empty(COUNTED_WINDOWS, frames, bands, device="meta", dtype=torch.float16))
        forward = counter.get_total_flops()
        logits.sum().backward()
    total = sum(_bytes_in_bf16(tensor) for storage, tensor in saved.items() if storage not in weights)
    return forward, counter.get_total_flops(), total


def _bytes_in_bf16(tensor: Tensor) -> int:
    """Bytes of a tensor's whole storage, were its fp32 values bf16; those of indices and masks as they are."""
    held = tensor.untyped_storage().nbytes()
    return held * BF16_BYTES // FLOAT_BYTES if tensor.dtype is torch.float32 else held


def _extrapolated(counts: list[int], frames: int, *, quadratic: bool = True) -> int:
    """The polynomial through the counts at LENGTHS, at ``frames``; without its term of the second degree if asked."""
    first, second = counts[1] - counts[0], counts[2] - 2 * counts[1] + counts[0]
    at, slope = LENGTHS[0], first
    pairs = (frames - at) * (frames - at - 1) // 2  # Newton's form; the product of neighbours is even
    if quadratic:
        return counts[0] + (frames - at) * slope + pairs * second
    # a T**2 + b T + c with 2 a = second: take a T**2 off every count, and what is left is a line
    return counts[0] + (frames - at) * slope + pairs * second - (frames**2 * second) // 2
