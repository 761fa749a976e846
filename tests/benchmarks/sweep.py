"""What a sweep costs beside training: 20 one-epoch trials of a small vision transformer, as a person starts them.

The corpus is the issue's (1,000 training and 150 validation windows) with 50 to test on, written here. `mirtune sweep
--profile` runs as a process of its own, so its wall time has everything: the interpreter, imports, Ray's start and end.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyarrow import parquet
from timing import print_table
from training_shards import make_corpus

from data_prep.files import checksum
from data_prep.shards import TRACKS
from tuner.profile import STAGES

TARGET = 0.15  # of the wall time outside training and validation
START_S = 3.0  # of a trial, from Ray's launch to its first step, beside importing torch
TRAIN_WINDOWS, HELD_OUT_WINDOWS, TEST_TRACKS = 1000, 200, 5


def prepare(folder: Path, train_windows: int) -> None:
    """Write a corpus that opens as a prepared one; its last validation tracks become test tracks."""
    folder.mkdir(parents=True)
    made = make_corpus(folder, train_windows=train_windows, validation_windows=HELD_OUT_WINDOWS)
    rows = made.table.to_pylist()
    for row in rows[-TEST_TRACKS:]:
        row["split"] = "test"
    parquet.write_table(pa.Table.from_pylist(rows), folder / TRACKS)
    splits = dict(made.manifest.splits)
    for name in ("validation", "test"):  # its moments and onsets are those of both: training reads neither
        own = [row for row in rows if row["split"] == name]
        sums = {of: sum(row[of] for row in own) for of in ("frames", "windows", "seconds")}
        splits[name] = replace(splits["validation"], tracks=len(own), **sums)
    files = {path.name: checksum(path) for path in sorted(folder.iterdir())}
    replace(made.manifest, corpus=folder.name, splits=splits, files=files).save(folder)


def import_s(what: str) -> float:
    """Seconds that an import takes in a fresh process, the least of three."""
    code = f"import time; began = time.perf_counter(); import {what}; print(time.perf_counter() - began)"
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return min(float(one.stdout) for one in done)


def main() -> None:
    """Prepare, search, print two tables and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--train-windows", type=int, default=TRAIN_WINDOWS)
    parser.add_argument("--gpus-per-trial", type=float)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        here = Path(folder)
        prepare(here / "shards" / "synthetic", asked.train_windows)
        line = [sys.executable, "-m", "tuner.cli", "sweep", "--corpus", "synthetic", "--architecture", "vit"]
        line += ["--trials", asked.trials, "--max-epochs", 1, "--profile", "--name", "measured"]
        line += ["--narrow", "layers=2", "width=72", "heads=2,4", "--shards", here / "shards"]
        line += ["--storage", here, "--tracking-uri", f"sqlite:///{here}/mlflow.db"]
        line += [] if asked.gpus_per_trial is None else ["--gpus-per-trial", asked.gpus_per_trial]
        began = time.perf_counter()
        subprocess.run([str(word) for word in line], stdout=subprocess.DEVNULL, check=True)
        wall_s = time.perf_counter() - began
        profile = json.loads((here / "measured" / "profile.json").read_text())
    at_once, trials = profile["trials_at_once"], profile["trials"]
    torch_s, with_dynamo_s = import_s("torch"), import_s("torch, torch._dynamo")
    epochs_s = sum(trial["epochs_s"] for trial in trials)
    outside = 1 - epochs_s / (at_once * wall_s)
    inside_s = profile["before_s"] + profile["search_s"] + profile["after_s"]
    starts = [trial["seconds"]["start"] for trial in trials]
    figures = {
        "wall_s": wall_s,
        "trials_at_once": at_once,
        "training_and_validation_s": epochs_s / at_once,
        "share_outside": outside,
        "start_of_first_trials_s": starts[:at_once],
        "start_of_later_trials_s": median(starts[at_once:]) if starts[at_once:] else None,
        "torch_import_s": torch_s,
        "torch_and_dynamo_import_s": with_dynamo_s,
        "before_the_search_s": profile["before_s"],
        "search_s": profile["search_s"],
        "after_the_search_s": profile["after_s"],
        "interpreter_s": wall_s - inside_s,
        "stages_s": profile["all"]["seconds"],
    }
    missed = "" if outside <= TARGET else "  <-- MISSED"
    late = "" if max(starts[:at_once]) - torch_s <= START_S else "  <-- MISSED"
    first_s = max(starts[:at_once]) - torch_s
    rows = [
        ("wall", f"{wall_s:.1f} s", ""),
        (f"training and validation, {at_once} at a time", f"{epochs_s / at_once:.1f} s", ""),
        ("outside training and validation", f"{outside:.1%}", f"at most {TARGET:.0%}{missed}"),
        ("before the search: checks, imports, Ray's start", f"{profile['before_s']:.1f} s", ""),
        ("search", f"{profile['search_s']:.1f} s", ""),
        ("after it: test, registration, Ray's end", f"{profile['after_s']:.1f} s", ""),
        ("interpreter's start and end, first imports", f"{wall_s - inside_s:.1f} s", ""),
        ("start of the first trials", f"{max(starts[:at_once]):.1f} s", ""),
        (
            "  beside importing torch, which alone takes " + f"{torch_s:.1f} s",
            f"{first_s:.1f} s",
            f"at most {START_S:g} s{late}",
        ),
        ("  and beside torch._dynamo, which AdamW imports", f"{max(starts[:at_once]) - with_dynamo_s:.1f} s", ""),
    ]
    if starts[at_once:]:
        rows.append(("start of later trials, median", f"{median(starts[at_once:]):.2f} s", ""))
    print_table(f"A sweep of {asked.trials} one-epoch trials", ("", "measured", "asked for"), rows)
    shares = profile["all"]["shares"]
    cells = [(stage, f"{profile['all']['seconds'][stage]:.2f} s", f"{shares[stage]:.1%}") for stage in STAGES]
    print_table("Where its trials' time went", ("stage", "all trials", "share"), cells)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
