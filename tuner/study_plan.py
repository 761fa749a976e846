"""What a study has and will take, for --dry-run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.study_cells import DONE, UNFINISHED

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.studies import Study

Row = Mapping[str, Any]


def plan_table(study: "Study", rows: Sequence[Row]) -> "Table":
    """A row a cell: how far it is, and what is left."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    layout: dict[str, Any] = {"box": SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    title = f"study {study.options.title}: {len(rows)} cells; nothing is run"
    shown = Table(title=escape(printable(title)), title_justify="left", **layout)
    for name in ("train on", "architecture", "state"):
        shown.add_column(name, overflow="fold")
    for name in ("trials left", "epochs at most", "hours at most"):
        shown.add_column(name, justify="right")
    for row in rows:
        state = f"{row['trials_ended']} of {row['trials']} trials" if row["state"] == UNFINISHED else row["state"]
        left = ["", "", ""] if row["state"] == DONE else [f"{row['trials_left']:,}", f"{row['epochs_left']:,}"]
        hours = [] if row["state"] == DONE else [hours_text(row["hours"])]
        shown.add_row(escape("+".join(row["corpora"])), row["architecture"], state, *left, *hours)
    return shown


def hours_text(hours: "Sequence[float] | None") -> str:
    """The middle of a forecast, and from the fastest to the slowest configurations."""
    if hours is None:
        return "unknown"
    low, middle, high = hours
    return f"{middle:.2g} ({low:.2g}–{high:.2g})"


def summary(rows: Sequence[Row]) -> str:
    """The cells together, one after another."""
    left = [row for row in rows if row["state"] != DONE]
    trials, epochs = (sum(row[of] for row in left) for of in ("trials_left", "epochs_left"))
    known = [row["hours"] for row in left if row["hours"] is not None]
    hours = [sum(of[which] for of in known) for which in range(3)] if known else None
    unknown = f", {len(left) - len(known)} cells not counted" if len(known) < len(left) else ""
    return (
        f"{len(left)} of {len(rows)} cells to do: {trials:,} trials, {epochs:,} epochs at most, "
        f"{hours_text(hours)} hours{unknown}"
        if left
        else f"all {len(rows)} cells are done: nothing would be trained"
    )
