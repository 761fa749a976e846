"""An epoch on a device: nothing waits for it, nothing leaves it, and bf16 comes as far as fp32."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from small_networks import SMALL, TASK, network_of
from torch._subclasses.fake_tensor import FakeTensorMode

from trainables import loop, validation
from trainables.config import Settings, TrainingConfig
from trainables.loop import accumulate, fit, train
from trainables.models import MODELS
from trainables.models.blocks import Recurrence, recur
from trainables.network import has_bf16_units
from trainables.placement import MappedWindows, ResidentWindows
from trainables.stopwatch import Stopwatch
from trainables.validation import joined

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_step_waits_for_the_device_or_mixes_devices(data, name, monkeypatch):
    """On a device whose tensors have no values, asking for one raises, and so does an operand that lies elsewhere."""
    meta = torch.device("meta")
    monkeypatch.setattr(loop, "autocast", lambda *_: nullcontext())
    network = network_of(data, name).to(meta)
    weights = torch.ones(5, device=meta)
    with pytest.raises(RuntimeError, match="meta"):
        float(weights.sum())
    bands, stored = next(ResidentWindows(data.train, meta).shuffled(5, np.random.default_rng(0)))
    assert bands.device == stored.device == meta
    few = slice(0, 12)  # frames: recurrences are walked frame by frame here
    loss = accumulate(network, TASK, bands[:, few], stored[:, few], weights, Settings(), 3, Stopwatch())
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    assert {loss.device, norm.device, *(of.grad.device for of in network.parameters())} == {meta}


def test_the_tracks_of_an_epoch_are_joined_on_the_device(data, monkeypatch):
    meta = torch.device("meta")
    monkeypatch.setattr(validation, "autocast", lambda *_: nullcontext())
    network = network_of(data, "cnn").to(meta)
    with torch.inference_mode():
        found = joined(network, TASK, ResidentWindows(data.validation, meta), "auto", 3)
    assert {of.device for of in found} == {meta}


def test_tracks_are_joined_with_silence_between(data):
    """A network that shows its first bands: what comes out are the tracks' own frames, at their places."""
    split = data.validation
    shown = torch.nn.Module()
    shown.forward = lambda bands: bands[..., :5].float()
    _, activations, targets = joined(shown, TASK, MappedWindows(split, CPU), "fp32", 3)
    assert len(activations) == len(targets) == split.line_frames
    is_track = np.zeros(split.line_frames, bool)
    for number, frames in enumerate(split.frames):
        at = split.line_starts[split.in_order.tracks == number][0]
        own = slice(at, at + frames)
        track = split.track(number)
        torch.testing.assert_close(activations[own], torch.from_numpy(track.bands[:, :5].copy()).float().sigmoid())
        np.testing.assert_array_equal(targets[own], track.targets)
        is_track[own] = True
    assert not activations[~is_track].any()
    assert not targets[~is_track].any()


def test_stages_add_up_to_the_epoch(data):
    stages = ("data", "forward", "backward", "optimiser", "validation")
    settings = Settings(batch_size=4, max_epochs=2, precision="fp32")
    for epoch in fit(network_of(data, "rnn"), TASK, data, settings, stopwatch=Stopwatch(CPU)):
        seconds = [epoch.metrics[f"{stage}_s"] for stage in stages]
        assert min(seconds) > 0
        assert sum(seconds) <= epoch.metrics["seconds"]


def test_without_a_stopwatch_nothing_is_measured(data):
    metrics = next(fit(network_of(data, "rnn"), TASK, data, Settings(batch_size=4))).metrics
    assert not [name for name in metrics if name.endswith("_s") and not name.endswith("per_s")]


DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_after_fifty_steps_bf16_has_come_as_far_as_fp32(data, name, device):
    """Training losses of the last ten steps, without dropout (its masks differ), within two percent."""
    if not has_bf16_units(device):
        pytest.skip("no bf16 units")
    bands, stored = (of[:, :80].to(device) for of in data.train.read(next(data.train.in_order.pieces(4))))
    weights = torch.tensor(TASK.class_weights(data.rates), dtype=torch.float32, device=device)
    losses: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for precision, of in losses.items():
        network = network_of(data, name).to(device)
        for layer in network.modules():
            if isinstance(layer, torch.nn.Dropout | torch.nn.Dropout2d):
                layer.p = 0.0
            if isinstance(layer, torch.nn.RNNBase):
                layer.dropout = 0.0
        optimiser = torch.optim.AdamW(network.parameters(), lr=5e-4, fused=True)
        for _ in range(50):
            optimiser.zero_grad()
            of.append(
                float(accumulate(network, TASK, bands, stored, weights, Settings(precision=precision), 4, Stopwatch()))
            )
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
        assert of[-1] < 0.7 * of[0]
    assert np.mean(losses["bf16"][-10:]) == pytest.approx(np.mean(losses["fp32"][-10:]), rel=0.02)


@pytest.fixture
def gpu_autocast():
    """Autocast to bf16 as it is on for a GPU, whether there is one or not."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    yield
    torch.set_autocast_enabled("cuda", False)


@pytest.mark.parametrize("unit", ["gru", "lstm"])
@pytest.mark.parametrize(("version", "dtype"), [(91_900, torch.bfloat16), (91_200, torch.float32)])
def test_recurrences_on_a_gpu_compute_in_what_autocast_says(gpu_autocast, monkeypatch, unit, version, dtype):
    """What reaches torch's recurrence, of tensors without values that claim to lie on a GPU."""
    reached = set()

    def run(features, states, weights, *rest):
        assert not torch.is_autocast_enabled("cuda")  # it would take fp16
        reached.update(of.dtype for of in (features, *(states if unit == "lstm" else [states]), *weights))
        return (features.new_empty(*features.shape[:2], 12),)

    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    monkeypatch.setattr(torch._VF, unit, run)
    recurrence = Recurrence(unit, 7, 6, 2)
    with FakeTensorMode(allow_non_fake_inputs=True):
        recurrence(torch.empty(3, 5, 7, device="cuda"))
    assert reached == {dtype}


@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.LSTM])
def test_a_recurrence_in_a_given_dtype_is_torch_s(kind):
    torch.manual_seed(0)
    stack = kind(7, 6, 2, batch_first=True, bidirectional=True)
    features = torch.randn(3, 20, 7, requires_grad=True)
    gradients = {}
    for name, out in {
        "torch": stack(features)[0],
        "fp32": recur(stack, features, torch.float32),
        "bf16": recur(stack, features, torch.bfloat16),
    }.items():
        gradients[name] = torch.autograd.grad(out.float().square().sum(), [features, *stack.parameters()])
    for expected, fp32, bf16 in zip(*gradients.values(), strict=True):
        torch.testing.assert_close(fp32, expected)
        assert bf16.dtype == torch.float32
        assert (bf16 - expected).norm() < 0.03 * expected.norm()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_gpu_gives_the_losses_of_the_processor(shards, name):
    config = TrainingConfig(
        ("mdb",), name, SMALL[name], Settings(batch_size=4, max_epochs=2, precision="fp32", learning_rate=1e-6)
    )
    losses = [
        [epoch.metrics["validation_loss"] for epoch in train(config, shards, device=device)]
        for device in ("cpu", "cuda")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_gpu_is_not_waited_for(data, name):
    """torch itself says where a step synchronises, once everything has been made."""
    gpu = torch.device("cuda", torch.cuda.current_device())
    network = network_of(data, name).to(gpu)
    weights = torch.ones(5, device=gpu)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    batches = list(ResidentWindows(data.train, gpu).shuffled(6, np.random.default_rng(0)))
    for number, (bands, stored) in enumerate(batches):
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        try:
            accumulate(network, TASK, bands, stored, weights, Settings(), 3, Stopwatch())
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
