"""The learning curves of a sweep's trials as one picture: the score that is searched for, and the losses."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.colours import BLUE, GREY, VERMILION
from data_prep.refused import printable
from tuner.telling import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tuner.records import TrialRecord

FILE = "learning-curves.png"
DPI, SIZE_IN = 110, (11.0, 4.2)
PLAIN = "validation_plain_"  # the score by the rule that nothing was fitted to
Line = tuple[list[int], list[float]]


def draw_learning_curves(records: Sequence["TrialRecord"], best: "TrialRecord", metric: str, title: str) -> bytes:
    """A PNG: validation's ``metric`` an epoch on the left, losses on the right, the best trial over the others."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(SIZE_IN, DPI, layout="constrained")
        figure.suptitle(printable(title), x=0.01, ha="left", weight="bold", parse_math=False)
        scores, losses = figure.subplots(1, 2)
        for record in records:
            if record.id != best.id:
                scores.plot(*line_of(record, f"validation_{metric}"), color="0.8", linewidth=0.8)
                losses.plot(*line_of(record, "validation_loss"), color="0.8", linewidth=0.8)
        others = f", {len(records) - 1} other trials in grey" if len(records) > 1 else ""
        scores.plot(*line_of(best, f"validation_{metric}"), color=BLUE, label=f"{best.name}{others}")
        scores.plot(*line_of(best, f"{PLAIN}{metric}"), color=BLUE, linestyle=":", label="by the study's peak rule")
        scores.plot([best.best_epoch], [best.best], "o", color=BLUE, label=f"best: {best.best:.3f}")
        losses.plot(*line_of(best, "train_loss"), color=VERMILION, label="training (weighted)")
        losses.plot(*line_of(best, "validation_loss"), color=GREY, label="validation (unweighted)")
        _finish(scores, in_words(f"validation_{metric}"))
        _finish(losses, "loss")
        losses.set_ylim(bottom=0)
        written = BytesIO()
        figure.savefig(written, format="png")
    return written.getvalue()


def line_of(record: "TrialRecord", metric: str) -> Line:
    """Epochs, and the metric in them; without those that lack it."""
    entries = [entry for entry in record.history if metric in entry["metrics"]]
    return [entry["epoch"] for entry in entries], [entry["metrics"][metric] for entry in entries]


def _finish(axes: "Axes", what: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(what, loc="left", fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    for line in axes.lines:
        if not np.size(line.get_xdata()):  # what this training did not measure
            line.set_label("")
    axes.legend(frameon=False)
