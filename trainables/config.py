"""Configurations: frozen, refusing what they do not know, travelling as JSON."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self, get_origin

from data_prep.refused import Refused, check_known

MOST = 1 << 63  # of a whole number that stands for a float
PRECISIONS = ("auto", "bf16", "fp32")


class Config:
    """A frozen dataclass that travels as JSON; from_dict refuses unknown, missing and wrongly typed keys."""

    def to_dict(self) -> dict[str, Any]:
        """Plain scalars, lists and dicts."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Build from ``to_dict``'s form; Refused on a key that is unknown, missing or of another type."""
        known = {of.name: of for of in fields(cls)}  # type: ignore[arg-type]
        if strays := sorted(set(content) - set(known)):
            raise Refused(f"unknown key {strays[0]!r} in a {cls.__name__}; expected {', '.join(known)}: remove it")
        missing = [n for n, of in known.items() if n not in content and of.default is of.default_factory is MISSING]
        if missing:
            raise Refused(f"a {cls.__name__} lacks {missing[0]!r}; expected {', '.join(known)}: add it")
        return cls(**{name: _fitted(cls, known[name], value) for name, value in content.items()})


def _fitted(owner: type, of: Any, value: Any) -> Any:
    """``value`` as the field's type: ints stand for floats, lists for tuples, dicts for configurations."""
    wanted = get_origin(of.type) or of.type
    if isinstance(wanted, type) and issubclass(wanted, Config) and isinstance(value, dict):
        return wanted.from_dict(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST:
        return float(value)
    if wanted is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        shown = getattr(of.type, "__name__", str(of.type))
        raise Refused(f"{of.name} = {repr(value)[:80]} in a {owner.__name__}; expected {shown}: correct it")
    return value


@dataclass(frozen=True)
class Settings(Config):
    """How a model is trained; the defaults are the reference study's recipe."""

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 128
    max_epochs: int = 100
    gradient_norm: float = 2.0
    plateau_factor: float = 0.2
    plateau_patience_epochs: int = 5
    stop_patience_epochs: int = 15
    precision: str = "auto"  # bf16 autocast where the device has units for it
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "max_epochs", "gradient_norm"):
            if not getattr(self, name) > 0:
                raise Refused(f"{name} = {getattr(self, name)!r}; expected a number above 0")
        if self.weight_decay < 0:
            raise Refused(f"weight_decay = {self.weight_decay!r}; expected 0 or more")
        check_known("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class TrainingConfig(Config):
    """Everything that decides what is trained: saved with the checkpoint it made."""

    corpora: tuple[str, ...]
    architecture: str
    hyperparameters: dict[str, Any]
    settings: Settings = field(default_factory=Settings)
    task: str = "drum_onsets"
