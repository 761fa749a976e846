"""Search, training and scores within a limit of time, on whatever device there is. B batch, T frames, K classes."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS
from trainables.checkpoint import Checkpoint
from trainables.config import Settings, TrainingConfig
from trainables.data import SplitData, TrainingData
from trainables.inference import activations
from trainables.loop import FitEpoch, fit
from trainables.metrics import join_tracks
from trainables.mixing import as_heard
from trainables.network import Network
from trainables.recalibration import recalibrate
from trainables.tasks import find_task

TASK = "drum_onsets"
VALIDATION_SCORE = f"validation_{find_task(TASK).metric}"
FIRST_EPOCHS, LONGER = 2, 3  # of a search: every round trains the better half for so many times as long
FILE_BYTES, FEW_BYTES = 12 << 20, 40 << 20  # of weights: in one file that comes back; in all, beyond which in halves
LATE = 0.97  # of the time that is left is planned for


@dataclass(frozen=True)
class Candidate:
    """What is tried: hyperparameters of the architecture, and a learning rate."""

    hyperparameters: dict[str, Any]
    learning_rate: float

    def __str__(self) -> str:
        return f"{json.dumps(self.hyperparameters)} at {self.learning_rate:g}"


@dataclass(frozen=True)
class Corpora:
    """What there is: stems and music to learn from, renders to choose by, recordings to score at the end alone."""

    stems: Corpus
    music: list[Corpus]
    validation: list[Corpus]
    scored: list[Corpus]

    def data(self) -> TrainingData:
        """What training needs; Refused where there is nothing to validate on."""
        if not self.validation:
            raise Refused("no corpus to validate on is there; pack one that is rendered, such as groove")
        train, manifest = SplitData([self.stems], "train"), self.stems.manifest
        summary = manifest.splits["train"]
        return TrainingData(
            train=train,
            sources=(train,),
            music=SplitData(self.music, "train") if self.music else None,
            validation=SplitData(self.validation, "validation"),
            classes=manifest.classes,
            bands=BANDS,
            features=manifest.features,
            mean=0.0,  # of what the network is given: see as_heard
            deviation=1.0,
            rates=np.array([summary.onsets[name] for name in manifest.classes]) / summary.frames,
        )


@dataclass
class Training:
    """One training after another of one architecture on the same data."""

    data: TrainingData
    architecture: str
    settings: Settings
    device: torch.device
    most_epochs: int
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.data = as_heard(self.data, self.settings, self.device)

    def epochs(self, candidate: Candidate, count: int, seed: int = 0) -> Iterator[tuple[FitEpoch, Checkpoint]]:
        """Train a candidate for so many epochs, the learning rate down to nothing at their end.

        They end early where the loss is no longer finite.
        """
        torch.manual_seed(seed)
        chosen = {"learning_rate": candidate.learning_rate, "max_epochs": count, "stop_patience_epochs": count + 1}
        settings = self.settings.with_values({**chosen, "seed": seed})
        config = TrainingConfig(("groove_stems",), self.architecture, candidate.hyperparameters, settings)
        task = find_task(TASK)
        network = Network.fitting(self.data, task, self.architecture, candidate.hyperparameters, settings.level)
        for epoch in self._sound(fit(network.to(self.device), task, self.data, settings)):
            told = " ".join(f"{epoch.metrics[of]:.4f}" for of in ("train_loss", "validation_loss"))
            self.say(f"epoch {epoch.number}/{count}: losses {told}, F1 {score_of(epoch):.4f}, "
                     f"{epoch.metrics['windows_per_s']:.0f} windows/s")  # fmt: skip
            yield epoch, Checkpoint(
                config, self.data.classes, self.data.features, self.data.bands, epoch.weights, epoch.number,
                epoch.metrics, epoch.rule,
            )  # fmt: skip

    def _sound(self, epochs: Iterator[FitEpoch]) -> Iterator[FitEpoch]:
        """As long as the loss is finite."""
        try:
            yield from epochs
        except FloatingPointError as error:
            self.say(f"given up: {error}")

    def search(self, candidates: Sequence[Candidate], until: float) -> tuple[Candidate, float, list[dict[str, Any]]]:
        """Successive halving by validation F1: the best candidate, seconds of its epochs, and what was tried.

        Nothing is begun that would end after ``until``, but for the first candidate.
        """
        tried: list[dict[str, Any]] = []
        seconds: dict[str, float] = {}
        left, count = list(candidates), FIRST_EPOCHS
        while True:
            scored: list[tuple[float, Candidate]] = []
            for candidate in left:
                expected_s = count * seconds.get(str(candidate), max(seconds.values(), default=0.0))
                if tried and time.monotonic() + expected_s > until:
                    break
                self.say(f"trying {candidate}")
                told = [(epoch.metrics["seconds"], score_of(epoch)) for epoch, _ in self.epochs(candidate, count)]
                seconds[str(candidate)] = min((of for of, _ in told), default=expected_s or 1.0)
                scored.append((max((of for _, of in told), default=-1.0), candidate))
                tried.append({"candidate": str(candidate), "epochs": count, "validation_f1": scored[-1][0]})
            is_whole = len(scored) == len(left)
            if scored:  # else those of the round before, the best first
                left = [candidate for _, candidate in sorted(scored, key=lambda of: -of[0])]
            left, count = left[: math.ceil(len(left) / 2)], count * LONGER
            if len(left) == 1 or not is_whole:
                return left[0], seconds[str(left[0])], tried

    def train(
        self, candidate: Candidate, epoch_s: float, until: float, seed: int
    ) -> Iterator[tuple[FitEpoch, Checkpoint]]:
        """The epochs of a training that ends by ``until``, planned by the seconds that an epoch took before."""
        count = min(self.most_epochs, max(1, int((until - time.monotonic()) * LATE / epoch_s)))
        for epoch, checkpoint in self.epochs(candidate, count, seed):
            yield epoch, checkpoint
            if time.monotonic() + epoch.metrics["seconds"] > until:
                break


def score_of(epoch: FitEpoch) -> float:
    """The metric that selects."""
    return epoch.metrics[VALIDATION_SCORE]


def calibrated(checkpoint: Checkpoint, corpora: Corpora, device: torch.device) -> Checkpoint:
    """With the peak rule that fits the rendered validation, heard as recordings are."""
    return replace(checkpoint, peak_rule=recalibrate(checkpoint, corpora.validation, device=str(device)).rule)


@torch.inference_mode()
def score(checkpoint: Checkpoint, corpus: Corpus, split: str, device: torch.device) -> dict[str, float]:
    """Whole tracks within 50 ms, by the checkpoint's rule: micro, macro, precision, recall, each class's F1."""
    data = SplitData([corpus], split)
    tracks = [data.track(number) for number in range(len(data.frames))]
    network = checkpoint.network().to(device)
    found = activations(network, [of.bands for of in tracks], checkpoint.config.settings.precision)
    targets = [torch.from_numpy(of.targets.copy()).to(device) for of in tracks]
    lines = join_tracks(found)[0], join_tracks(targets)[0]
    return find_task(checkpoint.config.task).score(*lines, checkpoint.classes, checkpoint.peak_rule)


def scores(checkpoint: Checkpoint, corpora: Corpora, device: torch.device) -> dict[str, dict[str, float]]:
    """Rendered validation and test, and whatever else there is, whole."""
    rows = [(of, split) for of in corpora.validation for split in ("validation", "test")]
    rows = [(of, split) for of, split in rows if of.manifest.splits[split].tracks]
    rows += [(of, "all") for of in corpora.scored]
    return {f"{of.manifest.corpus} {split}": score(checkpoint, of, split, device) for of, split in rows}


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """config.json and weights-*.npz, each small enough to come back; in 16 bits where they are many."""
    arrays = {name: of.numpy() for name, of in checkpoint.weights.items()}
    if sum(of.nbytes for of in arrays.values()) > FEW_BYTES:
        arrays = {name: of.astype(np.float16) if of.ndim > 1 else of for name, of in arrays.items()}
    files: list[dict[str, np.ndarray]] = [{}]
    for name, of in arrays.items():
        if sum(held.nbytes for held in files[-1].values()) + of.nbytes > FILE_BYTES and files[-1]:
            files.append({})
        files[-1][name] = of
    for number, content in enumerate(files):
        np.savez(folder / f"weights-{number}.npz", **content)  # type: ignore[arg-type]
    (folder / "config.json").write_text(json.dumps(checkpoint.facts(), indent=2) + "\n", encoding="utf-8")


def read_checkpoint(folder: Path, into: Path) -> Checkpoint:
    """What ``write_checkpoint`` left as a checkpoint's folder, read back; Refused where it is none."""
    from safetensors.numpy import save  # here, as the machine that trains lacks it

    weights: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("weights-*.npz")):
        with np.load(path) as content:
            weights |= {name: np.ascontiguousarray(content[name]).reshape(content[name].shape) for name in content}
    if not weights:
        raise Refused(f"{folder} holds no weights-*.npz; give the folder with the files of a run")
    into.mkdir(parents=True, exist_ok=True)
    (into / "model.safetensors").write_bytes(save(weights))
    (into / "config.json").write_bytes((folder / "config.json").read_bytes())
    return Checkpoint.load(into)
