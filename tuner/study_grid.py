"""A study's scores as a grid: rows are what is compared, columns the corpora that it is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from tuner.studies import ARCHITECTURE
from tuner.study_cells import FAILED, TO_DO, UNREGISTERED, Entry
from tuner.study_reference import ARCHITECTURES, CORPORA, ZERO_SHOT
from tuner.telling import in_words

if TYPE_CHECKING:
    from tuner.studies import Studied

ZERO_SHOT_MARK, UNFINISHED_MARK = "°", "*"


@dataclass
class Value:
    """One score of the grid; None with the reason in ``why`` where there is none (yet)."""

    score: float | None
    interval: tuple[float, float] | None = None
    zero_shot: bool = False
    why: str = ""  # "failed", "to do", or in what respect it is not the last word
    best: bool = False  # of its column, among those that are the last word
    best_zero_shot: bool = False

    @property
    def text(self) -> str:
        """The score, or why there is none."""
        return self.why if self.score is None else f"{self.score:.3f}{ZERO_SHOT_MARK if self.zero_shot else ''}"

    @property
    def unfinished(self) -> bool:
        """Whether there is a score that is not the last word."""
        return self.score is not None and bool(self.why)

    @property
    def interval_text(self) -> str:
        """The 95 % interval; empty where there is none."""
        return "" if self.interval is None else "–".join(f"{of:.2f}" for of in self.interval)


@dataclass
class Grid:
    """``values``: by row and column. ``published``: scores of the published study, those columns that it has."""

    kind: str
    metric: str
    rows: list[str]
    columns: list[str]
    values: dict[tuple[str, str], Value]
    notes: list[str] = field(default_factory=list)
    published: dict[str, dict[str, float]] = field(default_factory=dict)  # corpus -> row -> score


def grid_of(studied: "Studied") -> Grid:
    """The grid of what a study has so far; best scores are marked."""
    study, entries = studied.study, studied.entries
    by_architecture = study.options.kind == ARCHITECTURE
    single = scores_of_cells(studied)
    values: dict[tuple[str, str], Value] = {}
    notes: list[str] = []
    for cell, entry in zip(study.cells, entries, strict=True):
        if by_architecture:
            own = list(study.columns(cell))
            values[entry.architecture, entry.union] = _in_domain(entry, [single[entry.sweep, of] for of in own])
            notes += _averaged(entry, own)
            continue
        for corpus in study.wanted:
            values[entry.union, corpus] = single[entry.sweep, corpus]
    rows = list(dict.fromkeys(row for row, _ in values))
    columns = list(dict.fromkeys(column for _, column in values))
    if by_architecture:
        for column in columns:
            _mark([values[row, column] for row in rows], study.mode)
    notes = list(dict.fromkeys(notes))
    for entry in entries:
        cell_name = f"{entry.architecture} on {entry.union}"
        if entry.state == FAILED:
            notes.append(f"{cell_name} failed: {entry.error}")
        elif entry.state == UNREGISTERED:
            notes.append(f"{cell_name}: its model is not registered, as the tracking store has not taken it")
        elif entry.error or not (entry.ended or entry.state == TO_DO):
            error = f" ({entry.error})" if entry.error else ""
            notes.append(f"{cell_name}: {entry.trials} of {entry.asked} trials{error}")
    published = _published(by_architecture) if study.options.reference else {}
    asked = study.options.sweeps
    chosen = f"chosen by validation {in_words(study.metric)}"
    trials = f"the best of {asked.trials} trials" if asked.trials > 1 else "one trial"
    begin = f"each: {trials} of at most {asked.max_epochs} epochs, {chosen}"
    said = [begin, *_protocols(study.wanted, entries), *notes]
    return Grid(study.options.kind, study.metric, rows, columns, values, said, published)


def scores_of_cells(studied: "Studied") -> dict[tuple[str, str], Value]:
    """Every score by sweep and corpus, marked among those that are of the same corpus and can be compared.

    These are the sweeps on the same corpora where architectures are compared, and all where corpora are.
    """
    study = studied.study
    found: dict[tuple[str, str], Value] = {}
    alike: dict[tuple[str, str], list[Value]] = {}
    for cell, entry in zip(study.cells, studied.entries, strict=True):
        for corpus in study.columns(cell):
            value = _scored(entry, corpus, study.metric, study.is_zero_shot(entry.corpora, corpus))
            found[entry.sweep, corpus] = value
            among = entry.union if study.options.kind == ARCHITECTURE else ""
            alike.setdefault((among, corpus), []).append(value)
    for values in alike.values():
        _mark(values, study.mode)
    return found


def _in_domain(entry: Entry, own: list[Value]) -> Value:
    """The score on the cell's own test split; the mean, without an interval, where it has several."""
    scores = [of.score for of in own if of.score is not None]
    if not scores or len(scores) < len(own):
        return _none(entry)
    return Value(fmean(scores), own[0].interval if len(own) == 1 else None, why=_why(entry))


def _averaged(entry: Entry, own: list[str]) -> list[str]:
    """What the score of a union is of."""
    if len(entry.corpora) == 1:
        return []
    if len(own) == 1:
        return [f"{entry.union}: the score on the test split of {own[0]} alone"]
    return [f"{entry.union}: the mean of the scores on the test splits of {' and '.join(own)}"]


def _scored(entry: Entry, corpus: str, metric: str, zero_shot: bool) -> Value:
    score = entry.scores.get(corpus)
    if score is None:
        none = _none(entry)
        none.zero_shot = zero_shot
        return none
    interval = score["interval"]
    pair = None if interval is None else (float(interval[0]), float(interval[1]))
    return Value(float(score[metric]), pair, zero_shot, _why(entry))


def _none(entry: Entry) -> Value:
    why = "not scored" if entry.ended else {FAILED: "failed", TO_DO: "to do"}.get(entry.state, "unfinished")
    return Value(None, why=why)


def _why(entry: Entry) -> str:
    if entry.ended:
        return ""
    return "failed" if entry.state == FAILED else f"{entry.trials} of {entry.asked} trials"


def _mark(column: list[Value], mode: str) -> None:
    """Mark the best of a column, and the best of its zero-shot scores; what is unfinished is neither."""
    best = max if mode == "max" else min
    column = [of for of in column if of.score is not None and not of.unfinished]
    for among, name in ((column, "best"), ([of for of in column if of.zero_shot], "best_zero_shot")):
        scores = [of.score for of in among if of.score is not None]
        for value in among:
            if value.score == best(scores):
                setattr(value, name, True)


def _protocols(wanted: Mapping[str, tuple[str, str]], entries: list[Entry]) -> list[str]:
    """Which split and protocol each corpus was scored by, those alike together, and of how many tracks."""
    alike: dict[tuple[str, str], list[str]] = {}
    tracks = {corpus: score["tracks"] for entry in entries for corpus, score in entry.scores.items()}
    for corpus, how in wanted.items():
        alike.setdefault(how, []).append(f"{corpus} ({_counted(tracks[corpus])})" if corpus in tracks else corpus)
    return [
        f"{', '.join(corpora)}: {'test split' if split == 'test' else 'all tracks, as it has no test split'}, "
        f"protocol {protocol}"
        for (split, protocol), corpora in alike.items()
    ]


def _published(by_architecture: bool) -> dict[str, dict[str, float]]:
    """By corpus and row: architectures in domain; or the CRNN, in domain and zero-shot, by what it was trained on."""
    found: dict[str, dict[str, float]] = {corpus: {} for corpus in CORPORA}
    for row, scores in (ARCHITECTURES if by_architecture else ZERO_SHOT).items():
        for corpus, score in scores.items():
            found[corpus][row] = score
    if not by_architecture:
        for corpus, score in ARCHITECTURES["crnn"].items():
            found[corpus][corpus] = score
    return {corpus: scores for corpus, scores in found.items() if scores}


def _counted(tracks: int) -> str:
    return f"{tracks:,} track{'s' * (tracks != 1)}"
