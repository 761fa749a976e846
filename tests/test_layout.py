"""The contract of the tree: who may import whom, and who may know the word drum."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("data_prep", "trainables", "search_spaces", "tuner")
# folder -> what it may import: of ours, and of the search machinery
MAY_IMPORT = {
    "data_prep": {"data_prep", "ray"},
    "trainables": {"trainables", "data_prep"},
    "search_spaces": {"search_spaces", "ray.tune"},
    "tuner": {*OURS, "ray", "optuna", "mlflow"},
}
WATCHED = (*OURS, "ray", "optuna", "mlflow")
MAY_SAY_DRUM = ("trainables/tasks/", "trainables/transcription.py", "trainables/notation/", "tuner/study_reference.py")
GENERAL = ("audio", "spectrogram", "onsets", "shards", "parts", "job", "files", "refused")  # of data_prep


def imports(path: Path) -> set[str]:
    """Full names of the modules a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, allowed: set[str]) -> bool:
    return any(name == of or name.startswith(f"{of}.") for of in allowed)


@pytest.mark.parametrize("folder", OURS)
def test_imports_follow_the_data(folder):
    for path in (ROOT / folder).rglob("*.py"):
        strays = {name for name in imports(path) if within(name, set(WATCHED)) and not within(name, MAY_IMPORT[folder])}
        if folder == "data_prep":
            strays |= {name for name in imports(path) if name.startswith("ray.tune")}
        assert not strays, f"{path.relative_to(ROOT)} imports {sorted(strays)}"


def test_search_spaces_need_neither_torch_nor_models():
    for path in (ROOT / "search_spaces").rglob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] in ("torch", "trainables")}, path


ON_A_GPU_MACHINE = {"torch", "numpy", "pyarrow"}  # beside the standard library
TRAINING = "import trainables.loop, trainables.evaluation, trainables.models, trainables.tasks"


def test_models_are_trained_where_little_is_installed():
    """With none of the packages that search, track, decode or render; each is imported where it is needed."""
    listed = (ROOT / "setup.cfg").read_text().split("install_requires =")[1].split("[options.extras_require]")[0]
    packages = {re.split(r"[\[<>=]", line.strip())[0] for line in listed.splitlines() if line.strip()[:1].isalpha()}
    modules = {"opencv-python-headless": "cv2", "pyyaml": "yaml"}
    absent = {modules.get(package, package) for package in packages} - ON_A_GPU_MACHINE
    assert {"ray", "soundfile", "cv2", "mido", "scipy"} <= absent
    code = f"import sys; sys.modules.update(dict.fromkeys({sorted(absent)!r})); {TRAINING}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_drum_task_and_its_data_know_drums():
    paths = [path for folder in ("trainables", "search_spaces", "tuner") for path in (ROOT / folder).rglob("*.py")]
    for path in [*paths, *(ROOT / "data_prep" / f"{name}.py" for name in GENERAL)]:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(MAY_SAY_DRUM):
            words = path.read_text(encoding="utf-8").lower()
            assert "drum" not in words.replace("drum_onsets", ""), name


def test_every_package_is_listed():
    listed = (ROOT / "setup.cfg").read_text().split("packages =")[1].split("install_requires")[0].split()
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for of in OURS
        for path in (ROOT / of).rglob("__init__.py")
    }
    assert set(listed) == found
