"""The leaderboard over a large SQLite store: whole processes, beside the import of mlflow and its client's search.

    python tests/benchmarks/leaderboard.py [--runs 5000] [--models 500] [--versions 10] [--keep FOLDER] [--json FILE]

Asked for: 5,000 runs in under 2 s. The least of some runs is shown. A process is one thread: on a quiet machine its
wall time is its processor time, which is what is compared with the target.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from timing import print_table

from tuner import store

TARGET_S = 2.0
TRIALS_A_SWEEP, REPEATS = 100, 3
CORPORA = ("demo", "groove", "mdb", "egmd", "groove+mdb", "egmd+groove+slakh")
ARCHITECTURES = ("rnn", "cnn", "crnn", "conv_transformer", "vit")
CLASSES = ("kick", "snare", "toms", "hi-hat", "cymbals")
BEGAN_MS = 1_780_000_000_000
MINUTE_MS = 60_000


def fill(uri: str, runs: int, models: int = 0, versions: int = 0, seed: int = 0) -> None:
    """Make a store of so many trials' runs in sweeps of a hundred, with what sweeps write, and registered versions.

    MLflow makes the tables; the rows go in by SQLAlchemy in bulk, which MLflow itself would need minutes for.
    """
    from sqlalchemy import MetaData, create_engine, insert

    client = store.connect(uri)
    experiment = int(store.experiment_id(client, uri))
    engine, tables, draw = create_engine(uri), MetaData(), random.Random(seed)
    rows: dict[str, list[dict]] = {}

    def put(table: str, **row: object) -> None:
        rows.setdefault(table, []).append(row)

    for number in range(-(-runs // TRIALS_A_SWEEP)):
        _sweep(put, draw, experiment, number, min(TRIALS_A_SWEEP, runs - number * TRIALS_A_SWEEP))
    for number in range(models):
        _model(put, draw, number, versions)
    with engine.begin() as connection:
        tables.reflect(connection, only=list(rows))
        for name in ("runs", "registered_models", "model_versions", *rows):
            if rows.get(name):
                connection.execute(insert(tables.tables[name]), rows[name])
                rows[name] = []
    engine.dispose()


def _sweep(put, draw: random.Random, experiment: int, number: int, trials: int) -> None:
    sweep = f"sweep-{number:03d}"
    shared = {"corpora": draw.choice(CORPORA), "architecture": draw.choice(ARCHITECTURES), "task": "drum_onsets"}
    shared |= {"sweep": sweep, "sweep.id": f"{draw.getrandbits(128):032x}", "version.mirtune": "0.1.0"}
    shared |= {"version.torch": "2.11.0", "version.ray": "2.60.0", "version.optuna": "5.0.0", "source.changed": "false"}
    parent = ""
    for trial in range(trials + 1):
        of_sweep = trial == 0
        run = f"{draw.getrandbits(128):032x}"
        parent = parent or run
        begin = BEGAN_MS + number * 1000 * MINUTE_MS + trial * MINUTE_MS
        put(
            "runs", run_uuid=run, name=sweep if of_sweep else f"trial {trial}", status="FINISHED", start_time=begin,
            end_time=begin + draw.randrange(1, 200) * MINUTE_MS, lifecycle_stage="active", experiment_id=experiment,
            source_type="LOCAL", user_id="someone", artifact_uri=f"file:///artifacts/{run}",
        )  # fmt: skip
        tags = {**shared, "trial": "sweep" if of_sweep else f"trial-{trial:04d}"}
        tags |= {"mlflow.runName": sweep if of_sweep else f"trial {trial}"}
        tags |= {} if of_sweep else {"mlflow.parentRunId": parent}
        for key, value in tags.items():
            put("tags", run_uuid=run, key=key, value=value)
        score = draw.random()
        metrics = {
            "best_validation_micro_f1": score,
            "best_epoch": draw.randrange(1, 100),
            "windows_per_s": 100 * score,
        }
        names = ("train_loss", "validation_loss", "learning_rate", "seconds", "validation_micro_f1", "micro_batch")
        metrics |= {name: draw.random() for name in (*names, *(f"validation_f1_{name}" for name in CLASSES))}
        parameters = {"learning_rate": 10 ** draw.uniform(-4, -2), "weight_decay": 10 ** draw.uniform(-6, -2)}
        parameters |= {"layers": draw.randrange(2, 6), "hidden": draw.choice((72, 144, 288)), "unit": "gru"}
        if of_sweep:
            metrics, parameters = {}, {"trials": trials, "gpus_per_trial": 0.25, "seed": 0, "command": "mirtune sweep"}
        for key, value in metrics.items():
            put("latest_metrics", run_uuid=run, key=key, value=value, timestamp=begin, step=1, is_nan=False)
        for key, value in parameters.items():
            put("params", run_uuid=run, key=key, value=str(value))


def _model(put, draw: random.Random, number: int, versions: int) -> None:
    corpora, architecture = f"corpus{number // len(ARCHITECTURES)}", ARCHITECTURES[number % len(ARCHITECTURES)]
    name, scores = f"{corpora}.{architecture}", [draw.random() for _ in range(versions)]
    put("registered_models", name=name, creation_time=BEGAN_MS, last_updated_time=BEGAN_MS, workspace="default")
    for version, score in enumerate(scores, 1):
        made = BEGAN_MS + (number * versions + version) * MINUTE_MS
        put(
            "model_versions", name=name, version=version, creation_time=made, last_updated_time=made, source="file:///x",
            current_stage="None", run_id=f"{draw.getrandbits(128):032x}", status="READY", workspace="default",
        )  # fmt: skip
        tags = {"corpora": corpora, "architecture": architecture, "task": "drum_onsets", "metric": "micro_f1"}
        tags |= {"mode": "max", "validation": score, "test": 0.9 * score, "protocol": "tracks", "trials": 20}
        tags |= {
            "parameters": draw.randrange(10_000, 9_000_000),
            "sweep": f"sweep-{version}",
            "sweep.id": uuid.UUID(int=version),
        }
        tags |= {"command": "mirtune sweep", "epoch": 10, "trial_hours": 20 * score, "gpu_hours": 5 * score}
        tags |= {"windows_per_s": 1000 * score, "mirtune_version": "0.1.0", "tests": "{}" * 2000, "checksums": "{}"}
        tags["hyperparameters"] = json.dumps({"layers": 2, "learning_rate": score})
        zero_shot = {
            "micro_f1": 0.8 * score,
            "split": "all",
            "protocol": "tracks",
            "tracks": 23,
            "interval": [0.1, 0.9],
        }
        tags["zero_shot.mdb"] = json.dumps({**zero_shot, "when": "2026-11-22T10:00:00+00:00"})
        for key, value in tags.items():
            put("model_version_tags", name=name, version=version, key=key, value=str(value), workspace="default")
    best = 1 + max(range(versions), key=scores.__getitem__)
    put("registered_model_aliases", alias="best", name=name, version=best, workspace="default")


def seconds_of(words: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a whole process, the least of some."""
    wall, processor = [], []
    for _ in range(REPEATS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(wall), min(processor)


SEARCH = """
from tuner import leaderboard_store as of, store
client = store.connect({uri!r})
found = of.runs_of_client(client)
"""


def main() -> None:
    """Make the stores, run the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the store there and leave it")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        uri = f"sqlite:///{(asked.keep or Path(folder)).resolve()}/mlflow.db"
        fill(uri, asked.runs, asked.models, asked.versions)
        python = [sys.executable, "-c"]
        mirtune = [sys.executable, "-m", "tuner.cli", "leaderboard", "--tracking-uri", uri]
        ways = {
            "python -c 'import mlflow'": [*python, "import mlflow"],
            "MLflow's client: every run": [*python, SEARCH.format(uri=uri)],
            "mirtune --help": [sys.executable, "-m", "tuner.cli", "--help"],
            "leaderboard --trials": [*mirtune, "--trials"],
            "every trial in one drawn table": [*mirtune, "--trials", "--limit", "0"],
            "leaderboard --trials --json": [*mirtune, "--trials", "--json"],
            "leaderboard --trials --csv": [*mirtune, "--trials", "--csv"],
            "leaderboard --trials --markdown": [*mirtune, "--trials", "--markdown"],
            "leaderboard": mirtune,
            "leaderboard --all-versions": [*mirtune, "--all-versions"],
            "leaderboard --all-versions --json": [*mirtune, "--all-versions", "--json"],
        }
        took = {name: seconds_of(words) for name, words in ways.items()}
    of_mlflow = took["python -c 'import mlflow'"][1]
    rows = []
    for name, (wall, processor) in took.items():
        missed = "  <-- MISSED" if name.startswith("leaderboard --trials") and processor > TARGET_S else ""
        rows.append((name, f"{wall:.2f} s", f"{processor:.2f} s", f"{processor / of_mlflow:.2f}{missed}"))
    title = f"{asked.runs:,} runs, {asked.models:,} models of {asked.versions} versions; asked for: {TARGET_S:g} s"
    print_table(title, ("whole process", "wall", "processor", "of import mlflow"), rows)
    if asked.json:
        asked.json.write_text(json.dumps(took, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
