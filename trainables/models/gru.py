"""A bidirectional GRU that walks time in few operations on a processor. T frames, B batch, D features, H hidden units.

PyTorch has no fused GRU for training on a processor: it records every operation of every frame. Here a layer is one
operation of autograd. Both directions walk at once, and whatever does not depend on the frame before is one product of
matrices over all frames. The unit is that of Cho et al. (2014) with the reset gate after the recurrent product, as in
PyTorch and cuDNN; h is the state of the frame before in walking order, s the logistic function:

    r  = s(W_r x + U_r h + b_r)        reset gate           q  = U_n h + b_q
    z  = s(W_z x + U_z h + b_z)        update gate          n  = tanh(W_n x + b_n + r q)
    h' = n + z (h - n)

For a gradient g of the loss by h' those by what goes into q, r, z and n are g times one slope each:

    n: (1 - z)(1 - n^2)      q: r times that of n      r: q r (1 - r) times that of n      z: (h - n) z (1 - z)

and that by h is g z + U (those of q, r and z). The slopes hold nothing of g: they are made for many frames at once.
Columns lie in the order q, r, z, n, so that what h feeds (q, r, z) and what x feeds (r, z, n) are slices. The backward
walk's frames are kept in its own order, last frame first: a step of both walks is one slice, its strides the same at
every step (oneDNN prepares a product anew, in half a millisecond, for strides that it has not met lately).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

SLOPES_AT_ONCE = 2**19  # elements: the slopes of so many steps stay in the processor's cache until they are used

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # g, y -> g y (1 - y)
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # g, y -> g (1 - y^2)


class Gru(nn.GRU):
    """A bidirectional GRU stack with nn.GRU's parameters: (B, T, D) -> (B, T, 2 H), the last states (2 layers, B, H).

    On a GPU it is nn.GRU, which cuDNN runs.
    """

    def __init__(self, features: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__(features, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(B, T, D) -> (B, T, 2 H), (2 layers, B, H); in bf16 where autocast is on."""
        if features.device.type != "cpu":
            return super().forward(features)  # type: ignore[has-type]
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else features.dtype
        states = features.transpose(0, 1)
        last = []
        with torch.autocast("cpu", enabled=False):
            for layer in range(self.num_layers):
                if layer:
                    states = functional.dropout(states, self.dropout, self.training)
                states = BothWays.apply(states.to(dtype), *(of.to(dtype) for of in self.weights_of(layer)))
                last += [states[-1, :, : self.hidden_size], states[0, :, self.hidden_size :]]
        return states.transpose(0, 1), torch.stack(last)

    def weights_of(self, layer: int) -> list[Tensor]:
        """The input's and the state's weights (2, 3 H, D or H), then their biases (2, 3 H), of both directions."""
        names = (f"weight_ih_l{layer}", f"weight_hh_l{layer}", f"bias_ih_l{layer}", f"bias_hh_l{layer}")
        return [torch.stack((getattr(self, name), getattr(self, f"{name}_reverse"))) for name in names]


class BothWays(torch.autograd.Function):
    """One bidirectional layer over all frames: (T, B, D) -> (T, B, 2 H). Weights as ``Gru.weights_of`` gives them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
        """Walk, and keep the gates (2, T, B, 4 H) and the states (2, T + 1, B, H), the first of them zeros."""
        (frames, batch, _), hidden = x.shape, w_h.shape[2]
        gates = x.new_empty(2, frames, batch, 4 * hidden)
        gates[..., :hidden] = b_h[:, None, None, 2 * hidden :]
        biases = b_x.clone()
        biases[:, : 2 * hidden] += b_h[:, : 2 * hidden]
        for way, rows in enumerate((x, x.flip(0))):
            fed_by_x = gates[way].flatten(0, 1)[:, hidden:]
            torch.addmm(biases[way], rows.flatten(0, 1), w_x[way].T, out=fed_by_x)
        states = x.new_zeros(2, frames + 1, batch, hidden)
        u = w_h.roll(hidden, 1).mT  # columns in the order q, r, z
        h, *after = states.unbind(1)
        walk = (
            part.unbind(1)
            for part in (gates[..., : 3 * hidden], gates[..., hidden : 3 * hidden], *gates.split(hidden, 3))
        )
        for qrz, rz, q, r, z, n, h_after in zip(*walk, after, strict=True):
            qrz.baddbmm_(h, u)
            rz.sigmoid_()
            n.addcmul_(r, q).tanh_()
            h = torch.lerp(n, h, z, out=h_after)
        ctx.save_for_backward(x, w_x, w_h, gates, states)
        return torch.cat((states[0, 1:], states[1, 1:].flip(0)), 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_states: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Walk back, then every weight's gradient as one product over all frames."""
        x, w_x, w_h, gates, states = ctx.saved_tensors
        hidden = w_h.shape[2]
        by_gates = walk_back(by_states, w_h.roll(hidden, 1), gates, states)
        fed_by_h, fed_by_x = (by_gates[..., at : at + 3 * hidden].flatten(1, 2) for at in (0, hidden))
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = (fed_by_x[1] @ w_x[1]).view_as(x).flip(0)
            by_x.flatten(0, 1).addmm_(fed_by_x[0], w_x[0])
        by_w_x = torch.stack([by.T @ rows.flatten(0, 1) for by, rows in zip(fed_by_x, (x, x.flip(0)), strict=True)])
        by_w_h = torch.stack([by.T @ h[:-1].flatten(0, 1) for by, h in zip(fed_by_h, states, strict=True)])
        by_biases = by_gates.sum((1, 2))
        by_b_x, by_b_h = by_biases[:, hidden:], by_biases[:, : 3 * hidden]
        return by_x, by_w_x, by_w_h.roll(-hidden, 1), by_b_x, by_b_h.roll(-hidden, 1)


def walk_back(by_states: Tensor, u: Tensor, gates: Tensor, states: Tensor) -> Tensor:
    """The gradients by what goes into the gates, (2, T, B, 4 H), from those by the layer's output (T, B, 2 H)."""
    (_, frames, _, _), hidden = gates.shape, u.shape[2]
    by_h = torch.empty_like(states)  # by the state after every step, to which later steps add
    by_h[0, 1:] = by_states[..., :hidden]
    by_h[1, 1:] = by_states[..., hidden:].flip(0)
    by_gates = torch.empty_like(gates)
    by_each, by_qrz = by_gates.unflatten(3, (4, hidden)).unbind(1), by_gates[..., : 3 * hidden].unbind(1)
    z, g = gates[..., 2 * hidden : 3 * hidden].unbind(1), by_h.unbind(1)
    at_once = max(1, SLOPES_AT_ONCE // gates[:, 0].numel())
    buffer = torch.empty_like(gates[:, :at_once])
    for first in reversed(range(0, frames, at_once)):
        some = slice(first, min(first + at_once, frames))
        slopes = slopes_of(gates[:, some], states[:, some], buffer[:, : some.stop - first])
        for step, slope in reversed(list(enumerate(slopes.unflatten(3, (4, hidden)).unbind(1), first))):
            torch.mul(slope, g[step + 1].unsqueeze(2), out=by_each[step])
            g[step].addcmul_(g[step + 1], z[step]).baddbmm_(by_qrz[step], u)
    return by_gates


def slopes_of(gates: Tensor, before: Tensor, out: Tensor) -> Tensor:
    """What a gradient by the next state is multiplied with for those by q, r, z, n, in ``out`` (2, T, B, 4 H).

    ``gates`` are (2, T, B, 4 H), the states ``before`` each step (2, T, B, H).
    """
    hidden = before.shape[3]
    q, r, z, n = gates.split(hidden, 3)
    by_q, by_r, by_z, by_n = out.split(hidden, 3)
    tanh_backward(1 - z, n, grad_input=by_n)
    torch.mul(r, by_n, out=by_q)
    sigmoid_backward(q * by_n, r, grad_input=by_r)
    sigmoid_backward(before - n, z, grad_input=by_z)
    return out
