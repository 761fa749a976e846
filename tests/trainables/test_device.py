"""An epoch on a device: nothing waits for it, nothing leaves it, and memory that runs out ends no training."""

import platform
import subprocess
import sys
import weakref
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainables import loop
from trainables.config import Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.loop import accumulate, fit, joined, train
from trainables.memory import MemoryGuard, OutOfMemory
from trainables.models import MODELS
from trainables.models.blocks import Recurrence, recur
from trainables.network import Network, has_bf16_units
from trainables.placement import MappedWindows, ResidentWindows
from trainables.stopwatch import Stopwatch
from trainables.tasks import TASKS

TASK = TASKS["drum_onsets"]
CPU = torch.device("cpu")
SMALL = {
    "rnn": {"layers": 2, "hidden": 16},
    "cnn": {"hidden": 16},
    "crnn": {"layers": 2, "hidden": 16},
    "conv_transformer": {"heads": 2, "layers": 1, "width": 24},
    "vit": {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24},
}


@pytest.fixture(scope="module")
def data(shards) -> TrainingData:
    return TrainingData.open(("mdb",), shards, "onsets")


def network_of(data: TrainingData, name: str) -> Network:
    torch.manual_seed(0)
    return Network(TASK, name, SMALL[name], bands=84, classes=5, mean=data.mean, deviation=data.deviation)


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
    loss = accumulate(network, TASK, bands[:, few], stored[:, few], weights, "auto", 3, Stopwatch())
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    assert {loss.device, norm.device, *(of.grad.device for of in network.parameters())} == {meta}


def test_the_tracks_of_an_epoch_are_joined_on_the_device(data, monkeypatch):
    meta = torch.device("meta")
    monkeypatch.setattr(loop, "autocast", lambda *_: nullcontext())
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


@pytest.mark.parametrize("name", ["rnn", "vit"])  # without batch normalisation
@pytest.mark.parametrize("at_once", [1, 3])
def test_gradients_do_not_hang_on_how_many_windows_go_at_once(data, name, at_once):
    network = network_of(data, name).eval()
    bands, stored = data.train.read(next(data.train.in_order.pieces(7)))
    weights = torch.tensor(TASK.class_weights(data.rates), dtype=torch.float32)
    found = []
    for pieces in (7, at_once):
        network.zero_grad()
        loss = accumulate(network, TASK, bands, stored, weights, "fp32", pieces, Stopwatch())
        found.append((loss, torch.cat([of.grad.flatten() for of in network.parameters()])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


class RunsOut:
    """A network's first steps raise, as a GPU does, where more than so many windows are asked for."""

    def __init__(self, network: Network, windows: int, error: Exception) -> None:
        self.sizes: list[int] = []
        self.windows, self.error = windows, error
        network.register_forward_pre_hook(self)

    def __call__(self, network, arguments):
        self.sizes.append(len(arguments[0]))
        if self.sizes[-1] > self.windows:
            raise self.error


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_what_says_that_memory_ran_out(error):
    def work(at_once):
        if at_once > 3:
            raise error
        return at_once

    assert MemoryGuard(16).run(work, 16) == 2


@pytest.mark.parametrize("error", ERRORS[:1])
def test_memory_that_runs_out_halves_the_micro_batch(data, error):
    """And the epoch is the same as without, as gradients are accumulated over the batch."""
    settings = Settings(batch_size=12, max_epochs=2, precision="fp32", learning_rate=1e-3)
    epochs, sizes = [], []
    for windows in (12, 3):
        network = network_of(data, "rnn")
        network.model.over_time.stack.dropout = 0.0  # its masks would differ
        tight = RunsOut(network, windows, error)
        epochs.append([epoch.metrics for epoch in fit(network, TASK, data, settings)])
        sizes.append(tight.sizes)
    assert sizes[1][:7] == [12, 6, 3, 3, 3, 3, 6]  # the batch; then validation
    assert [metrics["micro_batch"] for metrics in epochs[1]] == [3.0, 3.0]
    for roomy, tight_ in zip(*epochs, strict=True):
        for name in ("train_loss", "validation_loss", "validation_micro_f1"):
            assert tight_[name] == pytest.approx(roomy[name], rel=1e-4), name


def test_a_single_window_that_does_not_fit_is_told(data):
    network = network_of(data, "rnn")
    RunsOut(network, 0, ERRORS[0])
    settings = Settings(batch_size=4, precision="fp32")
    with pytest.raises(OutOfMemory, match=r"memory ran out with a single window at once \(CUDA out of memory"):
        next(fit(network, TASK, data, settings))


def test_other_errors_are_not_taken_for_it():
    def work(at_once):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        MemoryGuard(8).run(work, 8)


def test_what_ran_out_is_let_go_before_the_next_try():
    """An error's traceback holds the frames in which it was raised, and their tensors."""
    held = []

    def work(at_once):
        assert not [of for of in held if of() is not None]
        tensor = torch.zeros(at_once)
        held.append(weakref.ref(tensor))
        if at_once > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return at_once

    assert MemoryGuard(16).run(work, 16) == 2
    assert len(held) == 4


def test_a_processor_s_memory_that_runs_out_is_borne(shards):
    """In a process that may have so much address space and no more: a map of 12 windows has 52 MB."""
    code = f"""
import resource, torch
from pathlib import Path
from trainables.config import Settings, TrainingConfig
from trainables.loop import train
torch.set_num_threads(1)
def metrics(batch_size):
    settings = Settings(batch_size=batch_size, max_epochs=1, precision="fp32")
    config = TrainingConfig(("mdb",), "cnn", {SMALL["cnn"]!r}, settings)
    return next(train(config, Path({str(shards)!r}), device="cpu")).metrics
metrics(1)  # what is loaded late is there
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, resource.RLIM_INFINITY))
print(metrics(12)["micro_batch"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 1 <= float(done.stdout) < 12


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_of_freed_tensors_is_used_again():
    """Counted in pages that the system had to bring: 20 tensors of 40 MB, one after the other."""
    code = """
import resource, torch
from trainables.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
print(faults(), keep_freed_memory(), faults(), faults())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    plain, kept, _, again = done.stdout.split()
    assert kept == "True"
    assert int(again) < int(plain) / 20


def test_stages_add_up_to_the_epoch(data):
    stages = ("data", "forward", "backward", "optimiser", "validation")
    settings = Settings(batch_size=4, max_epochs=2, precision="fp32")
    for epoch in fit(network_of(data, "rnn"), TASK, data, settings, stopwatch=Stopwatch(CPU)):
        seconds = [epoch.metrics[f"{stage}_s"] for stage in stages]
        assert min(seconds) > 0
        assert 0.8 * epoch.metrics["seconds"] < sum(seconds) <= epoch.metrics["seconds"]


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
            of.append(float(accumulate(network, TASK, bands, stored, weights, precision, 4, Stopwatch())))
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
            accumulate(network, TASK, bands, stored, weights, "auto", 3, Stopwatch())
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
