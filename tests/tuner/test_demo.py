"""The demonstration, with less of everything."""

import mido
import pytest

from tuner import demo as demo_module
from tuner.leaderboard import leaderboard


@pytest.mark.slow
def test_demo_goes_from_grooves_to_midi(ray, tmp_path, monkeypatch):
    sweeps = {name: {**chosen, "max_epochs": 1} for name, chosen in demo_module.SWEEPS.items()}
    monkeypatch.setattr(demo_module, "SWEEPS", sweeps)
    uri, said = f"sqlite:///{tmp_path}/results/mlflow.db", []
    done = demo_module.demo(
        shards=tmp_path / "shards", results=tmp_path / "results", tracking_uri=uri, hours=0.05, say=said.append
    )
    rows = leaderboard(uri)
    assert sorted(row.architecture for row in rows) == ["crnn", "vit"]
    assert all(row.trials == 3 for row in rows)
    assert done.score["corpus"] == "demo_unseen"
    assert [track.name for track in mido.MidiFile(done.midi).tracks] == ["Drums"]
    assert done.picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in done.checkpoint.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    shown = "\n".join(said)
    for words in ("Best micro F1 per corpus and architecture", str(done.midi), f"mlflow ui --backend-store-uri {uri}"):
        assert words in shown
