"""What a study has and will take, for --dry-run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.forecast import in_time
from tuner.study_cells import DONE, UNFINISHED, UNREGISTERED, Cell, Known
from tuner.telling import say

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.plan import Plan
    from tuner.studies import Study

Row = Mapping[str, Any]


def planned(study: "Study") -> list[dict[str, Any]]:
    """What each cell has and will take, without running anything, for JSON; hours are None where nobody knows."""
    rows = []
    for cell in study.cells:
        known = Known.of(cell)
        state = known.state(cell)
        row: dict[str, Any] = {"corpora": list(cell.options.corpora), "architecture": cell.architecture}
        row |= {"sweep": cell.name, "state": state, "trials": cell.options.trials}
        row |= {"trials_ended": known.trials_ended, "trials_left": 0, "epochs_left": 0, "hours": [0.0, 0.0, 0.0]}
        if state not in (DONE, UNREGISTERED):
            row |= _left(cell, study.plans[cell.name])
        rows.append(row)
    return rows


def _left(cell: Cell, plan: "Plan") -> dict[str, Any]:
    from tuner.forecast import forecast

    say(f"looking how fast {cell.architecture} trains on {cell.union}")
    found = forecast(cell.options, plan)
    hours = None if found.seconds is None else [of / 3600 for of in found.seconds]
    return {"trials_left": found.trials, "epochs_left": found.epochs, "hours": hours}


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
    for name in ("trials left", "epochs at most", "time at most"):
        shown.add_column(name, justify="right")
    for row in rows:
        state = f"{row['trials_ended']} of {row['trials']} trials" if row["state"] == UNFINISHED else row["state"]
        left = ["", "", ""]
        if row["state"] not in (DONE, UNREGISTERED):
            left = [f"{row['trials_left']:,}", f"{row['epochs_left']:,}", time_text(row["hours"])]
        shown.add_row(escape("+".join(row["corpora"])), row["architecture"], state, *left)
    return shown


def time_text(hours: "Sequence[float] | None") -> str:
    """The middle of a forecast, and from the fastest to the slowest configurations."""
    if hours is None:
        return "unknown"
    low, middle, high = (in_time(of * 3600) for of in hours)
    return f"{middle} ({low} to {high})"


def summary(rows: Sequence[Row]) -> str:
    """The cells together, one after another."""
    offered = [row for row in rows if row["state"] == UNREGISTERED]
    left = [row for row in rows if row["state"] not in (DONE, UNREGISTERED)]
    again = f"; {len(offered)} would be registered, without training" if offered else ""
    if not left:
        return f"all {len(rows)} cells are {'trained' if offered else 'done'}: nothing would be trained{again}"
    trials, epochs = (sum(row[of] for row in left) for of in ("trials_left", "epochs_left"))
    known = [row["hours"] for row in left if row["hours"] is not None]
    hours = [sum(of[which] for of in known) for which in range(3)] if known else None
    unknown = f", {len(left) - len(known)} cells not counted" if known and len(known) < len(left) else ""
    time = "unknown time" if hours is None else time_text(hours)
    return (
        f"{len(left)} of {len(rows)} cells to do: {trials:,} trials, {epochs:,} epochs at most, {time}{unknown}{again}"
    )
