"""Checkpoints: a folder with the weights (safetensors) and everything that made them (config.json)."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.bounded import read_bounded
from data_prep.files import write_atomically
from data_prep.manifest import MOST_BANDS, MOST_CLASSES
from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES
from trainables.config import TrainingConfig
from trainables.network import Network
from trainables.peaks import PeakRule
from trainables.tasks import find_task

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 1
MAX_CONFIG_BYTES = 1 << 20
DEFAULT_FOLDER = Path(__file__).parent / "default"  # the checkpoint that comes with the package


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: weights, the configuration that made it, and what is needed to run it on any recording."""

    config: TrainingConfig
    classes: tuple[str, ...]
    features: str
    bands: int
    weights: dict[str, Tensor]
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    peak_rule: PeakRule = field(default_factory=PeakRule)

    def network(self) -> Network:
        """The network with these weights, ready for inference."""
        network = self._empty()
        network.load_state_dict(self.weights)
        return network.eval()

    def _empty(self) -> Network:
        config = self.config
        moments = torch.zeros(self.bands) if config.settings.standardise == "bands" else 0.0
        return Network(
            find_task(config.task), config.architecture, config.hyperparameters, bands=self.bands,
            classes=len(self.classes), mean=moments, deviation=moments, level=config.settings.level,
        )  # fmt: skip

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        with torch.device("meta"):
            return self._empty().parameter_count

    def facts(self) -> dict[str, Any]:
        """All but the weights, as JSON: the content of config.json."""
        return {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "classes": list(self.classes),
            "features": self.features,
            "bands": self.bands,
            "epoch": self.epoch,
            "metrics": self.metrics,
            "peak_rule": asdict(self.peak_rule),
        }

    def save(self, folder: Path, *, half: bool = False) -> None:
        """Write ``folder`` whole or not at all; an older checkpoint there is replaced.

        ``half``: matrices as float16, half as large a file; Refused where a weight is too large for it.
        """
        from safetensors.torch import save  # here, as models are trained on machines that lack it

        weights = {name: (_halved(name, of) if half else of).contiguous() for name, of in self.weights.items()}
        with write_atomically(folder) as temporary:
            temporary.mkdir()
            # Not save_file, whose error where the disk is full is no OSError.
            (temporary / WEIGHTS).write_bytes(save(weights))
            (temporary / CONFIG).write_text(json.dumps(self.facts(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint folder; Refused where a file is missing or damaged, or the front end is another."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise Refused(
                    f"{folder} is no checkpoint: it lacks {name}; a checkpoint is {CONFIG} and {WEIGHTS}: make one "
                    "with `mirtune pull CORPUS/ARCHITECTURE --out DIR`"
                )
        try:
            content: dict[str, Any] = json.loads(
                read_bounded(folder / CONFIG, MAX_CONFIG_BYTES, CONFIG, "pull the checkpoint again")
            )
            loaded = load_file(folder / WEIGHTS)
            weights = {name: of.float() if of.dtype == torch.float16 else of for name, of in loaded.items()}
            if content.pop("format") != FORMAT:
                raise Refused(f"{folder / CONFIG} is not of format {FORMAT}; pull it again with this version")
            config = TrainingConfig.from_dict(content.pop("config"))
            rule = PeakRule.from_dict(content.pop("peak_rule"))
            classes = tuple(content.pop("classes"))
            checkpoint = cls(config=config, peak_rule=rule, classes=classes, weights=weights, **content)
            checkpoint._check_facts()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused(f"the checkpoint {folder} is damaged ({error}); pull it again") from error
        if checkpoint.features != FEATURES:
            raise Refused(
                f"{folder} was trained on features {checkpoint.features!r}; expected {FEATURES!r}: train it anew"
            )
        checkpoint._check_weights(folder)
        return checkpoint

    def _check_facts(self) -> None:
        """Raises ValueError where a value cannot be: whoever made the checkpoint may be a stranger."""
        if type(self.bands) is not int or not 0 < self.bands <= MOST_BANDS:
            raise ValueError(f"its bands are {str(self.bands)[:40]!r}")
        words = [of for of in self.classes if isinstance(of, str) and of.isprintable()]
        if not 0 < len(set(words)) == len(self.classes) <= MOST_CLASSES:
            raise ValueError(f"its classes are {str(self.classes)[:40]!r}")
        if type(self.epoch) is not int or not isinstance(self.metrics, dict):
            raise ValueError("its epoch or its metrics are no numbers")
        self.peak_rule.thresholds_of(len(self.classes))

    def _check_weights(self, folder: Path) -> None:
        try:
            with torch.device("meta"):
                expected = {name: tuple(value.shape) for name, value in self._empty().state_dict().items()}
        except RuntimeError as error:  # sizes beyond any memory
            raise Refused(f"{folder / CONFIG} describes no network that can be built; pull it again") from error
        found = {name: tuple(value.shape) for name, value in self.weights.items()}
        if expected != found:
            name = next(iter(dict(expected.items() ^ found.items())))
            raise Refused(
                f"the weights in {folder / WEIGHTS} do not fit {CONFIG}: {name!r} is {found.get(name, 'missing')}, not "
                f"{expected.get(name, 'nothing')}; pull the checkpoint again"
            )


def _halved(name: str, weight: Tensor) -> Tensor:
    """A matrix as float16; what has fewer dimensions, such as a bias or a deviation, as it is: it takes little room."""
    if weight.ndim < 2 or not weight.is_floating_point():
        return weight
    half = weight.half()
    if not half.isfinite().all():
        raise Refused(f"the weight {name!r} is too large for float16; save the checkpoint whole")
    return half
