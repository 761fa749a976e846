"""A study's page in Markdown, its CSV and its JSON."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from data_prep.versions import version_of
from tuner import telling
from tuner.leaderboard_tables import no_formula
from tuner.studies import ARCHITECTURE
from tuner.study_cells import as_json
from tuner.study_grid import ZERO_SHOT_MARK, Value, grid_of, scores_of_cells
from tuner.study_reference import BEST_ON_SADTP, CORPORA, SOURCE
from tuner.study_scores import MARKS
from tuner.study_tables import DETAILS, FIRST, chosen_text, legend, published_row, published_text, title_of, took
from tuner.telling import safe

if TYPE_CHECKING:
    from tuner.studies import Studied


def markdown(studied: "Studied", pictures: Sequence[tuple[str, str]]) -> str:
    """The tables as a page; ``pictures``: names of files beside it, and what they show."""
    grid, options = grid_of(studied), studied.study.options
    title = "Architectures" if grid.kind == ARCHITECTURE else "Corpora"
    lines = [f"# {title}: {title_of(studied)}", ""]
    beside = grid.published if grid.kind == ARCHITECTURE else {}
    heads = [FIRST.get(grid.kind, "trained on"), *grid.columns, *(f"{CORPORA[of]}, published" for of in beside)]
    rows = dict.fromkeys([*grid.rows, *(row for scores in beside.values() for row in scores)])
    lines += _md_table(
        heads,
        [
            [
                _md(row),
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
                [published_row(row), *(published_text(row, corpus, of) for corpus, of in grid.published.items())]
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
            [
                *map(_md, (entry.union, entry.architecture, entry.sweep)),
                *took(entry),
                _md(chosen_text(entry.hyperparameters)),
            ]
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
    return telling.markdown(text)


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
    grid, marked = grid_of(studied), scores_of_cells(studied)
    cells = [entry.to_dict() for entry in studied.entries]
    for cell in cells:
        for corpus, score in cell["scores"].items():
            if (value := marked.get((cell["sweep"], corpus))) is not None:
                score |= {mark: getattr(value, mark) for mark in MARKS}
    content = {
        "study": study.options.kind,
        "name": study.options.title,
        "version": version_of("mirtune"),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": safe(study.options.command),
        "metric": study.metric,
        "mode": study.mode,
        "scored_on": {of: {"split": split, "protocol": protocol} for of, (split, protocol) in study.wanted.items()},
        "cells": cells,
        "notes": grid.notes,
    }
    if grid.published:
        content["published"] = {"source": SOURCE, "protocol": "segments", "micro_f1": grid.published}
    return content


def as_csv(studied: "Studied") -> str:
    """A row a cell and corpus that it is scored on; empty where nothing is known yet."""
    study, text = studied.study, StringIO()
    marked = scores_of_cells(studied)
    heads = [*("trained_on", "architecture", "scored_on", "zero_shot", "split", "protocol", "tracks", study.metric)]
    heads += ["interval_low", "interval_high", "best", "best_zero_shot", "state", "sweep", "trials", "epochs"]
    heads += ["gpu_hours", "trial_hours", "parameters", f"validation_{study.metric}", "hyperparameters", "error"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for cell, entry in zip(study.cells, studied.entries, strict=True):
        for corpus, (split, protocol) in study.columns(cell).items():
            score = entry.scores.get(corpus, {})
            interval = score.get("interval") or ("", "")
            value = marked[entry.sweep, corpus]
            row = [entry.union, entry.architecture, corpus, value.zero_shot, split, protocol, score.get("tracks", "")]
            row += [score.get(study.metric, ""), *interval, value.best, value.best_zero_shot, entry.state, entry.sweep]
            row += [entry.trials, entry.epochs, f"{entry.gpu_hours:.4f}", f"{entry.trial_hours:.4f}"]
            row += ["" if of is None else of for of in (entry.parameters, entry.validation)]
            row += [as_json(entry.hyperparameters), printable(entry.error)]
            writer.writerow([no_formula(of) if isinstance(of, str) else of for of in row])
    return text.getvalue()
