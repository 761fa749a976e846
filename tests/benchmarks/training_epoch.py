"""An epoch of the training loop against the plain one, and its loss in bf16 against fp32."""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_counts import RULE, counted
from timing import print_table, report
from training_plain import PlainCrnn, PlainTraining, dataset
from training_shards import make_corpus, training_data

from data_prep.manifest import WINDOW_FRAMES
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS
from trainables.config import Settings
from trainables.data import TrainingData
from trainables.loop import fit
from trainables.metrics import count_hits
from trainables.network import Network, has_bf16_units
from trainables.peaks import find_peaks
from trainables.tasks import find_task

TASK = find_task("drum_onsets")
CRNN = {"layers": 3, "hidden": 144}
TRAIN_WINDOWS, VALIDATION_WINDOWS, BATCH, THREADS = 1_000, 150, 32, 2
WARM_UP_STEPS = 2
TARGET = 2.5
STEPS, MOST_DIFFERENCE = 50, 0.02
PRECISION_EPOCHS, PRECISION_BATCH = 10, {"cpu": 4, "cuda": 128}
PRECISION_NETWORKS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {"crnn": {"layers": 2, "hidden": 72}},
    "cuda": {name: {} for name in ("rnn", "cnn", "crnn", "conv_transformer", "vit")},
}
SAME_FUNCTION = 1e-3  # of logits; both sum in another order


def network_of(data: TrainingData, architecture: str, hyperparameters: dict[str, Any]) -> Network:
    """A network with the same initial weights at every call."""
    torch.manual_seed(0)
    return Network.fitting(data, TASK, architecture, hyperparameters)


def plain_epoch(corpus: Corpus) -> dict[str, float]:
    """An epoch of the plain loop: seconds and losses. For a process of its own: see keep_freed_memory."""
    torch.set_num_threads(THREADS)
    settings, data = Settings(batch_size=BATCH, max_epochs=1), training_data(corpus)
    plain, warm = (PlainTraining(PlainCrnn(data, **CRNN), data, settings) for _ in range(2))
    network = network_of(data, "crnn", CRNN)
    plain.network.take_weights(network)
    check_same(network, plain.network)
    train_windows, validation_windows = dataset(data.train), dataset(data.validation)
    warm.train(train_windows, WARM_UP_STEPS)
    began = time.perf_counter()
    loss = plain.train(train_windows)
    trained = time.perf_counter()
    validation_loss, _ = plain.validate(validation_windows)
    ended = time.perf_counter()
    return {
        "seconds": ended - began,
        "training_s": trained - began,
        "validation_s": ended - trained,
        "train_loss": loss,
        "validation_loss": validation_loss,
    }


def compare_epochs() -> dict[str, Any]:
    """Print how long an epoch takes either way; what was measured."""
    torch.set_num_threads(THREADS)
    settings = Settings(batch_size=BATCH, max_epochs=1)
    with tempfile.TemporaryDirectory() as large, tempfile.TemporaryDirectory() as small:
        corpus = make_corpus(Path(large), train_windows=TRAIN_WINDOWS, validation_windows=VALIDATION_WINDOWS)
        few = make_corpus(Path(small), train_windows=WARM_UP_STEPS * BATCH, validation_windows=BATCH)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            plain = fresh.submit(plain_epoch, corpus).result()
        data = training_data(corpus)
        list(fit(network_of(data, "crnn", CRNN), TASK, training_data(few), settings))
        ours = next(fit(network_of(data, "crnn", CRNN), TASK, data, settings)).metrics
    report(
        f"An epoch of {TRAIN_WINDOWS:,} training and {VALIDATION_WINDOWS} validation windows, crnn 3 x 144 gru, "
        f"batch {BATCH}, {THREADS} threads",
        ("TensorDataset, fp32, loops over batch and class", plain["seconds"]),
        ("the training loop", ours["seconds"]),
        target=TARGET,
    )
    print_table(
        "Of it",
        ("", "training s", "validation s", "training loss", "validation loss"),
        [
            (
                "plain",
                f"{plain['training_s']:.2f}",
                f"{plain['validation_s']:.2f}",
                f"{plain['train_loss']:.4f}",
                f"{plain['validation_loss']:.4f}",
            ),
            (
                "the training loop",
                f"{TRAIN_WINDOWS / ours['windows_per_s']:.2f}",
                f"{VALIDATION_WINDOWS / ours['validation_windows_per_s']:.2f}",
                f"{ours['train_loss']:.4f}",
                f"{ours['validation_loss']:.4f}",
            ),
        ],
    )
    return {"plain": plain, "ours": ours}


@torch.no_grad()
def check_same(network: Network, plain: PlainCrnn) -> None:
    """AssertionError where the plain network is another function, or the plain loop counts otherwise."""
    bands = torch.rand(2, WINDOW_FRAMES, BANDS)
    torch.testing.assert_close(network.eval()(bands), plain.eval()(bands), atol=SAME_FUNCTION, rtol=0)
    activations, onsets = torch.rand(4, WINDOW_FRAMES, 5), torch.rand(4, WINDOW_FRAMES, 5) > 0.97
    counts = count_hits(find_peaks(activations, RULE), onsets).sum(dim=0).numpy()
    np.testing.assert_array_equal(counted(activations, onsets), counts)


def compare_precisions(device: torch.device) -> list[dict[str, Any]]:
    """Print the loss after 50 steps on a small fixed corpus in bf16 and in fp32; the rows for JSON."""
    if not has_bf16_units(device):
        print("bf16 against fp32: this device has no bf16 units, nothing to compare\n")
        return []
    torch.backends.cudnn.allow_tf32 = False  # fp32 is to mean it; bf16 is not touched by this
    batch = PRECISION_BATCH[device.type]
    settings = Settings(batch_size=batch, max_epochs=PRECISION_EPOCHS)
    rows, cells = [], []
    with tempfile.TemporaryDirectory() as folder:
        windows = batch * STEPS // PRECISION_EPOCHS
        data = training_data(make_corpus(Path(folder), train_windows=windows, validation_windows=batch))
        for name, chosen in PRECISION_NETWORKS[device.type].items():
            fp32, bf16 = (
                list(fit(network_of(data, name, chosen).to(device), TASK, data, replace(settings, precision=kind)))[-1]
                for kind in ("fp32", "bf16")
            )
            losses = [of.metrics["train_loss"] for of in (fp32, bf16)]
            difference = losses[1] / losses[0] - 1
            rows.append({"architecture": name, "fp32": losses[0], "bf16": losses[1], "difference": difference})
            verdict = " MISSED" if abs(difference) > MOST_DIFFERENCE else ""
            cells.append((name, *(f"{loss:.4f}" for loss in losses), f"{difference:+.2%}{verdict}"))
    print_table(
        f"Training loss of the last epoch of {STEPS} steps, batch {batch}; asked for: within {MOST_DIFFERENCE:.0%}",
        ("architecture", "fp32", "bf16", "difference"),
        cells,
    )
    return rows
