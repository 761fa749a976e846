"""A study's figures: bars with their intervals, both ways, and a heat map of what was scored on what."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from data_prep.colours import OKABE_ITO, ORANGE
from data_prep.refused import printable
from tuner.study_grid import UNFINISHED_MARK, Grid, Value
from tuner.telling import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
STYLE: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
BAR, GROUP = 0.34, 1.0  # inches a bar, and around a group of them
NARROWEST, WIDEST, HEIGHT = 6.5, 16.0, 4.4
UNFINISHED = f"{UNFINISHED_MARK} unfinished: not all trials have ended"
MAP, DARK = "YlGnBu", 0.55  # light to dark, for the colour-blind too; on what is darker text is white


def bars(grid: Grid, title: str, *, within_columns: bool) -> bytes:
    """A PNG: groups of bars, a column's rows beside each other or (else) a row's columns, with 95 % intervals."""
    from matplotlib import rc_context

    groups, members = (grid.columns, grid.rows) if within_columns else (grid.rows, grid.columns)
    with rc_context(STYLE):
        width = min(max(len(groups) * (len(members) * BAR + GROUP) + 0.8, NARROWEST), WIDEST)
        figure, axes = _figure(width, HEIGHT, title)
        thick = 0.82 / len(members)
        for place, member in enumerate(members):
            offset = (place - (len(members) - 1) / 2) * thick
            for at, group in enumerate(groups):
                value = grid.values.get((member, group) if within_columns else (group, member))
                _bar(axes, at + offset, thick, value, _colour(place), _hatch(place))
            axes.bar(0, 0, color=_colour(place), hatch=_hatch(place), edgecolor="white", label=printable(member))
        axes.set_xticks(range(len(groups)), [printable(of) for of in groups])
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylim(0, 1.04)
        axes.set_ylabel(f"test {in_words(grid.metric)}")
        if _unfinished(grid):
            axes.set_xlabel(UNFINISHED, loc="left", fontsize=8.5)
        axes.yaxis.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=0)
        axes.legend(
            frameon=False, ncols=min(len(members), 5), loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0
        )
        return _png(figure)


def _bar(axes: "Axes", at: float, thick: float, value: Value | None, colour: str, hatch: str) -> None:
    if value is None or value.score is None:
        why = "" if value is None else value.why
        axes.text(at, 0.015, why, rotation=90, ha="center", va="bottom", fontsize=7.5, color="0.45")
        return
    axes.bar(at, value.score, thick * 0.94, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
    top = value.score
    if value.interval is not None:
        low, high = value.interval
        spread = [[max(value.score - low, 0)], [max(high - value.score, 0)]]
        axes.errorbar(at, value.score, spread, color="0.15", linewidth=1.1, capsize=2.5)
        top = max(high, top)
    weight = "bold" if value.best else "normal"
    number = f"{value.score:.2f}{UNFINISHED_MARK * value.unfinished}"
    axes.text(at, top + 0.012, number, ha="center", va="bottom", fontsize=7.5, weight=weight)


def heat_map(grid: Grid, title: str) -> bytes:
    """A PNG: a row a combination, a column a corpus; zero-shot cells are framed, the best of each column is bold."""
    import numpy as np
    from matplotlib import colormaps, rc_context
    from matplotlib.patches import Rectangle

    size = (len(grid.rows), len(grid.columns))
    scores = np.full(size, np.nan)
    for (row, column), value in grid.values.items():
        if value.score is not None:
            scores[grid.rows.index(row), grid.columns.index(column)] = value.score
    colours = colormaps[MAP].with_extremes(bad="0.93")
    with rc_context(STYLE):
        width = min(max(1.35 * size[1] + 0.11 * max(map(len, grid.rows)) + 2.2, NARROWEST), WIDEST)
        figure, axes = _figure(width, 0.62 * size[0] + 1.9, title)
        image = axes.imshow(np.ma.masked_invalid(scores), cmap=colours, vmin=0, vmax=1, aspect="auto")
        for (row, column), value in grid.values.items():
            y, x = grid.rows.index(row), grid.columns.index(column)
            dark = value.score is not None and value.score > DARK
            ink = "white" if dark else "black"
            number = value.why if value.score is None else f"{value.score:.3f}{UNFINISHED_MARK * value.unfinished}"
            weight = "bold" if value.best else "normal"
            axes.text(
                x,
                y - (0.1 if value.interval_text else 0),
                number,
                ha="center",
                va="center",
                color=ink,
                weight=weight,
                fontsize=11,
            )
            if value.interval_text:
                axes.text(x, y + 0.25, value.interval_text, ha="center", va="center", color=ink, fontsize=7.5)
            if value.best_zero_shot:
                under = y + (0.06 if value.interval_text else 0.16)
                axes.plot([x - 0.17, x + 0.17], [under, under], color=ink, linewidth=1.2)
            if value.zero_shot:
                frame: dict[str, Any] = {
                    "fill": False,
                    "linestyle": (0, (3, 2)),
                    "linewidth": 1.6,
                    "edgecolor": ORANGE,
                }
                axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, **frame))
        axes.set_xticks(range(size[1]), [printable(of) for of in grid.columns])
        axes.set_yticks(range(size[0]), [printable(of) for of in grid.rows])
        axes.tick_params(length=0)
        axes.set_xlabel("scored on")
        axes.set_ylabel("trained on")
        axes.spines[:].set_visible(False)
        marks = "dashed frame: zero-shot; bold: best of the column; underlined: best zero-shot"
        axes.set_title(f"{marks}\n{UNFINISHED}" if _unfinished(grid) else marks, loc="left", fontsize=8.5)
        figure.colorbar(image, ax=axes, label=in_words(grid.metric), fraction=0.05, pad=0.02)
        return _png(figure)


def _unfinished(grid: Grid) -> bool:
    return any(value.unfinished for value in grid.values.values())


def _figure(width: float, height: float, title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure((width, height), DPI, layout="constrained")
    figure.suptitle(printable(title), x=0.01, ha="left", weight="bold", fontsize=11, parse_math=False)
    return figure, figure.subplots()


def _colour(place: int) -> str:
    return OKABE_ITO[place % len(OKABE_ITO)]


def _hatch(place: int) -> str:
    """Beyond the colours there are, the same ones come hatched."""
    return ("", "//", "..", "xx")[place // len(OKABE_ITO) % 4]


def _png(figure: "Figure") -> bytes:
    written = BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
