"""What the page of a large sweep costs: 500 made-up trials of 30 epochs, 26 hyperparameters of them searched.

`mirtune report` runs as a process of its own, so its time has the interpreter and all imports. Beside it, in this
process and with the same trials: what Optuna takes for the importances alone. Examples are left out, as there is no
corpus: they listen to 64 windows at most, whatever the sweep.
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

import numpy as np
from timing import print_table

from data_prep.files import write_json
from tuner.options import SweepOptions
from tuner.records import FORMAT, RECORD, TrialRecord, trial_name
from tuner.reporting.gather import gather
from tuner.reporting.hyperparameters import distributions_of, importances_of
from tuner.sweep_folder import RESULT, SWEEP, ResultFile, SweepFile

TARGET_S, TARGET_MB = 20.0, 15.0
ENDED = "2026-11-22T12:00:00+00:00"
NAME, CLASSES = "made-up", ("kick", "snare", "toms", "hi-hat", "cymbals")


def make_sweep(storage: Path, trials: int, epochs: int) -> None:
    """A sweep's folder with random trials of the whole space: some stopped early, some failed, some tried again."""
    from ray.tune.search.optuna import OptunaSearch

    from search_spaces import space_of

    generator = np.random.default_rng(0)
    options = SweepOptions(corpora=("groove",), architecture="crnn", trials=trials, max_epochs=epochs, recipe="mirtune")
    folder = storage / NAME
    folder.mkdir(parents=True)
    file = SweepFile(options.beginning | {"batch_size": 32, "gpus_per_trial": 0.0}, {"groove": "0" * 64})
    write_json(folder / SWEEP, {"format": FORMAT, **asdict(file)})
    result = ResultFile(
        file.id, "micro_f1", "max", trial_name(1), "", 1, 0.5, {}, 565_877, trials, 0, 0.0, 1, 0.0, "0.1.0", ENDED
    )
    write_json(folder / RESULT, {"format": FORMAT, **asdict(result)})
    space = OptunaSearch.convert_search_space(space_of("crnn", "mirtune"))
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
        record.attempts = 2 if number % 37 == 0 else 1
        write_json(folder / record.id / RECORD, {"format": FORMAT, **asdict(record)})


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
    parser.add_argument("--keep", type=Path, help="make the sweep here, and leave it and its page")
    arguments = parser.parse_args()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with TemporaryDirectory() as temporary:
        storage = arguments.keep or Path(temporary)
        make_sweep(storage, arguments.trials, arguments.epochs)
        began, before = time.perf_counter(), cpu_s(resource.RUSAGE_CHILDREN)
        command = [
            sys.executable,
            "-m",
            "tuner.cli",
            "report",
            NAME,
            "--storage",
            str(storage),
            "--no-examples",
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        wall, cpu = time.perf_counter() - began, cpu_s(resource.RUSAGE_CHILDREN) - before
        made = json.loads(done.stdout)
        sweep = gather(NAME, str(storage))
        distributions = distributions_of(sweep)
        began_cpu = time.process_time()
        importances_of(sweep, distributions)
        alone = time.process_time() - began_cpu
    megabytes = made["size_bytes"] / 1e6
    rows = [
        ["the page, wall", f"{wall:.1f} s", f"{TARGET_S:g} s", "" if wall <= TARGET_S else "MISSED"],
        ["the page, processor", f"{cpu:.1f} s", f"{TARGET_S:g} s", "" if cpu <= TARGET_S else "MISSED"],
        [
            "Optuna's importances alone, processor",
            f"{alone:.1f} s",
            "",
            f"the page takes {cpu / alone:.1f} times as long",
        ],
        ["size", f"{megabytes:.1f} MB", f"{TARGET_MB:g} MB", "" if megabytes <= TARGET_MB else "MISSED"],
    ]
    print_table(f"{arguments.trials} trials of {arguments.epochs} epochs", ["", "measured", "at most", ""], rows)


def cpu_s(who: int) -> float:
    """Seconds of processors so far."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
