"""Read a sweep's records with pandas, and plot them.

    python examples/read_a_sweep.py [FOLDER]

FOLDER is that of a sweep, results/sweeps/NAME. Without one a small sweep is run first. A sweep's folder is JSON and
safetensors: docs/formats.md says what stands in it. It may be read while the sweep runs.
"""

import sys
from pathlib import Path

import matplotlib
import pandas as pd
from songs import make_songs, write_annotation

from data_prep.corpora import PrepOptions
from data_prep.job import prepare
from data_prep.storage import Storage
from tuner.options import SweepOptions
from tuner.records import load_records
from tuner.sweep import sweep
from tuner.sweep_folder import SweepFile

OUT = Path("results/examples/read_a_sweep")


def small_sweep() -> Path:
    """A sweep of four short trials; the folder that it left."""
    recordings, shards, sweeps = OUT / "recordings", OUT / "shards", OUT / "sweeps"
    for song, onsets in make_songs(recordings, 8, seconds=12).items():
        write_annotation(song.with_suffix(".txt"), onsets)
    prepare("folder", source=recordings, shards=shards, options=PrepOptions(name="mine", workers=1))
    narrow = {"layers": (1, 2), "width": (24,), "heads": (2,), "patch_bands": (21,)}
    result = sweep(
        SweepOptions(
            corpora=("mine",), architecture="vit", trials=4, max_epochs=3, batch_size=4, shards=shards,
            storage=str(sweeps), tracking_uri=f"sqlite:///{OUT}/mlflow.db", narrow=narrow,
        )
    )  # fmt: skip
    return sweeps / result.name


def trials_and_epochs(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a trial, and a row an epoch of each trial."""
    records = load_records(Storage.at(folder))
    trials = pd.DataFrame(
        {"trial": of.number, "state": of.state, "epochs": of.epochs, "best": of.best, "seconds": of.seconds}
        | of.hyperparameters
        for of in records
    )
    epochs = pd.DataFrame(
        {"trial": of.number, "epoch": entry["epoch"]} | entry["metrics"] for of in records for entry in of.history
    )
    return trials.set_index("trial"), epochs


def draw(trials: pd.DataFrame, epochs: pd.DataFrame, path: Path) -> None:
    """Each trial's validation loss an epoch, and each trial's last loss by its learning rate."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, of in epochs.groupby("trial"):
        left.plot(of["epoch"], of["validation_loss"], marker="o", label=f"trial {number}")
    left.set(xlabel="epoch", ylabel="validation loss")
    left.legend()
    last = epochs.groupby("trial")["validation_loss"].last()
    right.scatter(trials.loc[last.index, "learning_rate"], last)
    right.set(xscale="log", xlabel="learning rate", ylabel="validation loss at the end")
    figure.savefig(path, dpi=100)


def main(folder: Path | None) -> None:
    """Read, print, plot."""
    OUT.mkdir(parents=True, exist_ok=True)
    folder = folder or small_sweep()
    began = SweepFile.load(Storage.at(folder))
    if began is not None:
        print(f"{folder.name}: {began.options['architecture']} on {', '.join(began.options['corpora'])}")
    trials, epochs = trials_and_epochs(folder)
    print(trials.to_string(float_format="{:.3g}".format))
    print(epochs.groupby("trial")["validation_loss"].agg(["first", "last"]).to_string(float_format="{:.2f}".format))
    draw(trials, epochs, OUT / "curves.png")
    epochs.to_csv(OUT / "epochs.csv", index=False)
    print(f"{OUT / 'curves.png'}, {OUT / 'epochs.csv'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
