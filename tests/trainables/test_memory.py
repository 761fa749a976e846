"""Memory that runs out ends no training, on a GPU or on the host."""

import platform
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from small_networks import SMALL, TASK, network_of

from trainables.config import Settings
from trainables.loop import accumulate, fit
from trainables.memory import MemoryGuard, OutOfMemory
from trainables.network import Network
from trainables.stopwatch import Stopwatch


@pytest.mark.parametrize("name", ["rnn", "vit"])  # without batch normalisation
@pytest.mark.parametrize("at_once", [1, 3])
def test_gradients_do_not_hang_on_how_many_windows_go_at_once(data, name, at_once):
    network = network_of(data, name).eval()
    bands, stored = data.train.read(next(data.train.in_order.pieces(7)))
    weights = torch.tensor(TASK.class_weights(data.rates), dtype=torch.float32)
    found = []
    for pieces in (7, at_once):
        network.zero_grad()
        loss = accumulate(network, TASK, bands, stored, weights, Settings(precision="fp32"), pieces, Stopwatch())
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
    RuntimeError("could not create a primitive"),
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


@pytest.mark.parametrize(
    "text", ["size mismatch", "could not create a primitive descriptor for a convolution forward propagation primitive"]
)
def test_other_errors_are_not_taken_for_it(text):
    def work(at_once):
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match=text):
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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc, or no limit of addresses")
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
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(faults(), keep_freed_memory(), faults(), faults())
held = resident()
keep_freed_memory()
print(held - resident())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    plain, kept, _, again, given_back = done.stdout.split()
    assert kept == "True"
    assert int(again) < int(plain) / 20
    assert int(given_back) > 30e6  # for the next training
