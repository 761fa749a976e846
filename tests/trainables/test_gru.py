"""The GRU for a processor against torch's own: outputs, last states and every gradient."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.models import gru
from trainables.models.gru import BothWays, Gru


def both(features: int, hidden: int, layers: int, dtype: torch.dtype = torch.float32) -> tuple[nn.GRU, Gru]:
    """torch's GRU and ours with the same weights."""
    theirs = nn.GRU(features, hidden, layers, batch_first=True, bidirectional=True).to(dtype)
    ours = Gru(features, hidden, layers).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def results(of: nn.Module, bands: torch.Tensor, towards: torch.Tensor, last: torch.Tensor) -> list[torch.Tensor]:
    """Output, last states, and the gradients by input and weights of a random weighted sum of both."""
    of.zero_grad()
    given_bands = bands.clone().requires_grad_()
    output, state = of(given_bands)
    ((output * towards).sum() + (state * last).sum()).backward()
    return [output, state, given_bands.grad, *(parameter.grad for parameter in of.parameters())]


def compare(batch, frames, features, hidden, layers, dtype, tolerance):
    theirs, ours = both(features, hidden, layers, dtype)
    bands = torch.randn(batch, frames, features, dtype=dtype)
    towards = torch.randn(batch, frames, 2 * hidden, dtype=dtype)
    last = torch.randn(2 * layers, batch, hidden, dtype=dtype)
    for one, other in zip(results(ours, bands, towards, last), results(theirs, bands, towards, last), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        error, size = (float(of.detach().abs().max()) for of in (one - other, other))
        assert error <= tolerance * max(1.0, size)


@settings(max_examples=30)
@given(
    batch=st.integers(1, 5), frames=st.integers(1, 40), features=st.integers(1, 9), hidden=st.integers(1, 18),
    layers=st.integers(1, 3), at_once=st.sampled_from([1, 2**10, 2**19]), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_it_is_torch_s_gru(batch, frames, features, hidden, layers, at_once, seed):
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gru, "SLOPES_AT_ONCE", at_once)
        compare(batch, frames, features, hidden, layers, torch.float64, 1e-12)
        compare(batch, frames, features, hidden, layers, torch.float32, 1e-5)


def test_it_is_torch_s_gru_at_the_size_of_the_study():
    torch.manual_seed(0)
    compare(8, 400, 84, 144, 2, torch.float32, 1e-5)


def test_its_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    shapes = ((5, 2, 3), (2, 6, 3), (2, 6, 2), (2, 6), (2, 6))
    given_tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(BothWays.apply, given_tensors)


def test_saturated_gates_have_finite_gradients():
    torch.manual_seed(0)
    theirs, ours = both(3, 4, 1)
    with torch.no_grad():
        for module in (theirs, ours):
            module.weight_ih_l0 *= 1e3
    bands, towards = torch.randn(2, 30, 3), torch.randn(2, 30, 8)
    for one, other in zip(
        results(ours, bands, towards, torch.zeros(2, 2, 4)),
        results(theirs, bands, towards, torch.zeros(2, 2, 4)),
        strict=True,
    ):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_bf16_is_as_near_to_fp32_as_torch_s_bf16():
    """bf16 keeps 8 bits: outputs, of size 1 at most, within 0.05; gradients within 5 % of their length."""
    torch.manual_seed(0)
    theirs, ours = both(84, 72, 2)
    bands, towards, last = torch.randn(8, 200, 84), torch.randn(8, 200, 144), torch.zeros(4, 8, 72)
    exact = results(theirs, bands, towards, last)
    with torch.autocast("cpu", torch.bfloat16):
        ours_rough, theirs_rough = results(ours, bands, towards, last), results(theirs, bands, towards, last)
    assert ours_rough[0].dtype == torch.bfloat16
    assert (ours_rough[0] - exact[0]).abs().max() < 0.05
    for one, other, right in zip(ours_rough[2:], theirs_rough[2:], exact[2:], strict=True):
        error, their_error = (float((of - right).norm() / right.norm()) for of in (one, other))
        assert error < 0.05
        assert error < 1.5 * their_error


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 1)], ids=str)
def test_it_gives_the_same_without_gradients_and_from_views(mode, shape):
    torch.manual_seed(0)
    theirs, ours = both(5, 4, 2)
    bands = torch.randn(shape[1], 10, shape[0]).permute(2, 0, 1)[..., ::2]
    assert bands.shape == (*shape, 5)
    with mode():
        output, state = ours.eval()(bands)
        wanted, wanted_state = theirs.eval()(bands)
    assert not output.requires_grad
    torch.testing.assert_close(output, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(state, wanted_state, atol=1e-6, rtol=1e-5)


def test_dropout_falls_between_layers_and_only_in_training():
    torch.manual_seed(0)
    ours = Gru(5, 200, 2, dropout=0.25)
    bands = torch.randn(4, 30, 5)
    seen = []
    first, second = ours.weights_of(0), ours.weights_of(1)
    with torch.no_grad():
        below = BothWays.apply(bands.transpose(0, 1), *first)
        torch.testing.assert_close(ours.eval()(bands)[0].transpose(0, 1), BothWays.apply(below, *second))
        ours.train()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BothWays, "apply", lambda x, *rest: seen.append(x) or below)
            ours(bands)
    kept = seen[1] != 0
    assert abs(float(kept.float().mean()) - 0.75) < 0.01
    torch.testing.assert_close(seen[1][kept], below[kept] / 0.75)
    assert len(seen) == 2  # nothing is dropped from the input or from the output
    torch.testing.assert_close(seen[0], bands.transpose(0, 1))


def test_checkpoints_of_torch_s_gru_fit_and_copies_are_whole():
    theirs, ours = both(5, 4, 3)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    twin = copy.deepcopy(ours)
    bands = torch.randn(2, 6, 5)
    torch.testing.assert_close(twin(bands)[0], theirs(bands)[0], atol=1e-6, rtol=1e-5)


def test_off_the_processor_it_is_torch_s_own(monkeypatch):
    called = []
    monkeypatch.setattr(nn.GRU, "forward", lambda self, bands: called.append(bands) or (bands, bands))
    bands = torch.empty(2, 3, 5, device="meta")
    assert Gru(5, 4, 1)(bands)[0] is bands
    assert len(called) == 1


def test_walking_back_twice_gives_the_same():
    torch.manual_seed(0)
    _, ours = both(5, 4, 2)
    total = ours(torch.randn(2, 6, 5))[0].square().sum()
    once = torch.autograd.grad(total, ours.parameters(), retain_graph=True)
    again = torch.autograd.grad(total, ours.parameters())
    torch.testing.assert_close(once, again, atol=0, rtol=0)


def test_no_second_derivatives():
    _, ours = both(5, 4, 1)
    total = ours(torch.randn(2, 6, 5))[0].square().sum()
    (slope,) = torch.autograd.grad(total, [ours.weight_hh_l0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_every_step_of_a_walk_has_the_same_strides(monkeypatch):
    """oneDNN keeps 1,024 prepared products: with strides of its own every step of a long track would prepare one."""
    met = set()
    inside = torch.Tensor.baddbmm_

    def noted(self, one, other):
        met.add((self.stride(), one.stride(), other.stride()))
        return inside(self, one, other)

    monkeypatch.setattr(torch.Tensor, "baddbmm_", noted)
    Gru(5, 4, 2)(torch.randn(2, 50, 5))[0].sum().backward()
    assert len(met) == 2  # one forwards and one back
