"""A picture of errors: what false alarms and misses coincide with, and which class fired in which one's place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.colours import colours_of
from data_prep.files import write_atomically
from data_prep.refused import printable
from tuner.error_report import KINDS, WORDS, Errors, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI, WIDTH_IN, ROW_IN, MARGIN_IN = 110, 15.0, 0.52, 2.3
PALE = 0.4  # opacity of what fires rightly beside
Look = dict[str, Any]
# Kinds without another class are greys, the less there is the paler; classes have their colours.
GREYS: dict[str, Look] = {
    "double": {"facecolor": "0.25"},
    "rise": {"facecolor": "0.6", "hatch": "////", "edgecolor": "white"},
    "nothing": {"facecolor": "0.86"},
    "merged": {"facecolor": "0.25"},
    "unpicked": {"facecolor": "0.42", "hatch": "....", "edgecolor": "white"},
    "faint": {"facecolor": "0.65"},
    "unheard": {"facecolor": "0.86"},
}
SAID = {"rise": "rise of energy"}


def draw_errors(path: Path, found: Sequence[Errors]) -> None:
    """Write a PNG with a row of panels for each corpus, atomically."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    heights = [MARGIN_IN + ROW_IN * len(of["classes"]) for of in found]
    style: dict[Any, Any] = {
        "font.size": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "hatch.linewidth": 0.8,
    }
    with rc_context(style):
        figure = Figure((WIDTH_IN, sum(heights)), DPI, layout="constrained")
        parts = figure.subfigures(len(found), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, errors in zip(parts, found, strict=True):
            _draw_corpus(part, errors)
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format="png")


def _draw_corpus(figure: Any, errors: Errors) -> None:
    tracks = f"{errors['tracks']:,} track{'s' * (errors['tracks'] != 1)}"
    title = f"{errors['corpus']}, split {errors['split']}, {tracks}: errors and what they coincide with"
    figure.suptitle(printable(title), x=0.01, ha="left", weight="bold", parse_math=False)
    alarms, misses, confusion = figure.subplots(1, 3, width_ratios=(5, 5, 3.6))
    most = max(max(of[error]["count"] for error in KINDS) for of in errors["classes"].values())
    for axes, error in ((alarms, "false_alarms"), (misses, "misses")):
        _bars(axes, errors, error, most)
    misses.set_yticklabels([])
    _confusion(confusion, errors)


def _bars(axes: "Axes", errors: Errors, error: str, most: int) -> None:
    """A bar a class, stacked by kind; at its end how many, and how many that is of the class's onsets."""
    from matplotlib.ticker import MaxNLocator

    classes = list(errors["classes"])
    colours = dict(zip(classes, colours_of(classes), strict=True))
    for place, of in enumerate(errors["classes"].values()):
        left = 0
        for kind, other, count in counts(of[error]):
            if count:
                look = GREYS[kind] if other is None else _of_other(colours[other], kind)
                axes.barh(place, count, left=left, height=0.74, linewidth=0, **look)
                left += count
        share = f"  {left:,}" + (f" ({left / of['onsets']:.0%})" if of["onsets"] else "")
        axes.text(left, place, share, va="center", color="0.25")
    axes.set_yticks(range(len(classes)), classes)
    for label, colour in zip(axes.get_yticklabels(), colours.values(), strict=True):
        label.set_color(colour)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(classes) - 0.4, -0.6), xlim=(0, 1.22 * max(most, 1)))
    axes.set_title(f"{WORDS[error]}, and their share of the class's onsets", loc="left", fontsize="medium")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _key(axes, error, colours)


def _of_other(colour: str, kind: str) -> Look:
    return {"facecolor": colour, "alpha": 1.0 if kind == "confused" else PALE}


def _key(axes: "Axes", error: str, colours: Mapping[str, str]) -> None:
    """What the colours mean, below the panel."""
    from matplotlib.patches import Patch

    patches = [Patch(label=SAID.get(kind, kind), **GREYS[kind]) for kind in KINDS[error] if kind in GREYS]
    words = {
        "false_alarms": ("missed onset of that class", "found onset of that class (pale)"),
        "misses": ("that class fires instead", "that class fires rightly (pale)"),
    }
    colour = next(iter(colours.values()))
    for kind, label in zip(("confused", "along"), words[error], strict=True):
        patches.append(Patch(label=label, **_of_other(colour, kind)))
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(-0.01, -0.12), ncols=3, frameon=False,
                fontsize="small", handlelength=1.3, columnspacing=1.2)  # fmt: skip


def _confusion(axes: "Axes", errors: Errors) -> None:
    """Of each class's onsets (rows), the share in whose place another class (columns) fired wrongly."""
    classes = list(errors["classes"])
    shares = np.full((len(classes), len(classes)), np.nan)
    for row, of in enumerate(errors["classes"].values()):
        for name, count in of["misses"]["confused"].items():
            shares[row, classes.index(name)] = count / max(of["onsets"], 1)
    top = max(float(np.nan_to_num(shares).max()), 0.01)
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1.25 * top, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            text = f"{share:.0%}" if share >= 0.005 else "<1%"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.7 * top else "0.15")
    for row in range(len(classes)):
        axes.add_patch(_diagonal(row))
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, colour in zip(labels, colours_of(classes), strict=True):
            label.set_color(colour)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Row sounded, column fired instead", loc="left", fontsize="medium")


def _diagonal(row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((row - 0.5, row - 0.5), 1, 1, facecolor="0.97", edgecolor="0.85", hatch="xx", linewidth=0)
