"""`mirtune sweep` as a command over the miniature corpus, and what it leaves in its folder and its tracking store."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from data_prep.storage import Storage
from tuner.learning_curves import FILE as LEARNING_CURVES
from tuner.records import TrialRecord, load_records
from tuner.trial_folder import TrialFolder

# A network of 7505 parameters: an epoch takes a tenth of a second. The learning rates leave something to learn.
TINY = ("patch_bands=21", "heads=2", "layers=1", "width=24", "learning_rate=0.0005,0.0008,0.0012")
STATE = re.compile(r"state-(\d{4})-")


@dataclass(frozen=True)
class Asked:
    """A sweep that is asked for: its name, its size, and where it leaves what."""

    shards: Path
    storage: Path
    tracking_uri: str
    name: str = "x"
    trials: int = 4
    epochs: int = 40

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return self.storage / self.name

    @property
    def beginning(self) -> list[object]:
        """The words of the command that begins it, one trial at a time."""
        size = ("--trials", self.trials, "--max-epochs", self.epochs, "--batch-size", 4, "--at-once", 1)
        what = ("sweep", "--corpus", "mdb", "--architecture", "vit", *size, "--narrow", *TINY)
        return [*what, "--shards", self.shards, *self._where]

    @property
    def resuming(self) -> list[object]:
        """The words of the command that goes on with it."""
        return ["sweep", *self._where, "--resume"]

    @property
    def _where(self) -> tuple[object, ...]:
        return ("--name", self.name, "--storage", self.storage, "--tracking-uri", self.tracking_uri)

    def epochs_on_disk(self) -> dict[str, int]:
        """By trial: the furthest epoch whose state lies in the sweep's folder."""
        found: dict[str, int] = {}
        for path in self.folder.glob("trial-*/state-*"):
            if match := STATE.match(path.name):
                found[path.parent.name] = max(int(match[1]), found.get(path.parent.name, 0))
        return found

    def records(self) -> list[TrialRecord]:
        """The trials as the sweep's folder has them."""
        return load_records(Storage.at(self.folder))

    def runs(self, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """The runs of the sweep in its store, its own among them."""
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name("mirtune")
        return list(client.search_runs([experiment.experiment_id], f"tags.sweep = '{self.name}'", view))

    def check_folder(self) -> None:
        """Every trial has the best and the last of its files, both good, and nothing half-written lies about."""
        allowed = {"sweep.json", "result.json", ".driver.lock", LEARNING_CURVES}
        for record in self.records():
            folder = TrialFolder(Storage.at(self.folder / record.id))
            progress, why = folder.latest()
            assert progress is not None
            assert not why
            assert (progress.history, progress.checkpoint) == (record.history, record.checkpoint)
            files = {"trial.json", progress.name}
            files |= {f"{record.checkpoint}/{of}" for of in ("", "model.safetensors", "config.json")}
            allowed |= {f"{record.id}/{of}".rstrip("/") for of in (*files, "")}
        assert {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")} == allowed

    def check_runs(self, epochs: Sequence[int], status: str = "FINISHED") -> None:
        """One run for the sweep and one for each trial, closed, with each metric once at each of the ``epochs``."""
        client = MlflowClient(self.tracking_uri)
        runs = {run.data.tags["trial"]: run for run in self.runs()}
        assert Counter(run.data.tags["trial"] for run in self.runs()) == Counter(
            ["sweep", *(record.id for record in self.records())]
        )
        assert {run.info.status for run in runs.values()} == {status}
        for record in self.records():
            run = runs[record.id]
            assert run.data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
            for name in record.history[0]["metrics"]:
                points = client.get_metric_history(run.info.run_id, name)
                assert [point.step for point in points] == list(epochs), f"{name} of {record.name}"
                assert [point.value for point in points] == [entry["metrics"][name] for entry in record.history]
