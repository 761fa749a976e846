"""Two hundred one-epoch trials in one sweep: none is lost, no process grows, and each costs little beside training."""

import re
import time
from pathlib import Path
from statistics import fmean

import pytest
from mlflow import MlflowClient
from processes import processes, session  # noqa: F401
from servers_mlflow import empty_store, sqlite_uri  # noqa: F401

from data_prep.storage import Storage
from tuner.records import load_records

pytestmark = pytest.mark.faults

TRIALS, AT_FIRST = 200, 20
GROWTH_MB = 300.0
TRIAL_PROCESS = "ray::ResourceTr"  # ResourceTrainable, as Tune calls what it has wrapped; the system cuts names
SPACE = ("patch_bands=21", "heads=2", "layers=1", "width=24")


def memory_mb(pid: int) -> float:
    """Memory of a process, each page that it shares divided among those that do; 0 where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024


def test_two_hundred_trials(processes, shards, sqlite_uri, tmp_path):  # noqa: F811
    began = time.monotonic()
    where = ("--shards", shards, "--storage", tmp_path / "sweeps", "--tracking-uri", sqlite_uri, "--name", "many")
    what = ("--corpus", "mdb", "--architecture", "vit", "--trials", TRIALS, "--max-epochs", 1, "--batch-size", 4)
    command = processes.mirtune("sweep", *what, *where, "--narrow", *SPACE)
    driver: list[float] = []
    trials: list[float] = []  # the largest of them
    while command.runs and time.monotonic() - began < 600:
        done = command.err.count(" epoch 1/1 ")
        if AT_FIRST <= done < TRIALS:
            driver.append(memory_mb(command.process.pid))
            of_trials = [pid for pid, name in session(command.process.pid).items() if name == TRIAL_PROCESS]
            if largest := max(map(memory_mb, of_trials), default=0.0):
                trials.append(largest)
        time.sleep(0.5)
    ended = command.end(1)
    assert ended.status == 0, ended

    records = load_records(Storage.at(tmp_path / "sweeps" / "many"))
    assert [record.number for record in records] == list(range(1, TRIALS + 1))
    assert {(record.state, record.epochs, record.attempts) for record in records} == {("finished", 1, 1)}
    client = MlflowClient(sqlite_uri)
    found = client.search_runs([client.get_experiment_by_name("mirtune").experiment_id], max_results=1000)
    assert len(found) == len({run.data.tags["trial"] for run in found}) == TRIALS + 1
    assert {run.info.status for run in found} == {"FINISHED"}

    training_s = fmean(record.history[0]["metrics"]["seconds"] for record in records)
    search_s = max(of.started + of.seconds for of in records) - min(of.started for of in records)
    at_once = int(re.search(r"(\d+) at a time", ended.err)[1])
    print(
        f"\n{TRIALS} trials, {at_once} at a time, in {search_s:.0f} s: {search_s * at_once / TRIALS:.2f} s a trial, "
        f"{training_s:.2f} s of it training and validation\n"
        f"memory of the driver {driver[0]:.0f} MB after {AT_FIRST} trials, {driver[-1]:.0f} MB at the end; "
        f"of the largest trial's process {trials[0]:.0f} and {trials[-1]:.0f} MB"
    )
    assert max(driver) - driver[0] < GROWTH_MB
    assert max(trials) - trials[0] < GROWTH_MB
