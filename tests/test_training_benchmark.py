"""The benchmark of training runs where torch, numpy and pyarrow are all there is, as on a GPU machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainables.models import MODELS

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "training.py"
THERE = {"torch", "numpy", "pyarrow"}
MODULES = {"opencv-python-headless": "cv2", "pyyaml": "yaml"}
# As if not installed. None in sys.modules would not do: compiled modules take that for the package.
WITHOUT = """
import runpy, sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
sys.path.insert(0, {folder!r})
sys.argv = {arguments!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SOON = ("--windows", "4", "--batch", "2", "--device", "cpu")


def run(folder: Path, *options: str) -> dict:
    """Run the script where nothing else can be imported; what it wrote as JSON."""
    listed = (ROOT / "setup.cfg").read_text().split("install_requires =")[1].split("[options.extras_require]")[0]
    packages = {re.split(r"[\[<>=]", line.strip())[0] for line in listed.splitlines() if line.strip()[:1].isalpha()}
    absent = {MODULES.get(package, package) for package in packages} - THERE
    assert {"ray", "pandas", "safetensors", "blake3", "rich", "scipy"} <= absent
    arguments = [str(SCRIPT), *SOON, *options, "--json", str(folder / "found.json")]
    code = WITHOUT.format(absent=absent, folder=str(SCRIPT.parent), arguments=arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "found.json").read_text())
    assert all(row["name"] in done.stdout for row in found.get("networks", []))
    return found


def test_a_network_is_timed(tmp_path):
    found = run(tmp_path, "--quick", "--only", "vit")
    assert found["machine"]["peak_flop_per_s"] > 0
    assert found["machine"]["memory_bytes_per_s"] > 0
    (row,) = found["networks"]
    assert row["case"]["architecture"] == "vit"
    assert row["frames_lie"] == "mapped"
    assert row["micro_batch"] == row["batch"] == 2
    assert set(row["stages_s"]) == {"data_s", "forward_s", "backward_s", "optimiser_s", "validation_s"}
    assert 0 < sum(row["stages_s"].values()) <= row["seconds"]
    # none of the bounds may be above what was measured, and one is named
    assert max(row["bounds"].values()) <= 2 / row["training"]  # twice: both are measured, beside other work
    assert row["times_bound"] == pytest.approx(1 / row["training"] / max(row["bounds"].values()))
    assert row["share_of_peak"] == pytest.approx(row["bounds"]["arithmetic_s"] * row["training"])


@pytest.mark.slow
def test_every_architecture_is_timed_and_its_recurrent_steps_are_counted(tmp_path):
    rows = {row["case"]["architecture"]: row for row in run(tmp_path, "--quick")["networks"]}
    assert set(rows) == set(MODELS)
    steps = {name: row["sequential_steps"] for name, row in rows.items()}
    assert steps == {"rnn": 2 * 2 * 400, "crnn": 2 * 3 * 400, "cnn": 0, "conv_transformer": 0, "vit": 0}
    assert all((row["bounds"]["steps_s"] > 0) == (steps[name] > 0) for name, row in rows.items())


@pytest.mark.slow
def test_processes_train_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from training_packed import together
    from training_shards import make_corpus

    corpus = make_corpus(tmp_path, train_windows=4, validation_windows=2)
    found = together(2, 1, torch.device("cpu"), corpus, batch=2, seconds=1)
    one, other = found["finished"]
    # both began before either had finished an epoch
    assert max(of["began_s"] for of in (one, other)) < min(of["ended_s"][0] for of in (one, other))
    each = [4 * len(of["ended_s"]) / (of["ended_s"][-1] - of["began_s"]) for of in (one, other)]
    assert found["epoch_rate"] == pytest.approx(sum(each), rel=0.5)
    assert found["training"] > found["epoch_rate"] > max(each) / 2
