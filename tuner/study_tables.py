"""A study's tables, for a terminal, as Markdown and as CSV, and its JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.studies import ARCHITECTURE
from tuner.study_cells import Entry
from tuner.study_grid import ZERO_SHOT_MARK, Grid, Value, grid_of
from tuner.study_reference import BEST_ON_SADTP, CORPORA, NOTE, SOURCE
from tuner.telling import in_words

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from tuner.studies import Studied

FIRST = {ARCHITECTURE: "architecture"}  # column; else: trained on
DETAILS = ("trials", "epochs", "GPU-hours", "trial-hours", "parameters", "validation")
NUMBERS_SHOWN = 3


def tables(studied: "Studied") -> "list[Table | Text]":
    """For a terminal: scores, the published ones where they are asked for, and what the cells took."""
    from rich.text import Text

    grid = grid_of(studied)
    notes = "\n".join(map(printable, legend(grid, "bold", "underlined")))
    shown: list[Table | Text] = [_scores(grid, title_of(studied)), Text(f"{notes}\n", "dim")]
    if grid.published and grid.kind != ARCHITECTURE:
        best = f"best zero-shot score on SADTP, of any combination: {BEST_ON_SADTP}"
        shown += [_published(grid), Text(f"{ZERO_SHOT_MARK} zero-shot; {best}\n", "dim")]
    return [*shown, _details(studied)]


def _plain(title: str, first: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    layout: dict[str, Any] = {"box": SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    shown = Table(title=escape(title), title_justify="left", **layout)
    shown.add_column(first, overflow="fold")
    return shown


def _scores(grid: Grid, title: str) -> "Table":
    from rich.markup import escape

    shown = _plain(title, FIRST.get(grid.kind, "trained on"))
    beside = grid.published if grid.kind == ARCHITECTURE else {}
    for column in grid.columns:
        shown.add_column(escape(column), justify="right", overflow="fold")
    for corpus in beside:
        shown.add_column(f"[dim]{CORPORA[corpus]}\npublished[/]", justify="right")
    rows = [*grid.rows, *(row for row in dict.fromkeys(of for scores in beside.values() for of in scores))]
    for row in dict.fromkeys(rows):
        values = [_styled(grid.values.get((row, column))) for column in grid.columns]
        theirs = [f"[dim]{of[row]:.3f}[/]" if row in of else "" for of in beside.values()]
        shown.add_row(escape(printable(row)), *values, *theirs)
    return shown


def _styled(value: Value | None) -> str:
    if value is None:
        return ""
    if value.score is None:
        return f"[dim]{value.why}[/]"
    style = " ".join(["bold"] * value.best + ["underline"] * value.best_zero_shot)
    number = f"{value.score:.3f}"
    text = f"[{style}]{number}[/]" if style else number
    mark = ZERO_SHOT_MARK if value.zero_shot else ""
    below = [of for of in (value.interval_text, value.why) if of]
    return "\n".join([text + mark, *(f"[dim]{of}[/]" for of in below)])


def _published(grid: Grid) -> "Table":
    shown = _plain(f"Published: CRNN, micro F1 ({SOURCE})", "trained on")
    for corpus in grid.published:
        shown.add_column(CORPORA[corpus], justify="right")
    for row in dict.fromkeys(of for scores in grid.published.values() for of in scores):
        theirs = [published_text(row, corpus, of) for corpus, of in grid.published.items()]
        shown.add_row(published_row(row), *theirs)
    return shown


def published_row(row: str) -> str:
    """Corpora as the published study calls them."""
    return " + ".join(CORPORA[of] for of in row.split("+"))


def published_text(row: str, corpus: str, scores: Mapping[str, float]) -> str:
    """A published score with its mark; empty where there is none."""
    if row not in scores:
        return ""
    return f"{scores[row]:.3f}" if corpus in row.split("+") else f"{scores[row]:.2f}{ZERO_SHOT_MARK}"


def _details(studied: "Studied") -> "Table":
    from rich.markup import escape

    shown = _plain("What the cells took", "cell")
    for title in DETAILS:
        shown.add_column(title.replace("-", "-\n"), justify="right")
    shown.add_column("best hyperparameters", overflow="fold", ratio=1)
    for entry in studied.entries:
        cell = escape(printable(f"{entry.union}\n{entry.architecture}")).replace("\\n", "\n")
        chosen = escape(printable(chosen_text(entry.hyperparameters)))
        shown.add_row(cell, *took(entry), chosen)
    return shown


def took(entry: Entry) -> list[str]:
    """The columns DETAILS of a cell."""
    trials = str(entry.trials) if entry.trials == entry.asked else f"{entry.trials} of {entry.asked}"
    validation = "" if entry.validation is None else f"{entry.validation:.3f}"
    parameters = "" if entry.parameters is None else f"{entry.parameters:,}"
    return [trials, f"{entry.epochs:,}", f"{entry.gpu_hours:.2f}", f"{entry.trial_hours:.2f}", parameters, validation]


def chosen_text(hyperparameters: Mapping[str, Any]) -> str:
    """Hyperparameters on one line, numbers as people read them."""
    return ", ".join(
        f"{key} {value:.{NUMBERS_SHOWN}g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in hyperparameters.items()
    )


def legend(grid: Grid, best: str, best_zero_shot: str) -> list[str]:
    """What the marks mean, how the scores were taken, and what is missing."""
    unfinished = any(value.unfinished for value in grid.values.values())
    column = f"its column{', of the cells that are finished' if unfinished else ''}"
    marks = f"{best}: best of {column}; below: 95 % interval, bootstrap over performances of the test split; "
    marks += "not over trainings"
    zero = [
        f"{ZERO_SHOT_MARK} zero-shot, trained on other corpora alone; {best_zero_shot}: best of these in its column"
    ]
    has_zero = any(value.zero_shot for value in grid.values.values())
    return [marks, *(zero if has_zero else []), *grid.notes, *([NOTE] if grid.published else [])]


def title_of(studied: "Studied") -> str:
    """What the study's grid shows."""
    metric = in_words(studied.study.metric)
    if studied.study.options.kind == ARCHITECTURE:
        return f"Test {metric} per architecture and corpus"
    return f"{metric[0].upper()}{metric[1:]} of {studied.study.options.architectures[0]}, by what it was trained on"
