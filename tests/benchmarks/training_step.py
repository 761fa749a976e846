"""A training step of the CRNN (3 x 144 GRU, batch 32): bf16 and channels-last against fp32 and contiguous maps."""

import torch
from timing import report, seconds_of

from trainables.network import Network, autocast, has_bf16_units
from trainables.tasks import TASKS

CPU = torch.device("cpu")
TASK = TASKS["drum_onsets"]
torch.manual_seed(0)
BANDS = torch.rand(32, 400, 84).half()
TARGETS = (torch.rand(32, 400, 5) > 0.97).float()


def step_of(precision: str, memory_format: torch.memory_format) -> float:
    """Seconds of one step."""
    network = Network(TASK, "crnn", {"layers": 3, "hidden": 144}, bands=84, classes=5)
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    convolutions = network.model.over_bands
    if memory_format is torch.contiguous_format:
        # the module itself asks for channels-last maps: feed its blocks plain ones
        convolutions.forward = lambda bands: convolutions.blocks(bands.unsqueeze(1)).permute(0, 2, 1, 3).flatten(2)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)

    def step() -> None:
        with autocast(CPU, precision):
            logits = network(BANDS)
        optimiser.zero_grad()
        TASK.loss(logits, TARGETS, torch.full((5,), 10.0)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()

    return seconds_of(step, 3)


if not has_bf16_units(CPU):
    print("A training step of the CRNN: this processor has no bf16 units, nothing to compare\n")
else:
    report(
        f"A training step of the CRNN, batch 32, {torch.get_num_threads()} threads",
        ("fp32, contiguous", step_of("fp32", torch.contiguous_format)),
        ("bf16 autocast, channels last", step_of("bf16", torch.channels_last)),
        target=2,
    )
