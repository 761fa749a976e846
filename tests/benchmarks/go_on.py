r"""Train a checkpoint on with other settings: a new cosine from its weights, its bands' mean and deviation kept.

    python tests/benchmarks/go_on.py CHECKPOINT OUT --shards DIR \
        --settings '{"audible_rise": 0.1, "class_gain_db": 8, "learning_rate": 0.001, "max_epochs": 6}'

An epoch a line; OUT is the last one's checkpoint, at the end of the cosine.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from trainables.checkpoint import Checkpoint
from trainables.data import TrainingData
from trainables.loop import fit
from trainables.network import best_device
from trainables.tasks import find_task


def main() -> None:
    """Train, tell every epoch, keep the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, of trainables.config.SETTING_NAMES")
    arguments = parser.parse_args()
    start = Checkpoint.load(arguments.checkpoint)
    config = replace(start.config, settings=start.config.settings.with_values(arguments.settings))
    task, device = find_task(config.task), best_device()
    torch.manual_seed(config.settings.seed)
    data = TrainingData.open(config.corpora, arguments.shards, task.targets)
    network = start.network().to(device)
    for epoch in fit(network, task, data, config.settings):
        told = {name: of for name, of in epoch.metrics.items() if name.startswith("validation_")}
        print(epoch.number, *(f"{name} {of:.3f}" for name, of in told.items()), flush=True)
        found = {"weights": epoch.weights, "epoch": epoch.number, "metrics": told, "peak_rule": epoch.rule}
        replace(start, config=config, **found).save(arguments.out)


if __name__ == "__main__":
    main()
