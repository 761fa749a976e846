"""The scripts in examples/ run as they are, from a folder that holds nothing."""

import subprocess
import sys

import pytest
from pages import ROOT

EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "songs.py")
LEAVES = {
    "transcribe_a_song": ("0000-samba.mid", "0000-samba.png"),
    "evaluate_your_recordings": ("shards/mine/manifest.json",),
    "add_a_corpus": ("shards/tunes/manifest.json",),
    "add_an_architecture": ("mlflow.db",),
    "read_a_sweep": ("curves.png", "epochs.csv"),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500
    )
    assert not done.returncode, done.stdout
    for name in LEAVES[path.stem]:
        assert (tmp_path / "results" / "examples" / path.stem / name).stat().st_size, done.stdout
    assert "Traceback" not in done.stdout


def test_the_page_lists_them_all():
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for path in (*EXAMPLES, ROOT / "examples" / "songs.py"):
        assert f"(../examples/{path.name})" in page
        assert f"<!-- include: examples/{path.name} -->" in page
        assert f"## {path.stem}" in page
