"""Pictures of a prepared corpus and of its tracks. T frames, F bands, K classes."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data_prep.colours import colours_of
from data_prep.files import write_atomically
from data_prep.onsets import NEIGHBOUR, ONSET, Onsets
from data_prep.rates import FRAMES_PER_S, SAMPLE_RATE_HZ
from data_prep.spectrogram import FFT_SAMPLES, filterbank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
NARROWEST_IN, WIDEST_IN, MARGINS_IN = 12.0, 24.0, 1.6
MOST_COLUMNS = int((WIDEST_IN - MARGINS_IN) * DPI)  # of pixels; beyond it several frames share one
TICKS_HZ = (50, 200, 500, 1_000, 2_000, 5_000, 10_000)
HALF_OPACITY = 0.35  # of a target of 0.5
TARGETS_TOP, STEM_FROM, STEM_TO = 0.34, 0.42, 0.84  # of a class's row
TICKS_S: dict[float, str] = {
    **{of: f"{of:g} s" for of in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)},
    **{of * 60: f"{of} min" for of in (1, 2, 5, 10, 20, 30)},
    **{of * 3600: f"{of} h" for of in (1, 2, 5, 10)},
}
MOST_TICKS, BINS = 6, 40
TITLE_WIDTH = 102  # letters an inch at a size of 1
BARS = "0.55"  # grey


@contextmanager
def _drawn(path: Path, width_in: float, height_in: float, font_points: float) -> Iterator["Figure"]:
    """A figure to draw on, saved atomically as PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": font_points, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure((width_in, height_in), DPI, layout="constrained")
        yield figure
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format="png")


def draw_track(
    path: Path,
    title: str,
    bands: np.ndarray,
    targets: np.ndarray,
    onsets: Onsets,
    classes: Sequence[str],
    first_frame: int,
) -> None:
    """Write a PNG of bands (T, F), targets (T, K) in halves and onsets, ``first_frame`` the first that is shown."""
    from matplotlib.ticker import MaxNLocator

    begin_s, end_s = ((first_frame + frame - 0.5) / FRAMES_PER_S for frame in (0, len(bands)))
    step = -(-len(bands) // MOST_COLUMNS)
    bands, targets = _loudest(bands, step).astype(np.float32), _loudest(targets, step)
    drawn_s = (begin_s, begin_s + len(bands) * step / FRAMES_PER_S)
    width_in = float(np.clip(len(bands) / DPI + MARGINS_IN, NARROWEST_IN, WIDEST_IN))
    points = 7 + width_in / 3  # a wide picture is looked at from further away
    rows_in = 0.045 * points * len(classes)
    with _drawn(path, width_in, 5 + rows_in, points) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, rows_in))
        above.set_title(textwrap.fill(title, int(TITLE_WIDTH * width_in / points)), loc="left", parse_math=False)
        _spectrogram(above, bands, drawn_s)
        _target_rows(below, targets, drawn_s, classes)
        _onset_rows(below, onsets, classes, points)
        below.set(xlabel="time (s)", xlim=(begin_s, end_s))
        below.xaxis.set_major_locator(MaxNLocator(20, steps=[1, 2, 5, 10]))
        _key(figure, bool(np.isfinite(onsets.velocities).any()))


def _loudest(values: np.ndarray, step: int) -> np.ndarray:
    """The maxima of each ``step`` rows."""
    return values if step == 1 else np.maximum.reduceat(values, np.arange(0, len(values), step))


def _spectrogram(axes: "Axes", bands: np.ndarray, drawn_s: tuple[float, float]) -> None:
    """Bands (T, F), and where they lie in Hz."""
    from matplotlib.colors import PowerNorm

    count = bands.shape[1]
    norm = PowerNorm(0.6, 0, max(float(bands.max()), 1e-3))  # lifts what is faint: the highest bands
    extent = (*drawn_s, -0.5, count - 0.5)
    axes.imshow(bands.T, cmap="magma", norm=norm, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    centres_hz = filterbank().argmax(axis=1) * SAMPLE_RATE_HZ / FFT_SAMPLES
    at = np.interp(np.log(TICKS_HZ), np.log(centres_hz), np.arange(len(centres_hz)))
    axes.set_yticks(at, [f"{hz:,}" for hz in TICKS_HZ])
    axes.set(ylabel="frequency (Hz)", ylim=(-0.5, count - 0.5))
    axes.tick_params(axis="x", labelbottom=False)


def _target_rows(axes: "Axes", targets: np.ndarray, drawn_s: tuple[float, float], classes: Sequence[str]) -> None:
    """Targets (T, K): a row a class, the first on top, in its colour where they are 1 and pale where they are 0.5."""
    width_s = (drawn_s[1] - drawn_s[0]) / len(targets)
    for index, colour in enumerate(colours_of(classes)):
        floor = len(classes) - 1 - index
        for half, opacity, edge in ((NEIGHBOUR, HALF_OPACITY, 0.0), (ONSET, 1.0, 0.5)):  # an edge is seen from afar
            spans = [(drawn_s[0] + at * width_s, width_s) for at in np.flatnonzero(targets[:, index] == half)]
            row = axes.broken_barh(spans, (floor, TARGETS_TOP), color=colour, alpha=opacity, linewidth=edge, zorder=2)
            row.set_snap(False)  # or frames of one or two pixels are of unlike widths
        axes.axhline(floor, color="0.8", linewidth=0.8, zorder=1)
    axes.set_yticks([len(classes) - 0.55 - index for index in range(len(classes))], classes)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, len(classes))


def _onset_rows(axes: "Axes", onsets: Onsets, classes: Sequence[str], points: float) -> None:
    """A stem an onset above its target, higher and with a larger head the louder it is."""
    for index, colour in enumerate(colours_of(classes)):
        own = onsets[onsets.classes == index]
        loudness = np.nan_to_num(own.velocities, nan=1.0)
        foot = len(classes) - 1 - index + STEM_FROM
        head = foot + (STEM_TO - STEM_FROM) * (0.15 + 0.85 * loudness)
        axes.vlines(own.times_s, foot, head, color=colour, linewidth=points / 9, zorder=3)
        axes.scatter(own.times_s, head, s=points * (0.4 + 2 * loudness), color=colour, linewidth=0, zorder=3)


def _key(figure: "Figure", velocities: bool) -> None:
    """What the marks mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [
        Line2D([], [], color="0.3", marker="o", label="onset: higher when louder" if velocities else "onset"),
        Patch(color="0.3", label="target 1.0: its frame"),
        Patch(color="0.3", alpha=HALF_OPACITY, linewidth=0, label="target 0.5: the frames beside it"),
    ]
    figure.legend(handles=marks, loc="outside lower right", ncols=3, frameon=False)


def draw_corpus(path: Path, described: Mapping[str, Any], tracks: pd.DataFrame) -> None:
    """Write a PNG of what data_prep.show.summarise says of a corpus, a row a split, and of its table of tracks."""
    splits, classes = described["splits"], described["classes"]
    seconds, onsets_per_s = tracks["seconds"], tracks["onsets_per_class"].map(sum) / tracks["seconds"]
    with_velocities = any(of["velocity_percentiles"] for of in splits.values())
    widths = (1.7, 1, 1, 0.8) if with_velocities else (1.7, 1, 1)
    row_in = 1.4 + 0.27 * len(classes)
    with _drawn(path, 3.6 * sum(widths) - 1, 0.6 + row_in * len(splits), 10.5) as figure:
        figure.suptitle(
            f"Corpus {described['corpus']}: {described['title']} ({described['licence']})",
            fontsize=14,
            parse_math=False,
        )
        rows = figure.subfigures(len(splits), 1, squeeze=False)[:, 0]
        for row, (split, of) in zip(rows, splits.items(), strict=True):
            mine = tracks["split"] == split
            row.suptitle(_headline(split, of), x=0.01, ha="left", weight="bold")
            bars, lengths, rates, *loudness = row.subplots(1, len(widths), width_ratios=widths)
            _class_bars(
                bars, of["classes"], max(of["share"] for each in splits.values() for of in each["classes"].values())
            )
            _lengths(lengths, seconds[mine].to_numpy(), seconds.min(), seconds.max())
            _rates(rates, onsets_per_s[mine].to_numpy(), onsets_per_s.max())
            for axes in loudness:
                _velocities(axes, of["velocity_percentiles"], classes)


def in_time(seconds: float) -> str:
    """A length in the unit that suits it."""
    unit_s, unit = next((of for of in ((3600, "h"), (60, "min")) if seconds >= of[0]), (1, "s"))
    return f"{seconds / unit_s:,.1f} {unit}"


def in_percent(share: float) -> str:
    """A share in whole percent, below one with a decimal."""
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"


def _headline(split: str, of: Mapping[str, Any]) -> str:
    tracks = f"{of['tracks']:,} track{'s' if of['tracks'] != 1 else ''}"
    return f"{split}: {tracks}, {in_time(of['seconds'])}, {of['onsets']:,} onsets"


def _class_bars(axes: "Axes", classes: Mapping[str, Mapping[str, float]], most_share: float) -> None:
    """A bar a class, as long as its share; count, rate and share beside it."""
    shares = [of["share"] for of in classes.values()]
    bars = axes.barh(list(classes), shares, color=colours_of(list(classes)), height=0.72)
    words = [
        f"{of['onsets']:,}  ({of['per_minute']:,.1f} a minute, {in_percent(of['share'])})" for of in classes.values()
    ]
    axes.bar_label(bars, words, padding=4, color="0.2")
    axes.invert_yaxis()
    axes.set(xlim=(0, 2.1 * max(most_share, 1e-3)), xlabel="onsets of each class")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])


def _lengths(axes: "Axes", seconds: np.ndarray, shortest_s: float, longest_s: float) -> None:
    """How many tracks are how long, on a logarithmic axis that all splits share."""
    span = (shortest_s / 1.25, longest_s * 1.25)
    axes.set_xscale("log")
    axes.hist(seconds, np.geomspace(*span, BINS).tolist(), color=BARS)
    shown: list[float] = []
    for at in TICKS_S:
        if span[0] <= at <= span[1] and (not shown or at >= shown[-1] * (span[1] / span[0]) ** (1 / MOST_TICKS)):
            shown.append(at)
    axes.set_xticks(shown or [shortest_s], [TICKS_S[at] for at in shown] or [in_time(shortest_s)])
    axes.set_xticks([], minor=True)
    axes.set(xlim=span, xlabel="length of a track")
    _counted(axes, seconds, in_time)


def _rates(axes: "Axes", onsets_per_s: np.ndarray, most: float) -> None:
    """How many tracks have how many onsets a second, on an axis that all splits share."""
    end = 1.05 * max(most, 1e-3)
    axes.hist(onsets_per_s, np.linspace(0, end, BINS).tolist(), color=BARS)
    axes.set(xlim=(0, end), xlabel="onsets a second in a track")
    _counted(axes, onsets_per_s, lambda value: f"{value:.1f}")


def _counted(axes: "Axes", values: np.ndarray, words: Callable[[float], str]) -> None:
    """Whole numbers of tracks upwards, and where the median is."""
    from matplotlib.ticker import MaxNLocator

    median = float(np.median(values))
    axes.axvline(median, color="black", linewidth=1.2, linestyle="--")
    axes.set_title(f"median {words(median)}", fontsize="medium", loc="right")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_ylabel("tracks")


def _velocities(axes: "Axes", percentiles: Mapping[str, Sequence[float]], classes: Sequence[str]) -> None:
    """The middle half of a class's velocities as a bar, all but the outermost 5 % as a line, the median as a mark."""
    for index, (name, colour) in enumerate(zip(classes, colours_of(classes), strict=True)):
        if name in percentiles:
            lowest, low, median, high, highest = percentiles[name]
            axes.hlines(index, lowest, highest, color=colour, linewidth=1.5)
            axes.hlines(index, low, high, color=colour, linewidth=7)
            axes.plot(median, index, "o", color="white", markeredgecolor="black", markersize=5)
    axes.set_yticks(range(len(classes)), [])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(classes) - 0.5, -0.5), xlabel="velocity (middle 50 % and 90 %)")
