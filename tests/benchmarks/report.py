"""What the page of a large sweep costs: 500 made-up trials of 30 epochs, 26 hyperparameters of them searched.

`mirtune report` runs as a process of its own, so its time has the interpreter and all imports. Beside it, in this
process and with the same trials: what Optuna takes for the importances alone. The example windows are those that an
untrained network hears in the demo corpus, which is prepared first (a trained one takes as long); the page without
them is timed as well.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from timing import print_table

from data_prep.files import write_json
from data_prep.manifest import Manifest
from tuner.options import SweepOptions
from tuner.records import FORMAT, RECORD, TrialRecord, best_of, trial_name
from tuner.reporting.gather import gather
from tuner.reporting.hyperparameters import distributions_of, importances_of
from tuner.sweep_folder import RESULT, SWEEP, ResultFile, SweepFile

TARGET_S, TARGET_MB = 20.0, 15.0
ENDED = "2026-11-22T12:00:00+00:00"
NAME, CLASSES, CORPUS = "made-up", ("kick", "snare", "toms", "hi-hat", "cymbals"), "demo"
NETWORKS = {
    "usual": {"layers": 3, "hidden": 288, "unit": "gru"},
    "largest": {"layers": 5, "hidden": 576, "unit": "lstm"},
}
CHECKPOINT = "best-0001"
CORPUS_HOURS = 0.2  # of which the validation split has more than the 64 windows that are heard


def mirtune(*words: str) -> str:
    """Run a command as a process of its own; what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "tuner.cli", *words], capture_output=True, text=True, check=True
    ).stdout


def make_corpus(shards: Path) -> str:
    """Prepare the demo corpus; its manifest's checksum."""
    mirtune("prep", CORPUS, "--hours", str(CORPUS_HOURS), "--shards", str(shards))
    return Manifest.load(shards / CORPUS).checksum


def make_checkpoint(folder: Path, hyperparameters: dict[str, Any]) -> None:
    """An untrained checkpoint of a CRNN."""
    import torch

    from data_prep.spectrogram import FEATURES
    from trainables.checkpoint import Checkpoint
    from trainables.config import Settings, TrainingConfig
    from trainables.network import Network
    from trainables.tasks import TASKS

    torch.manual_seed(0)
    network = Network(
        TASKS["drum_onsets"], "crnn", hyperparameters, bands=84, classes=len(CLASSES), mean=0.25, deviation=0.5
    )
    config = TrainingConfig((CORPUS,), "crnn", hyperparameters, Settings())
    Checkpoint(config, CLASSES, FEATURES, 84, network.state_dict(), epoch=1).save(folder)


def make_sweep(storage: Path, shards: Path, trials: int, epochs: int, network: str) -> None:
    """A sweep's folder with random trials of the whole space: some stopped early, some failed, some tried again."""
    from ray.tune.search.optuna import OptunaSearch

    from search_spaces import space_of

    generator = np.random.default_rng(0)
    options = SweepOptions(
        corpora=(CORPUS,), architecture="crnn", trials=trials, max_epochs=epochs, recipe="mirtune", shards=shards
    )
    folder = storage / NAME
    folder.mkdir(parents=True)
    file = SweepFile(options.beginning | {"batch_size": 32, "gpus_per_trial": 0.0}, {CORPUS: make_corpus(shards)})
    write_json(folder / SWEEP, {"format": FORMAT, **asdict(file)})
    space = OptunaSearch.convert_search_space(space_of("crnn", "mirtune"))
    records = []
    for number in range(1, trials + 1):
        chosen = {name: drawn(of, generator) for name, of in space.items()}
        record = TrialRecord(trial_name(number), number, chosen, micro_batch=32, started=1.7e9 + 60 * number)
        reached = 0.8 - 0.1 * abs(np.log(chosen["learning_rate"] / 1e-3)) + 0.02 * chosen["layers"]
        for epoch in range(1, (epochs if number % 4 else epochs // 3) + 1):
            score = float(np.clip(reached * (1 - np.exp(-epoch / 6)) + generator.normal(0, 0.02), 0, 1))
            metrics = {
                name: float(generator.random()) for name in ("train_loss", "validation_loss", "validation_recall")
            }
            metrics |= {f"validation_f1_{name}": float(generator.random()) for name in CLASSES}
            metrics |= {"validation_micro_f1": score, "validation_macro_f1": score, "validation_precision": score}
            metrics |= {"seconds": 60 + float(generator.random()), "windows_per_s": 30.0, "learning_rate": 1e-3}
            is_best = record.best is None or score > record.best
            record.take({"epoch": epoch, "is_best": is_best, "metrics": metrics}, score)
        record.state, record.seconds = ("finished" if number % 4 else "stopped"), 60.0 * record.epochs
        if number % 50 == 0:
            record.state, record.error = "failed", "ValueError: the loss is not finite"
        record.attempts, record.checkpoint = 2 if number % 37 == 0 else 1, CHECKPOINT
        write_json(folder / record.id / RECORD, {"format": FORMAT, **asdict(record)})
        records.append(record)
    best, seconds = best_of(records, "max"), sum(record.seconds for record in records)
    assert best is not None
    assert best.best is not None
    make_checkpoint(folder / best.id / CHECKPOINT, NETWORKS[network])
    result = ResultFile(
        file.id, "micro_f1", "max", best.id, CHECKPOINT, best.best_epoch, best.best, {}, 565_877, trials, 0, seconds, 1,
        0.0, "0.1.0", ENDED,
    )  # fmt: skip
    write_json(folder / RESULT, {"format": FORMAT, **asdict(result)})


def drawn(of: object, generator: np.random.Generator) -> object:
    """A value of an Optuna distribution, as Python has it."""
    import optuna

    trial_seed = int(generator.integers(1 << 31))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=trial_seed))
    return study.ask({"value": of}).params["value"]


def main() -> None:
    """Make the sweep, time its page, print both beside the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--network", choices=NETWORKS, default="usual", help="that hears the examples")
    parser.add_argument("--keep", type=Path, help="make the sweep here, and leave it and its page")
    arguments = parser.parse_args()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with TemporaryDirectory() as temporary:
        storage = arguments.keep or Path(temporary)
        make_sweep(storage, storage / "shards", arguments.trials, arguments.epochs, arguments.network)
        words = ("report", NAME, "--storage", str(storage), "--json")
        _, without, _ = timed(*words, "--no-examples")
        made, cpu, wall = timed(*words)
        assert made["examples"], made["note"]
        sweep = gather(NAME, str(storage))
        distributions = distributions_of(sweep)
        began_cpu = time.process_time()
        importances_of(sweep, distributions)
        alone = time.process_time() - began_cpu
    megabytes = made["size_bytes"] / 1e6
    rows = [
        [
            f"the page with {made['examples']} examples, wall",
            f"{wall:.1f} s",
            f"{TARGET_S:g} s",
            "" if wall <= TARGET_S else "MISSED",
        ],
        ["the same, processor", f"{cpu:.1f} s", f"{TARGET_S:g} s", "" if cpu <= TARGET_S else "MISSED"],
        ["without examples, processor", f"{without:.1f} s", "", ""],
        [
            "Optuna's importances alone, processor",
            f"{alone:.1f} s",
            "",
            f"the page without examples takes {without / alone:.1f} times as long",
        ],
        ["size", f"{megabytes:.1f} MB", f"{TARGET_MB:g} MB", "" if megabytes <= TARGET_MB else "MISSED"],
    ]
    print_table(f"{arguments.trials} trials of {arguments.epochs} epochs", ["", "measured", "at most", ""], rows)


def timed(*words: str) -> tuple[dict[str, Any], float, float]:
    """What a command prints as JSON, its seconds of processors, and those on the clock."""
    began, before = time.perf_counter(), cpu_s(resource.RUSAGE_CHILDREN)
    made = json.loads(mirtune(*words))
    return made, cpu_s(resource.RUSAGE_CHILDREN) - before, time.perf_counter() - began


def cpu_s(who: int) -> float:
    """Seconds of processors so far."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
