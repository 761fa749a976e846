"""A study: a sweep for each of its cells, begun or gone on with, and the tables of what they found.

Cells that are done are not run again, so a study that was stopped goes on by the same command. After every cell the
tables are written anew, with what there is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.material import material_of
from data_prep.refused import Refused
from tuner.options import SweepOptions, check_beginning
from tuner.study_cells import DONE, FAILED, UNREGISTERED, Cell, Entry, Known, cells_of, entry_of
from tuner.telling import holds_secret, say, warn

if TYPE_CHECKING:
    from tuner.plan import Plan

ARCHITECTURE, CORPORA = "architecture", "corpora"  # the kinds of studies


@dataclass(frozen=True)
class StudyOptions:
    """What a study compares: architectures on each of some corpora, or unions of corpora on each of some corpora.

    ``sweeps``: what all cells share; its corpora, architecture and name are the cells' own, and its ``narrow`` may have
    keys such as crnn.hidden. ``on``: the corpora that a study of corpora scores on; none: all that have a test split.
    """

    kind: str
    unions: tuple[tuple[str, ...], ...]
    architectures: tuple[str, ...]
    sweeps: SweepOptions
    on: tuple[str, ...] = ()
    protocol: str | None = None  # whole tracks where a corpus has them
    name: str = ""  # the kind
    out: Path = Path("results")
    reference: bool = False
    command: str = "mirtune study ..."  # that goes on with it

    @property
    def title(self) -> str:
        """What its sweeps' names begin with."""
        return self.name or self.kind

    def file(self, suffix: str) -> Path:
        """One of the files that it writes."""
        return self.out / f"{self.title}_study{suffix}"


@dataclass(frozen=True)
class Study:
    """A study that has been checked. ``wanted``: corpus -> split and protocol that the checkpoints are scored by."""

    options: StudyOptions
    cells: tuple[Cell, ...]
    metric: str
    mode: str
    wanted: dict[str, tuple[str, str]]
    checksums: dict[str, str]
    plans: "dict[str, Plan]"  # of the cells that are not done, by name
    material: Mapping[str, frozenset[str]] = field(default_factory=dict)  # corpus -> what it is made of, if known

    def is_zero_shot(self, trained_on: Iterable[str], corpus: str) -> bool:
        """Whether nothing of ``corpus`` is among the corpora that a model was trained on."""
        mine, *others = (self.material.get(of) or material_of(of) for of in (corpus, *trained_on))
        return not any(mine & of for of in others)

    def columns(self, cell: Cell) -> dict[str, tuple[str, str]]:
        """What a cell is scored on: all that is wanted, or, where architectures are compared, its own corpora."""
        if self.options.kind == CORPORA:
            return self.wanted
        return {of: how for of, how in self.wanted.items() if of in cell.options.corpora}


@dataclass
class Studied:
    """What a study has so far: an entry a cell, in order."""

    study: Study
    entries: list[Entry] = field(default_factory=list)

    @property
    def failed(self) -> list[Entry]:
        """Cells none of whose trials came through."""
        return [entry for entry in self.entries if entry.state == FAILED]


def check_study(options: StudyOptions, *, verify: bool = True) -> Study:
    """Refuse, before any sweep starts, whatever cannot work, and cells that were begun with other options.

    ``verify``: compare the corpora that will be trained on with their checksums.
    """
    from data_prep.remote_corpora import at_hand
    from data_prep.shards import Corpus
    from trainables.tasks import find_task
    from tuner.plan import check
    from tuner.prepared import open_corpus, refuse_unknown
    from tuner.study_wanted import check_unions, wanted_of

    task = find_task(options.sweeps.task)
    for corpus in options.on:
        if options.on.count(corpus) > 1:
            raise Refused(f"corpus {corpus!r} is named twice to score on; name each once")
    cells = tuple(cells_of(options.title, options.unions, options.architectures, options.sweeps))
    names = list(dict.fromkeys([*(of for union in options.unions for of in union), *options.on]))
    for name in names:
        refuse_unknown(name, options.sweeps.shards)
    folder = at_hand(options.sweeps.shards, names)
    opened = {name: Corpus.open(folder / name) for name in names}
    wanted = wanted_of(options, opened)
    check_unions(options, opened, wanted, task.targets)
    checksums = {name: corpus.checksum for name, corpus in opened.items()}
    plans = {}
    for cell in cells:
        known = Known.of(cell)
        if known.file is not None:
            check_beginning(known.file, cell.options, {of: checksums[of] for of in cell.options.corpora})
        if known.state(cell) != DONE:
            plans[cell.name] = check(cell.options, known.file, verify=False)
    if verify:  # each once, and not once a cell
        for name in dict.fromkeys(of for cell in cells if cell.name in plans for of in cell.options.corpora):
            open_corpus(name, options.sweeps.shards)
    material = {name: material_of(name, folder) for name in names}
    return Study(options, cells, task.metric, task.mode, wanted, checksums, plans, material)


def run_study(study: Study, tell: Callable[[Studied], Any]) -> Studied:
    """Run the cells that are not done, one after another; ``tell`` is given what there is before them and after each.

    A cell all of whose trials failed is told and does not stop the others; nor does a store that does not take a cell's
    model: one that lacks nothing else is offered again, by a sweep that trains nothing. Raises Refused where a sweep
    does, and KeyboardInterrupt where the user stopped one.
    """
    from tuner.cluster import ray_running
    from tuner.study_scores import fill_in, kept_scores, record_zero_shot, score_cell

    kept = kept_scores(study.options.file(".json"))
    studied = Studied(study, [entry_of(cell) for cell in study.cells])

    def known(number: int) -> dict[str, tuple[str, str]]:
        cell = study.cells[number]
        return fill_in(cell, studied.entries[number], study.columns(cell), kept, study.metric, study.checksums)

    def score(number: int, missing: Mapping[str, tuple[str, str]]) -> None:
        try:
            score_cell(study.cells[number], studied.entries[number], missing, study.checksums)
        finally:
            tell(studied)

    def zero_shot_of(cell: Cell) -> list[str]:
        return [of for of in study.columns(cell) if study.is_zero_shot(cell.options.corpora, of)]

    missing = [known(number) for number in range(len(study.cells))]  # all at first: what is told must lose nothing
    for number, of in enumerate(missing):
        if of:
            score(number, of)
    if not any(missing):
        tell(studied)
    for cell, entry in zip(study.cells, studied.entries, strict=True):
        if not record_zero_shot(cell, entry, zero_shot_of(cell)):
            break  # the store would refuse the others alike, each after a while
    todo = [number for number, cell in enumerate(study.cells) if cell.name in study.plans]
    if not todo:
        return studied
    done = len(study.cells) - len(todo)
    say(f"study {study.options.title}: {len(study.cells)} cells, {done} done, {len(todo)} to do")
    with ray_running():  # one for all cells: each would start its own, and wait for it
        for number in todo:
            cell = study.cells[number]
            say(f"cell {number + 1} of {len(study.cells)}: {cell.architecture} on {cell.union}")
            studied.entries[number] = entry_of(cell, _run(cell))
            score(number, known(number))
            record_zero_shot(cell, studied.entries[number], zero_shot_of(cell))
    return studied


def _run(cell: Cell) -> str:
    """Run a cell's sweep, or go on with it; why none of its trials has come through, empty where one has."""
    from tuner.sweep import SweepFailed, sweep

    known = Known.of(cell)
    if known.state(cell) == UNREGISTERED:
        assert known.result is not None
        try:  # it may have more trials than are asked for by now
            sweep(replace(cell.options, trials=known.result.trials))
        except (SweepFailed, Refused) as error:  # all that matters is there
            warn(f"{cell.name}: its model could not be registered ({error})")
        return ""
    try:
        sweep(cell.options)
    except SweepFailed as error:
        warn(f"{cell.name}: {error}")
        return str(error)
    return ""


def how_to_go_on(study: Study) -> str:
    """What to say where some cell is not done."""
    states = [Known.of(cell).state(cell) for cell in study.cells]
    done = f"{states.count(DONE)} of {len(states)} cells are done"
    if UNREGISTERED in states:
        done += f", {states.count(UNREGISTERED)} more trained but not registered"
    # The command is shown and kept: it has no password.
    secret = ", with the same $MLFLOW_TRACKING_URI," if holds_secret(study.options.sweeps.tracking_uri) else ""
    return f"study {study.options.title}: {done}; `{study.options.command}`{secret} goes on"
