"""A training step of the CRNN (3 x 144 GRU, batch 32) on a processor against the plain one, and where its time goes.

Plain is fp32 with contiguous maps and the GRU as torch runs it on a processor.
"""

import time
from itertools import pairwise

import torch
from timing import report, seconds_of
from torch import Tensor, nn

from trainables.models.gru import Gru
from trainables.network import Network, autocast, has_bf16_units
from trainables.tasks import TASKS

CPU = torch.device("cpu")
TASK = TASKS["drum_onsets"]
HIDDEN, LAYERS = 144, 3
torch.manual_seed(0)
BANDS = torch.rand(32, 400, 84).half()
TARGETS = (torch.rand(32, 400, 5) > 0.97).float()
PARTS = ("convolutions", "recurrence", "head and loss", "recurrence, backward", "convolutions, backward", "optimiser")


def made(plain: bool) -> Network:
    """The network, made over into the plain one if wanted."""
    network = Network(TASK, "crnn", {"layers": LAYERS, "hidden": HIDDEN}, bands=84, classes=5)
    if plain:
        convolutions, recurrence = network.model.over_bands, network.model.over_time
        # the module itself asks for channels-last maps: feed its blocks contiguous ones
        convolutions.blocks.to(memory_format=torch.contiguous_format)
        convolutions.forward = lambda bands: convolutions.blocks(bands.unsqueeze(1)).permute(0, 2, 1, 3).flatten(2)
        recurrence.stack = torch_s_gru(convolutions.features)
    return network


def torch_s_gru(features: int) -> nn.GRU:
    """nn.GRU of the same size."""
    return nn.GRU(features, HIDDEN, LAYERS, batch_first=True, bidirectional=True, dropout=0.1)


def step_of(plain: bool, precision: str) -> list[float]:
    """The shortest time of every part of ``PARTS`` over some steps, then of a whole step, in seconds."""
    network = made(plain)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    took = []

    def step() -> None:
        marks = [time.perf_counter()]

        def mark(_: Tensor | None = None) -> None:
            marks.append(time.perf_counter())

        with autocast(CPU, precision):
            maps = network.model.over_bands((BANDS.float() - network.mean) / network.deviation)
            mark()
            features = network.model.over_time(maps)
            mark()
            logits = network.head(features)
        optimiser.zero_grad()
        loss = TASK.loss(logits, TARGETS, torch.full((5,), 10.0))
        features.register_hook(mark)
        maps.register_hook(mark)
        loss.backward()
        mark()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        mark()
        took.append([later - sooner for sooner, later in pairwise(marks)])

    whole = seconds_of(step, 3)
    return [min(part) for part in zip(*took[1:], strict=True)] + [whole]


def recurrence_of(kind: str, precision: str) -> float:
    """Seconds of the recurrent stack alone, forward and backward."""
    features = 576
    stack = Gru(features, HIDDEN, LAYERS, dropout=0.1) if kind == "ours" else torch_s_gru(features)
    maps = torch.randn(32, 400, features, requires_grad=True)

    def both_ways() -> None:
        with autocast(CPU, precision):
            states = stack(maps)[0]
        states.float().square().mean().backward()

    return seconds_of(both_ways, 3)


PRECISION = "bf16" if has_bf16_units(CPU) else "fp32"
plain, ours = step_of(True, "fp32"), step_of(False, PRECISION)
print(f"Parts of a step, seconds{'':<31}{'plain':>9}{'ours':>9}")
for name, before, after in zip(PARTS, plain, ours, strict=False):
    print(f"  {name:<52}{before:9.3f}{after:9.3f}")
report(
    f"A training step of the CRNN, batch 32, {torch.get_num_threads()} threads",
    ("fp32, contiguous maps, torch's GRU", plain[-1]),
    (f"{PRECISION}, channels-last maps, both ways at once", ours[-1]),
    target=2.5,
)
report(
    f"Its recurrent stack alone, forward and backward, {PRECISION}",
    ("torch's GRU", recurrence_of("torch", PRECISION)),
    ("both ways at once", recurrence_of("ours", PRECISION)),
    target=1.5,
)
