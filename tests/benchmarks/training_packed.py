"""Several trainings beside each other on one device: processes of their own, as a search's trials are."""

import multiprocessing
import os
import queue
import time
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from typing import Any

import torch
from timing import print_table
from training_machine import HostMemory
from training_shards import training_data

from data_prep.shards import Corpus
from trainables.config import Settings
from trainables.loop import fit
from trainables.network import Network
from trainables.tasks import find_task

ARCHITECTURE, HYPERPARAMETERS = "crnn", {"layers": 3, "hidden": 144}
ASKED_TOGETHER = 10_000  # training windows a second of whole epochs, on an H200
PATIENCE_S = 300.0  # for a process to start and warm up


@dataclass(frozen=True)
class Finished:
    """What one process reports: the moments (monotonic clock, s) its epochs ended at, and its own memory."""

    began_s: float
    ended_s: list[float]
    training_rates: list[float]  # windows a second, validation left out
    host_bytes: int | None


def compare_packed(device: torch.device, corpus: Corpus, batch: int, seconds: float) -> list[dict[str, Any]]:
    """Print the windows a second of 1, 2 and 4 processes together, as many as the cores allow; the rows for JSON."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_gpu = device.type == "cuda"
    rows = []
    if on_gpu:
        torch.cuda.empty_cache()  # what this process does not use is the others'
    for processes in (1, 2, 4):
        if processes <= cores:
            rows.append(together(processes, max(cores // processes, 1), device, corpus, batch, seconds))
    first = rows[0]["epoch_rate"]
    print_table(
        f"Trainings beside each other: {ARCHITECTURE} 3 x 144 gru, batch {batch}; windows a second of all together, "
        + (f"asked for: {ASKED_TOGETHER:,} with validation" if on_gpu else "threads capped"),
        ("processes", "threads each", "train/s", "with validation", "times one", "host GB each"),
        [
            (
                str(row["processes"]),
                str(row["threads"]),
                f"{row['training']:,.1f}",
                f"{row['epoch_rate']:,.1f}"
                + (" MISSED" if on_gpu and row["processes"] > 1 and row["epoch_rate"] < ASKED_TOGETHER else ""),
                f"{row['epoch_rate'] / first:.2f}",
                "-" if row["host_bytes"] is None else f"{row['host_bytes'] / 1e9:.2f}",
            )
            for row in rows
        ],
    )
    return rows


def together(
    processes: int, threads: int, device: torch.device, corpus: Corpus, batch: int, seconds: float
) -> dict[str, Any]:
    """Train in so many processes at once, counting only the time in which all of them train."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # a spawned process's libraries read it when they are loaded
    context = multiprocessing.get_context("spawn")
    barrier, stop, results = context.Barrier(processes), context.Event(), context.Queue()
    settings = Settings(batch_size=batch, learning_rate=1e-4, max_epochs=10_000, stop_patience_epochs=10_000)
    arguments = (corpus, device, settings, threads, 1 / processes, seconds, barrier, stop, results)
    workers = [context.Process(target=_train, args=arguments, daemon=True) for _ in range(processes)]
    try:
        for worker in workers:
            worker.start()
        finished = [_next(results, workers) for _ in workers]
    finally:
        del os.environ["OMP_NUM_THREADS"]
        for worker in workers:
            worker.join(timeout=10)
            worker.kill()
    windows = corpus.manifest.splits["train"].windows
    until = min(of.ended_s[-1] for of in finished)  # later, not all of them were training
    training = epoch_rate = 0.0
    for of in finished:
        counted = max(sum(ended <= until for ended in of.ended_s), 1)
        epoch_rate += counted * windows / (of.ended_s[counted - 1] - of.began_s)
        training += counted / sum(1 / rate for rate in of.training_rates[:counted])
    held = [of.host_bytes for of in finished if of.host_bytes is not None]
    return {
        "processes": processes,
        "threads": threads,
        "training": training,
        "epoch_rate": epoch_rate,
        "host_bytes": max(held, default=None),
        "finished": [asdict(of) for of in finished],
    }


def _next(results: "Queue[Finished]", workers: list[Any]) -> Finished:
    """The next report; RuntimeError where a process ended without one."""
    for _ in range(int(PATIENCE_S)):
        try:
            return results.get(timeout=1)
        except queue.Empty:
            if any(worker.exitcode for worker in workers):
                break
    raise RuntimeError("a process that trains ended without a report, or takes too long; its error is above")


def _train(
    corpus: Corpus, device: torch.device, settings: Settings, threads: int, share: float, seconds: float,
    barrier: Barrier, stop: Event, results: "Queue[Finished]",
) -> None:  # fmt: skip
    """In a process of its own: an epoch to warm up, then epochs until some process has trained for so many seconds."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = training_data(corpus)
    task = find_task("drum_onsets")
    network = Network.fitting(data, task, ARCHITECTURE, HYPERPARAMETERS).to(device)
    with HostMemory() as memory:
        going = fit(network, task, data, settings, share=share)
        next(going)
        barrier.wait(PATIENCE_S)
        began, ended, rates = time.monotonic(), [], []
        for epoch in going:
            ended.append(time.monotonic())
            rates.append(epoch.metrics["windows_per_s"])
            if ended[-1] - began > seconds:
                stop.set()
            if stop.is_set():
                break
    results.put(Finished(began, ended, rates, memory.peak_bytes))
