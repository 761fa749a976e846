"""The moving average of a network's weights: steadier than the weights themselves, and mostly better."""

import copy

import torch
from torch import nn

from trainables.network import Network

FIRST_STEPS = 10  # the larger, the longer the average follows the weights closely at first


def decay_of(step: int, decay: float) -> float:
    """The part of the average that stays at a step, numbered from 0: little at first, then ``decay``.

    So an average holds nothing of the weights that the training began with after a few steps, however slow it is.
    """
    return min(decay, step / (step + FIRST_STEPS))


class Average:
    """A copy of a network that follows its weights step by step; an exponential moving average of them.

    Statistics of batch normalisation are averaged as the weights are, counts are copied.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        for module in self.network.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # a copy's weights lie apart
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: Network, step: int) -> None:
        """Take in the weights after a step, numbered from 0; nothing waits for the device."""
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        floats = [(mine, other) for mine, other in pairs if mine.is_floating_point()]
        share = 1 - decay_of(step, self._decay)
        torch._foreach_lerp_([mine for mine, _ in floats], [other for _, other in floats], share)
        for mine, other in pairs:
            if not mine.is_floating_point():
                mine.copy_(other)
