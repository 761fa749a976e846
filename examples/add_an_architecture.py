"""Add an architecture in one file, and sweep it: dilated convolutions over time, a small TCN.

    python examples/add_an_architecture.py

In mirtune itself this is a module in trainables/models/ with a line in the table MODELS, and one in search_spaces/ with
a line in the table SPACES; then `mirtune sweep --architecture tcn` knows it. From outside the package both tables are
filled by hand, here and in every process of Ray that trains: see `register`. There is no other door: the command line
reads the tables as the package has them.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import tune
from songs import make_songs, write_annotation
from torch import Tensor, nn

from data_prep.corpora import PrepOptions
from data_prep.job import prepare
from data_prep.local_ray import on_loopback
from search_spaces.common import OPTIMISER, whole
from trainables.models import ModelFamily
from trainables.models.blocks import ModelConfig
from tuner.options import SweepOptions
from tuner.sweep import sweep

OUT = Path("results/examples/add_an_architecture")


@dataclass(frozen=True)
class TcnConfig(ModelConfig):
    """Its hyperparameters: whole numbers of 1 or more, which ModelConfig checks; the defaults build a network."""

    layers: int = 4
    width: int = 32


class Tcn(nn.Module):
    """(B, T, F) -> (B, T, width): convolutions over time, each twice as far apart as the one below it."""

    def __init__(self, config: TcnConfig, bands: int) -> None:
        super().__init__()
        self.over_bands = nn.Linear(bands, config.width)
        self.over_time = nn.ModuleList(
            nn.Conv1d(config.width, config.width, 3, padding=2**layer, dilation=2**layer)
            for layer in range(config.layers)
        )
        self.features = config.width  # what the task's head needs to know

    def forward(self, bands: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, D)."""
        features = self.over_bands(bands).transpose(1, 2)
        for convolution in self.over_time:
            features = features + convolution(features).relu()
        return features.transpose(1, 2)


def register() -> None:
    """Into both tables, under one name. Keys of the space are fields of the configuration, besides the optimiser's."""
    # Imported here: Ray would send a copy of tables that this file holds, and the copy would be filled.
    from search_spaces import SPACES
    from trainables.models import MODELS

    MODELS["tcn"] = ModelFamily("TCN", TcnConfig, Tcn)
    SPACES["tcn"] = {**OPTIMISER, "layers": whole(2, 6), "width": tune.choice([16, 32, 64])}


def main() -> None:
    """Prepare a few short pieces, register the architecture, sweep it."""
    recordings = OUT / "recordings"
    for song, onsets in make_songs(recordings, 8, seconds=12).items():
        write_annotation(song.with_suffix(".txt"), onsets)
    prepare("folder", source=recordings, shards=OUT / "shards", options=PrepOptions(name="mine", workers=1))

    register()
    # Trials run in processes of their own: Ray calls `register` in each as it starts.
    with on_loopback():
        ray.init(
            runtime_env={"worker_process_setup_hook": register},
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    try:
        result = sweep(
            SweepOptions(
                corpora=("mine",), architecture="tcn", trials=3, max_epochs=3, batch_size=4, shards=OUT / "shards",
                storage=str(OUT / "sweeps"), tracking_uri=f"sqlite:///{OUT}/mlflow.db", at_once=1,
            )
        )  # fmt: skip
    finally:
        ray.shutdown()
    for trial in result.trials:
        chosen = {name: trial.hyperparameters[name] for name in ("layers", "width")}
        losses = [entry["metrics"]["validation_loss"] for entry in trial.history]
        print(f"{trial.name}: {chosen}, validation loss {losses[0]:.1f} -> {losses[-1]:.1f}")
    print(f"best: {result.best.name}; its checkpoint: {result.checkpoint}")


if __name__ == "__main__":
    main()
