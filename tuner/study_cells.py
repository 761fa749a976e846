"""The cells of a study: one sweep each, and what is known of it from its folder.

A cell is "done" when its sweep has ended with as many trials as were asked for and its best model is registered, "not
registered" when only that is missing, "unfinished" when some of the trials can go on, "failed" when none came through,
and "to do" before it begins.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data_prep.refused import Refused, check_known
from data_prep.storage import Storage
from tuner.options import SweepOptions, folder_of
from tuner.records import TrialRecord, load_records
from tuner.sweep_folder import ResultFile, SweepFile

DONE, UNREGISTERED, UNFINISHED = "done", "not registered", "unfinished"
FAILED, TO_DO = "failed", "to do"


@dataclass(frozen=True)
class Cell:
    """One sweep of a study: the corpora that it trains on, and how it is asked for."""

    options: SweepOptions

    @property
    def union(self) -> str:
        """The corpora, as people name them."""
        return "+".join(self.options.corpora)

    @property
    def architecture(self) -> str:
        """That of its networks."""
        return self.options.architecture

    @property
    def name(self) -> str:
        """The sweep's."""
        assert self.options.name is not None
        return self.options.name

    @property
    def folder(self) -> Storage:
        """The sweep's."""
        return folder_of(self.options.storage, self.name)


@dataclass
class Entry:
    """What is known of a cell. ``epochs``: really trained, of all trials; ``scores``: by the corpora scored on."""

    corpora: list[str]
    architecture: str
    sweep: str
    state: str = TO_DO
    error: str = ""
    asked: int = 0  # trials
    trials: int = 0  # that ended
    epochs: int = 0
    trial_hours: float = 0.0
    gpu_hours: float = 0.0
    parameters: int | None = None
    validation: float | None = None
    best: str = ""  # the best trial
    best_epoch: int | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    when: str = ""
    checkpoint: str = ""  # sweep's id, trial and checkpoint: what the scores are of
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def union(self) -> str:
        """The corpora, as people name them."""
        return "+".join(self.corpora)

    @property
    def ended(self) -> bool:
        """Whether its scores are the last word."""
        return self.state in (DONE, UNREGISTERED)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Known:
    """A sweep's folder as it was found; ``result`` is None where it has not ended."""

    file: SweepFile | None
    result: ResultFile | None
    records: Sequence[TrialRecord]

    @classmethod
    def of(cls, cell: Cell) -> "Known":
        """Refused where the folder holds something else, or is damaged."""
        file = SweepFile.load(cell.folder)
        if file is None:
            return cls(None, None, ())
        return cls(file, ResultFile.load(cell.folder, file.id), load_records(cell.folder))

    def state(self, cell: Cell) -> str:
        """As the module says; that every trial failed is told by the sweep alone."""
        if self.file is None:
            return TO_DO
        if self.result is None or self.result.undone or self.result.trials < cell.options.trials:
            return UNFINISHED
        return DONE if self.result.registered else UNREGISTERED

    @property
    def trials_ended(self) -> int:
        """How many trials have come to their end."""
        return sum(record.ended for record in self.records)


def entry_of(cell: Cell, error: str = "") -> Entry:
    """What the cell's folder says; ``error``: why its sweep failed just now, which may have trials that can go on."""
    known = Known.of(cell)
    entry = Entry(list(cell.options.corpora), cell.architecture, cell.name, asked=cell.options.trials)
    failed = error and known.trials_ended >= cell.options.trials
    entry.state, entry.error = FAILED if failed else known.state(cell), error
    entry.trials, entry.epochs = known.trials_ended, sum(record.epochs for record in known.records)
    entry.trial_hours = sum(record.seconds for record in known.records) / 3600
    if known.result is None:
        if known.file is not None:
            entry.gpu_hours = entry.trial_hours * float(known.file.options.get("gpus_per_trial") or 0)
        return entry
    result = known.result
    entry.gpu_hours, entry.parameters = result.gpu_hours, result.parameters
    entry.validation, entry.best, entry.best_epoch = result.validation, result.trial, result.epoch
    entry.when = result.when
    best = next((record for record in known.records if record.id == result.trial), None)
    entry.hyperparameters = dict(best.hyperparameters) if best is not None else {}
    entry.checkpoint = f"{result.sweep_id}/{result.trial}/{result.checkpoint}"
    return entry


def cells_of(
    name: str, unions: Sequence[Sequence[str]], architectures: Sequence[str], sweeps: SweepOptions
) -> list[Cell]:
    """A cell for each union and architecture, union by union; Refused where something is named twice."""
    for what, named in (
        ("architecture", list(architectures)),
        ("combination of corpora", ["+".join(sorted(union)) for union in unions]),
    ):
        twice = [of for of in named if named.count(of) > 1]
        if twice:
            raise Refused(f"{what} {twice[0]!r} is named twice; a study has each once")
        if not named:
            raise Refused(f"a study of no {what} at all; name at least one")
    narrowed = {of: narrow_for(of, architectures, sweeps) for of in architectures}
    return [
        Cell(
            replace(
                sweeps,
                corpora=tuple(union),
                architecture=of,
                narrow=narrowed[of],
                name=f"{name}.{'+'.join(sorted(union))}.{of}",
                resume=True,  # begins where there is none
            )
        )
        for union in unions
        for of in architectures
    ]


def narrow_for(architecture: str, architectures: Sequence[str], sweeps: SweepOptions) -> dict[str, Sequence[Any]]:
    """What of ``sweeps.narrow`` is for one architecture: ARCHITECTURE.NAME for that one, NAME for all that have it.

    Refused where no architecture of the study has it.
    """
    from search_spaces import RECIPE_SPACES, SPACES, space_of
    from trainables.config import SETTING_NAMES

    for kind, named, known in (
        ("recipe", sweeps.recipe, list(RECIPE_SPACES)),
        *(("architecture", of, sorted(SPACES)) for of in architectures),
    ):
        check_known(kind, named, known)
    has = {of: {*space_of(of, sweeps.recipe), *SETTING_NAMES} for of in architectures}
    found: dict[str, Sequence[Any]] = {}
    for key, values in sorted(sweeps.narrow.items(), key=lambda item: "." in item[0]):  # what is for one comes last
        of, dot, name = key.rpartition(".")
        if dot:
            check_known("architecture of the study", of, architectures)
            check_known(f"hyperparameter of {of}", name, sorted(has[of]))
        elif not any(name in names for names in has.values()):
            check_known("hyperparameter", name, sorted(set().union(*has.values()) - SETTING_NAMES))
        if name in has[architecture] and of in ("", architecture):
            found[name] = values
    return found


def as_json(content: Mapping[str, Any]) -> str:
    """On one line, for a cell of a table."""
    return json.dumps(dict(content), sort_keys=True)
