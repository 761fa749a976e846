"""Configurations: frozen, refusing what they do not know, travelling as JSON."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self, get_origin

from data_prep.refused import Refused, check_known

MOST = 1 << 63  # of a whole number that stands for a float
PRECISIONS = ("auto", "bf16", "fp32")
RECIPE_NAMES = ("study", "mirtune")
LEVELS = ("as_recorded", "window", "whitened")  # what at_level does to the bands before the network
SCHEDULES = ("plateau", "cosine")
STOPS = ("loss", "score")
WEIGHED = ("frames", "classes")  # by the classes' weights: whole frames, or each class where it sounds
STANDARDISED = ("all", "bands")  # the network's input: by one mean and deviation, or by each band's
MOST_SHIFT_FRAMES = 5
MOST_EPOCH_WINDOWS = 1 << 31
AUGMENTATION_MOST: dict[str, float] = {  # each number's highest value; the lowest is 0
    **dict.fromkeys(("class_gain_db", "class_equaliser_db", "gain_db", "equaliser_db"), 40),
    **dict.fromkeys(("class_pitch_semitones", "pitch_semitones"), 12),
    "stretch": 0.5,
    **dict.fromkeys(("music_share", "ring_share", "room_share", "compression_share", "noise_share"), 1),
    **dict.fromkeys(("bleed_share", "silence_share"), 1),
    "audible_rise": 10,
}
MOST_OVER_MUSIC_DB = 60.0
CHOICES = {
    **{"precision": PRECISIONS, "recipe": RECIPE_NAMES, "stop_on": STOPS, "schedule": SCHEDULES, "level": LEVELS},
    **{"weigh": WEIGHED, "standardise": STANDARDISED},
}


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
            raise Refused(f"unknown key {strays[0]!r} in {_a(cls)}; expected {', '.join(known)}: remove it")
        missing = [n for n, of in known.items() if n not in content and of.default is of.default_factory is MISSING]
        if missing:
            raise Refused(f"{_a(cls)} lacks {missing[0]!r}; expected {', '.join(known)}: add it")
        return cls(**{name: _fitted(cls, known[name], value) for name, value in content.items()})


def _a(owner: type) -> str:
    return f"{'an' if owner.__name__[0] in 'AEIOU' else 'a'} {owner.__name__}"


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
        raise Refused(f"{of.name} = {repr(value)[:80]} in {_a(owner)}; expected {shown}: correct it")
    return value


def check_between(name: str, value: float, lowest: float, highest: float) -> None:
    """Refused where a value is out of its range."""
    if not lowest <= value <= highest:
        raise Refused(f"{name} = {value!r}; expected {lowest:g} to {highest:g}")


@dataclass(frozen=True)
class Augmentation(Config):
    """What is done to training windows so that none comes twice; 0 switches a thing off, and all are off at first.

    A share is the part of the windows that has the thing, whatever ends in ``_db`` or ``_semitones`` a range to both
    sides (``class_gain_db``: a deviation), ``stretch`` the part of its length that a window becomes longer or shorter.
    """

    class_gain_db: float = 0.0  # each class's own level
    class_equaliser_db: float = 0.0
    class_pitch_semitones: float = 0.0
    gain_db: float = 0.0
    equaliser_db: float = 0.0
    music_share: float = 0.0
    over_music_low_db: float = -12.0  # level of the recording over the music, drawn between these
    over_music_high_db: float = 6.0
    ring_share: float = 0.0  # windows in which one class rings on
    room_share: float = 0.0
    compression_share: float = 0.0
    pitch_semitones: float = 0.0
    stretch: float = 0.0
    noise_share: float = 0.0
    bleed_share: float = 0.0  # windows of music alone
    silence_share: float = 0.0
    audible_rise: float = 0.0  # onsets of stems that rise by less than this share of the mix are no onsets

    def __post_init__(self) -> None:
        for name, most in AUGMENTATION_MOST.items():
            check_between(name, getattr(self, name), 0, most)
        low, high = self.over_music_low_db, self.over_music_high_db
        for name, level in (("over_music_low_db", low), ("over_music_high_db", high)):
            check_between(name, level, -MOST_OVER_MUSIC_DB, MOST_OVER_MUSIC_DB)
        if low > high:
            raise Refused(f"over_music_low_db = {low:g} is above over_music_high_db = {high:g}; swap them")
        if not self.bleed_share + self.silence_share < 1:
            raise Refused(
                f"bleed_share = {self.bleed_share:g} and silence_share = {self.silence_share:g} leave nothing to "
                "learn from; expected less than 1 together"
            )

    @property
    def is_off(self) -> bool:
        """Whether windows stay as they were prepared."""
        return not any(getattr(self, name) for name in AUGMENTATION_MOST)


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
    recipe: str = "study"  # the one these began with
    augmentation: Augmentation = field(default_factory=Augmentation)
    weight_scale: float = 1.0  # of the class weights; the smaller, the more frames count the same
    weigh: str = "frames"
    standardise: str = "all"
    stop_on: str = "loss"  # what has to stand still: validation loss, or the task's metric
    average_decay: float = 0.0  # of the weights' moving average, a step; 0: none is kept
    shift_frames: int = 0  # by which the loss lets a positive be early or late
    schedule: str = "plateau"
    epoch_windows: int = 0  # windows an epoch; 0: each once
    corpus_power: float = 1.0  # corpora of a union come in proportion to their windows to this power; 1: each once
    level: str = "as_recorded"
    calibrate: bool = False  # fit the peak rule to the validation after every epoch

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "max_epochs", "gradient_norm", "weight_scale"):
            if not getattr(self, name) > 0:
                raise Refused(f"{name} = {getattr(self, name)!r}; expected a number above 0")
        if self.weight_decay < 0:
            raise Refused(f"weight_decay = {self.weight_decay!r}; expected 0 or more")
        check_between("weight_scale", self.weight_scale, 0, 1)
        check_between("shift_frames", self.shift_frames, 0, MOST_SHIFT_FRAMES)
        check_between("corpus_power", self.corpus_power, 0, 1)
        check_between("epoch_windows", self.epoch_windows, 0, MOST_EPOCH_WINDOWS)
        if not 0 <= self.average_decay < 1:
            raise Refused(f"average_decay = {self.average_decay!r}; expected at least 0 and less than 1")
        for kind, known in CHOICES.items():
            check_known(kind, getattr(self, kind), known)

    def with_values(self, chosen: Mapping[str, Any]) -> Self:
        """These with other values, of their own or of their augmentation (SETTING_NAMES); Refused on wrong ones."""
        content = self.to_dict()
        for name, value in chosen.items():
            (content["augmentation"] if name in Augmentation.__dataclass_fields__ else content)[name] = value
        return type(self).from_dict(content)


SETTING_NAMES = frozenset({*Settings.__dataclass_fields__, *Augmentation.__dataclass_fields__} - {"augmentation"})

MIRTUNE = Settings(
    recipe="mirtune",
    learning_rate=4e-3,
    batch_size=32,
    weight_scale=0.3,
    weigh="classes",
    standardise="bands",
    stop_on="score",
    stop_patience_epochs=40,
    average_decay=0.999,
    schedule="cosine",
    epoch_windows=2000,
    level="whitened",
    calibrate=True,
    augmentation=Augmentation(
        class_gain_db=8,
        class_equaliser_db=6,
        class_pitch_semitones=2,
        gain_db=6,
        equaliser_db=6,
        music_share=0.75,
        room_share=0.5,
        compression_share=0.5,
        pitch_semitones=2,
        stretch=0.1,
        noise_share=0.3,
        bleed_share=0.05,
        silence_share=0.02,
        audible_rise=0.1,
    ),
)
RECIPES: dict[str, Settings] = {"study": Settings(), "mirtune": MIRTUNE}


@dataclass(frozen=True)
class TrainingConfig(Config):
    """Everything that decides what is trained: saved with the checkpoint it made."""

    corpora: tuple[str, ...]
    architecture: str
    hyperparameters: dict[str, Any]
    settings: Settings = field(default_factory=Settings)
    task: str = "drum_onsets"
