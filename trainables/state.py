"""The state of a training after an epoch: whatever it needs to go on as if it had never been interrupted.

It travels as one safetensors file: tensors, and beside them strict JSON with a checksum over both. Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.finite import is_finite
from data_prep.refused import Refused

FORMAT = 1
KEY = "training_state"  # in the file's metadata: a checksum, a space, and the JSON
PLATEAU = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # ReduceLROnPlateau's


@dataclass(frozen=True)
class TrainingState:
    """A training right after ``epoch``: ``tensors`` lie in the host's memory, ``facts`` are JSON."""

    epoch: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def to_bytes(self, also: Mapping[str, Any]) -> bytes:
        """One safetensors file; ``also`` is the caller's JSON that travels with it.

        Raises ValueError where ``also`` holds a number that is not finite, TypeError where it is no JSON.
        """
        from safetensors.torch import save  # here, as models are trained on machines that lack it

        content = {"format": FORMAT, "epoch": self.epoch, "facts": self.facts, "also": dict(also)}
        about = json.dumps(content, allow_nan=False)
        tensors = {name: value.contiguous() for name, value in self.tensors.items()}
        return save(tensors, {KEY: f"{checksum(about, tensors)} {about}"})

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "") -> tuple["TrainingState", dict[str, Any]]:
        """A state and the JSON that came with it; Refused where they are not what ``to_bytes`` wrote.

        ``where``: what the sentence of a refusal says after "the training state".
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        named = f"the training state {where}".rstrip()
        try:
            tensors = load(content)
            header = strict_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
            claimed, _, text = header["__metadata__"][KEY].partition(" ")
            about = strict_json(text)
            if about["format"] != FORMAT:
                raise Refused(
                    f"{named} is of format {about['format']!r}; expected {FORMAT}: resume with the version of mirtune "
                    "that wrote it, or begin the training anew"
                )
            if claimed != checksum(text, tensors):
                raise ValueError("its checksum is another")
            state, also = cls(about["epoch"], tensors, about["facts"]), about["also"]
            check_facts(state.epoch, state.facts)
            if not isinstance(also, dict):
                raise TypeError(f"what came with it is {also!r}")
        except Refused:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            SafetensorError,
        ) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise Refused(f"{named} is damaged ({reason}); resume from an older one, or begin anew") from error
        return state, also


def checksum(about: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the JSON text and of every tensor's name, type, shape and content."""
    digest = hashlib.sha256(about.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name!r} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; ValueError on NaN and Infinity, which Python would take."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def is_count(value: Any) -> bool:
    """Whether it is a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_generator(value: Any) -> bool:
    """Whether numpy takes it for the state of its default generator."""
    np.random.PCG64().state = value
    return True


FACTS: dict[str, Callable[[Any], bool]] = {
    "learning_rates": lambda of: isinstance(of, list) and all(map(is_finite, of)),
    "plateau": lambda of: (  # None: the learning rate goes by steps
        of is None or (set(of) == set(PLATEAU) and is_finite(of["best"]) and all(is_count(of[n]) for n in PLATEAU[1:]))
    ),
    "best": lambda of: of is None or is_finite(of),
    "lowest_loss": is_finite,
    "lowest_epoch": is_count,
    "best_epoch": is_count,
    "windows_at_once": lambda of: len(of) == 2 and all(is_count(count) and count for count in of),
    "generator": is_generator,
}
LATER = {"best_epoch"}  # which the states of earlier versions lack


def check_facts(epoch: Any, facts: Any) -> None:
    """ValueError or TypeError where they are not those of a state."""
    if not (is_count(epoch) and epoch):
        raise ValueError(f"its epoch is {epoch!r}")
    if set(facts) | LATER != set(FACTS):
        raise ValueError(f"its facts are {', '.join(sorted(facts))}")
    for name, value in facts.items():
        if not FACTS[name](value):
            raise ValueError(f"its {name} is {value!r}")
