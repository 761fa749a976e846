"""Training and validation without a search: how fast every architecture is, what bounds it, how far it is from that.

Real epochs of the training loop over shards that it makes itself. It needs torch, numpy and pyarrow only.
Run: PYTHONPATH=. python3 tests/benchmarks/training.py [--json FILE] [--only NAME ...] [--quick]
It takes about 6 minutes, on two cores as on a GPU.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from training_epoch import compare_epochs, compare_precisions
from training_machine import measure
from training_networks import Plan, compare_networks
from training_packed import compare_packed
from training_shards import make_corpus

from trainables.network import best_device

PLANS = {
    "cpu": Plan(train_windows=64, validation_windows=32, batch=32, epochs=1, seconds=10),
    "cuda": Plan(train_windows=16_384, validation_windows=4_096, batch=128, epochs=3, seconds=20),
}
QUICK = Plan(train_windows=8, validation_windows=4, batch=4, epochs=1, seconds=5)


def main() -> int:
    """Parse, measure, print, write; 1 where a network could not be trained."""
    options = parse()
    device = best_device() if options.device == "auto" else torch.device(options.device)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())  # as a network's parameters name it
    plan = QUICK if options.quick else PLANS[device.type]
    given = {"batch": options.batch, "train_windows": options.windows, "seconds": options.seconds}
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    torch.backends.cudnn.benchmark = device.type == "cuda"  # as the loop has it
    parts = [part for part in ("networks", "packed", "epoch", "precisions") if getattr(options, part)]
    if not parts:
        parts = ["networks"] if options.quick else ["networks", "packed", "precisions"]
        parts += ["epoch"] if device.type == "cpu" and not options.quick else []
    machine = measure(device)
    print(
        f"{machine.name}, torch {torch.__version__}: products of {machine.precision} at "
        f"{machine.peak_flop_per_s / 1e12:.3g} TFLOP/s, memory at {machine.memory_bytes_per_s / 1e9:.3g} GB/s\n",
        flush=True,
    )
    found: dict[str, Any] = {"machine": {**asdict(machine), "device": str(device)}, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        if {"networks", "packed"} & set(parts):
            corpus = make_corpus(
                Path(name), train_windows=plan.train_windows, validation_windows=plan.validation_windows
            )
        for part in parts:
            if part == "networks":
                found[part] = compare_networks(machine, plan, corpus, options.only, options.compile, options.quick)
            elif part == "packed":
                found[part] = compare_packed(device, corpus, plan.batch, plan.seconds)
            elif part == "precisions":
                found[part] = compare_precisions(device)
            else:
                found[part] = compare_epochs()
            if options.json:  # after each, as a later one may be cut off
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return int(any("error" in row for row in found.get("networks", [])))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch", type=int, help="windows a step: 128 on a GPU, 32 on a processor")
    parser.add_argument("--windows", type=int, help="training windows of the corpus")
    parser.add_argument("--seconds", type=float, help="for the measured epochs of one network, at least one epoch")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="architectures or rows of the table")
    parser.add_argument("--compile", action="store_true", help="time every network compiled as well")
    parser.add_argument("--quick", action="store_true", help="the smaller size of each, for a few windows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    for part, text in (
        ("networks", "every architecture at two sizes"),
        ("packed", "several processes on one device"),
        ("epoch", "an epoch against a plain loop, on the processor"),
        ("precisions", "the loss in bf16 against fp32"),
    ):
        parser.add_argument(f"--{part}", action="store_true", help=f"only {text}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
