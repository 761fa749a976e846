"""A study: a sweep for each of its cells, begun or gone on with, and the tables of what they found.

Cells that are done are not run again, so a study that was stopped goes on by the same command. After every cell the
tables are written anew, with what there is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from tuner.options import SweepOptions, check_beginning
from tuner.study_cells import DONE, Cell, Entry, Known, cells_of, entry_of
from tuner.telling import say

if TYPE_CHECKING:
    from data_prep.shards import Corpus
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
        return [entry for entry in self.entries if entry.error]


def check_study(options: StudyOptions) -> Study:
    """Refuse, before any sweep starts, whatever cannot work, and cells that were begun with other options."""
    from data_prep.remote_corpora import at_hand
    from data_prep.shards import Corpus
    from trainables.tasks import find_task
    from tuner.plan import check
    from tuner.prepared import refuse_unknown

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
    wanted = _wanted(options, opened)
    checksums = {name: corpus.checksum for name, corpus in opened.items()}
    plans = {}
    for cell in cells:
        known = Known.of(cell)
        if known.file is not None:
            check_beginning(known.file, cell.options, {of: checksums[of] for of in cell.options.corpora})
        if known.state(cell) != DONE:
            plans[cell.name] = check(cell.options, known.file)
    return Study(options, cells, task.metric, task.mode, wanted, checksums, plans)


def _wanted(options: StudyOptions, opened: "Mapping[str, Corpus]") -> dict[str, tuple[str, str]]:
    """Corpus -> split and protocol; Refused where a corpus cannot be scored on."""
    from trainables.data import MIXED
    from trainables.evaluation import check_scoring

    trained_on = {of for union in options.unions for of in union}
    has_test = [name for name, of in opened.items() if of.manifest.splits["test"].tracks]
    plain = [name for name, of in opened.items() if of.manifest.condition not in MIXED]
    if options.kind == ARCHITECTURE:
        for union in options.unions:
            if not set(union) & set(has_test) & set(plain):
                raise Refused(
                    f"{'+'.join(union)} has no test tracks to compare architectures on; name a corpus that has, or "
                    "add one to it by +"
                )
    on = options.on or tuple(name for name in plain if name in has_test)
    if not on:
        raise Refused("none of the corpora has test tracks to score on; name one that has by --on")
    wanted = {}
    for name in on:
        splits = opened[name].manifest.splits
        if not any(split.tracks for split in splits.values()):
            raise Refused(f"corpus {name!r} has no tracks to score on; prepare it anew, or leave it out of --on")
        if name not in has_test and name in trained_on:
            raise Refused(
                f"corpus {name!r} has no test tracks, and is trained on in some combination, so its others cannot be "
                "scored on; leave it out of --on, or out of --combinations"
            )
        split = "test" if name in has_test else "all"
        wanted[name] = (split, check_scoring(opened[name], split, options.protocol))
    return wanted


def run_study(study: Study, tell: Callable[[Studied], Any]) -> Studied:
    """Run the cells that are not done, one after another; ``tell`` is given what there is before them and after each.

    A cell all of whose trials failed is told and does not stop the others. Raises Refused where a sweep does, and
    KeyboardInterrupt where the user stopped one.
    """
    from tuner.cluster import ray_running
    from tuner.study_scores import kept_scores, record_zero_shot, score_cell
    from tuner.sweep import SweepFailed, sweep

    kept = kept_scores(study.options.file(".json"))
    studied = Studied(study, [entry_of(cell) for cell in study.cells])

    def score(number: int) -> None:
        cell, entry = study.cells[number], studied.entries[number]
        fresh = score_cell(cell, entry, study.columns(cell), kept, study.metric, study.checksums)
        record_zero_shot(cell, entry, fresh)

    for number in range(len(study.cells)):
        score(number)
    tell(studied)
    todo = [number for number, cell in enumerate(study.cells) if cell.name in study.plans]
    if not todo:
        return studied
    done = len(study.cells) - len(todo)
    say(f"study {study.options.title}: {len(study.cells)} cells, {done} done, {len(todo)} to do")
    with ray_running():  # one for all cells: each would start its own, and wait for it
        for number in todo:
            cell, error = study.cells[number], ""
            say(f"cell {number + 1} of {len(study.cells)}: {cell.architecture} on {cell.union}")
            try:
                sweep(cell.options)
            except SweepFailed as failed:
                error = str(failed)
                say(f"{cell.name} failed: {error}")
            studied.entries[number] = entry_of(cell, error)
            score(number)
            tell(studied)
    return studied


def how_to_go_on(study: Study) -> str:
    """What to say when the study was stopped."""
    states = [Known.of(cell).state(cell) for cell in study.cells]
    done = f"{states.count(DONE)} of {len(states)} cells are done"
    return f"study {study.options.title}: {done}; `{study.options.command}` goes on"


def planned(study: Study) -> list[dict[str, Any]]:
    """What each cell has and will take, without running anything, for JSON; hours are None where nobody knows."""
    rows = []
    for cell in study.cells:
        known = Known.of(cell)
        row: dict[str, Any] = {"corpora": list(cell.options.corpora), "architecture": cell.architecture}
        row |= {"sweep": cell.name, "state": known.state(cell), "trials": cell.options.trials}
        row |= {"trials_ended": known.trials_ended, "trials_left": 0, "epochs_left": 0, "hours": 0.0}
        if cell.name in study.plans:
            row |= _left(cell, study.plans[cell.name])
        rows.append(row)
    return rows


def _left(cell: Cell, plan: "Plan") -> dict[str, Any]:
    from tuner.forecast import forecast

    say(f"looking how fast {cell.architecture} trains on {cell.union}")
    found = forecast(cell.options, plan)
    hours = None if found.seconds is None else [of / 3600 for of in found.seconds]
    return {"trials_left": found.trials, "epochs_left": found.epochs, "hours": hours}
