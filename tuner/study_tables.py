"""A study's tables, for a terminal, as Markdown and as CSV, and its JSON."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from data_prep.versions import version_of
from tuner.studies import ARCHITECTURE
from tuner.study_cells import Entry, as_json
from tuner.study_grid import ZERO_SHOT_MARK, Grid, Value, grid_of
from tuner.study_reference import BEST_ON_SADTP, CORPORA, NOTE, SOURCE
from tuner.telling import in_words, safe

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.studies import Studied

FIRST = {ARCHITECTURE: "architecture"}  # column; else: trained on
DETAILS = ("trials", "epochs", "GPU-hours", "trial-hours", "parameters", "validation")
NUMBERS_SHOWN = 3


def tables(studied: "Studied") -> "list[Table]":
    """For a terminal: scores, the published ones where they are asked for, and what the cells took."""
    grid = grid_of(studied)
    shown = [_scores(grid, _title(studied))]
    if grid.published and grid.kind != ARCHITECTURE:
        shown.append(_published(grid))
    return [*shown, _details(studied)]


def _plain(title: str, first: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    layout: dict[str, Any] = {"box": SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    shown = Table(title=escape(title), title_justify="left", caption_justify="left", **layout)
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
    shown.caption = "\n".join(escape(printable(of)) for of in legend(grid, "bold", "underlined"))
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
        theirs = [_published_text(row, corpus, of) for corpus, of in grid.published.items()]
        shown.add_row(_published_row(row), *theirs)
    shown.caption = f"{ZERO_SHOT_MARK} zero-shot; best zero-shot score on SADTP, of any combination: {BEST_ON_SADTP}"
    return shown


def _published_row(row: str) -> str:
    return " + ".join(CORPORA[of] for of in row.split("+"))


def _published_text(row: str, corpus: str, scores: Mapping[str, float]) -> str:
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
        chosen = escape(printable(_chosen(entry.hyperparameters)))
        shown.add_row(cell, *_took(entry), chosen)
    return shown


def _took(entry: Entry) -> list[str]:
    trials = str(entry.trials) if entry.trials == entry.asked else f"{entry.trials} of {entry.asked}"
    validation = "" if entry.validation is None else f"{entry.validation:.3f}"
    parameters = "" if entry.parameters is None else f"{entry.parameters:,}"
    return [trials, f"{entry.epochs:,}", f"{entry.gpu_hours:.2f}", f"{entry.trial_hours:.2f}", parameters, validation]


def _chosen(hyperparameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.{NUMBERS_SHOWN}g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in hyperparameters.items()
    )


def legend(grid: Grid, best: str, best_zero_shot: str) -> list[str]:
    """What the marks mean, how the scores were taken, and what is missing."""
    marks = f"{best}: best of its column; below: 95 % interval, bootstrap over tracks"
    zero = [
        f"{ZERO_SHOT_MARK} zero-shot, trained on other corpora alone; {best_zero_shot}: best of these in its column"
    ]
    has_zero = any(value.zero_shot for value in grid.values.values())
    return [marks, *(zero if has_zero else []), *grid.notes, *([NOTE] if grid.published else [])]


def _title(studied: "Studied") -> str:
    metric = in_words(studied.study.metric)
    if studied.study.options.kind == ARCHITECTURE:
        return f"Test {metric} per architecture and corpus"
    return f"{metric[0].upper()}{metric[1:]} of {studied.study.options.architectures[0]}, by what it was trained on"


def markdown(studied: "Studied", pictures: Sequence[tuple[str, str]]) -> str:
    """The tables as a page; ``pictures``: names of files beside it, and what they show."""
    grid, options = grid_of(studied), studied.study.options
    title = "Architectures" if grid.kind == ARCHITECTURE else "Corpora"
    lines = [f"# {title}: {_title(studied)}", ""]
    beside = grid.published if grid.kind == ARCHITECTURE else {}
    heads = [FIRST.get(grid.kind, "trained on"), *grid.columns, *(f"{CORPORA[of]}, published" for of in beside)]
    rows = dict.fromkeys([*grid.rows, *(row for scores in beside.values() for row in scores)])
    lines += _md_table(
        heads,
        [
            [
                row,
                *(_md_value(grid.values.get((row, column))) for column in grid.columns),
                *(f"{of[row]:.3f}" if row in of else "" for of in beside.values()),
            ]
            for row in rows
        ],
    )
    legend_ = legend(grid, "Bold", "underlined")
    legend_[0] = legend_[0].replace("below", "in brackets")
    lines += ["", *(f"- {_md(of)}" for of in legend_), ""]
    if grid.published and not beside:
        rows = dict.fromkeys(of for scores in grid.published.values() for of in scores)
        lines += [f"## Published: CRNN, micro F1 ({SOURCE})", ""]
        lines += _md_table(
            ["trained on", *(CORPORA[of] for of in grid.published)],
            [
                [_published_row(row), *(_published_text(row, corpus, of) for corpus, of in grid.published.items())]
                for row in rows
            ],
        )
        lines += [
            "",
            f"{ZERO_SHOT_MARK} zero-shot. Best zero-shot score on SADTP, of any combination: {BEST_ON_SADTP}.",
            "",
        ]
    elif grid.published:
        lines += [f"Published: {SOURCE}.", ""]
    lines += [line for name, what in pictures for line in (f"![{what}]({name})", "")]
    lines += ["## What the cells took", ""]
    lines += _md_table(
        ["trained on", "architecture", "sweep", *DETAILS, "best hyperparameters"],
        [
            [entry.union, entry.architecture, entry.sweep, *_took(entry), _chosen(entry.hyperparameters)]
            for entry in studied.entries
        ],
    )
    lines += ["", "Trials and epochs are those that were trained; hours are of all trials of a cell together.", ""]
    lines += [f"Made by mirtune {version_of('mirtune')} with", "", f"    {printable(safe(options.command))}", ""]
    return "\n".join(lines)


def _md_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line([_md(head) for head in heads]), line(["---"] * len(heads)), *(line(row) for row in rows)]


def _md(text: str) -> str:
    """As Markdown shows it and a table takes it."""
    text = printable(text)
    for character in "\\|<>*`[]":
        text = text.replace(character, f"\\{character}" if character not in "<>" else f"&{'lg'[character == '>']}t;")
    return text


def _md_value(value: Value | None) -> str:
    if value is None:
        return ""
    if value.score is None:
        return value.why
    number = f"{value.score:.3f}"
    number = f"<u>{number}</u>" if value.best_zero_shot else number
    number = f"**{number}**" if value.best else number
    behind = ", ".join(of for of in (value.interval_text, value.why) if of)
    return f"{number}{ZERO_SHOT_MARK if value.zero_shot else ''}" + (f" ({behind})" if behind else "")


def document(studied: "Studied") -> dict[str, Any]:
    """For JSON: everything that is known."""
    study = studied.study
    grid = grid_of(studied)
    content = {
        "study": study.options.kind,
        "name": study.options.title,
        "version": version_of("mirtune"),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": safe(study.options.command),
        "metric": study.metric,
        "mode": study.mode,
        "scored_on": {of: {"split": split, "protocol": protocol} for of, (split, protocol) in study.wanted.items()},
        "cells": [entry.to_dict() for entry in studied.entries],
        "notes": grid.notes,
    }
    if grid.published:
        content["published"] = {"source": SOURCE, "protocol": "segments", "micro_f1": grid.published}
    return content


def as_csv(studied: "Studied") -> str:
    """A row a cell and corpus that it is scored on; empty where nothing is known yet."""
    study, text = studied.study, StringIO()
    grid = grid_of(studied)
    heads = [*("trained_on", "architecture", "scored_on", "zero_shot", "split", "protocol", "tracks", study.metric)]
    heads += ["interval_low", "interval_high", "best", "best_zero_shot", "state", "sweep", "trials", "epochs"]
    heads += ["gpu_hours", "trial_hours", "parameters", f"validation_{study.metric}", "hyperparameters", "error"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for cell, entry in zip(study.cells, studied.entries, strict=True):
        for corpus, (split, protocol) in study.columns(cell).items():
            score = entry.scores.get(corpus, {})
            interval = score.get("interval") or ("", "")
            place = (entry.architecture, entry.union) if grid.kind == ARCHITECTURE else (entry.union, corpus)
            value = grid.values[place]
            row = [entry.union, entry.architecture, corpus, value.zero_shot, split, protocol, score.get("tracks", "")]
            row += [score.get(study.metric, ""), *interval, value.best, value.best_zero_shot, entry.state, entry.sweep]
            row += [entry.trials, entry.epochs, f"{entry.gpu_hours:.4f}", f"{entry.trial_hours:.4f}"]
            row += ["" if of is None else of for of in (entry.parameters, entry.validation)]
            writer.writerow([*row, as_json(entry.hyperparameters), printable(entry.error)])
    return text.getvalue()
