"""Pictures of onsets over time: a piano roll of classes."""

from pathlib import Path

import numpy as np

from data_prep.colours import colours_of
from data_prep.files import write_atomically
from data_prep.refused import printable
from trainables.notation.beats import timeline_of
from trainables.notation.transcribed import NotationOptions, Transcribed
from trainables.notation.velocity import velocities_of

ROW_S, MOST_ROWS = 15.0, 40  # a row's length; a picture that would have more rows has longer ones
WIDTH_INCHES, DPI = 14, 100


def write_roll(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write a PNG with a line a class and a mark an onset, the higher the louder, atomically.

    Long recordings go over several rows. With a tempo, beats and bars are drawn.
    """
    from matplotlib.figure import Figure

    classes, onsets, end_s = transcribed.classes, transcribed.onsets, max(transcribed.end_s, 1.0)
    rows = min(MOST_ROWS, int(np.ceil(end_s / ROW_S)))
    row_s = max(ROW_S, end_s / rows)
    timeline = timeline_of(transcribed, options)
    figure = Figure(figsize=(WIDTH_INCHES, 0.7 + rows * (0.55 + 0.22 * len(classes))), layout="constrained")
    heights = 0.85 * velocities_of(onsets.velocities, options.velocity) / 127
    for row, axes in enumerate(figure.subplots(rows, 1, squeeze=False)[:, 0]):
        from_s, to_s = row * row_s, (row + 1) * row_s
        if timeline is not None:
            beats_s, beats = timeline.beats(end_s)
            inside, begins = (beats_s >= from_s) & (beats_s < to_s), beats == 1
            axes.vlines(beats_s[inside & ~begins], 0, len(classes), color="0.9", linewidth=0.7)
            axes.vlines(beats_s[inside & begins], 0, len(classes), color="0.55", linewidth=1.0)
        for index, colour in enumerate(colours_of(classes)):
            floor = len(classes) - 1 - index
            own = (onsets.classes == index) & (onsets.times_s >= from_s) & (onsets.times_s < to_s)
            axes.vlines(onsets.times_s[own], floor, floor + heights[own], color=colour, linewidth=2.5)
        axes.set_yticks([len(classes) - 0.6 - index for index in range(len(classes))], classes, fontsize=8)
        axes.set(xlim=(from_s, to_s), ylim=(0, len(classes)))
        axes.hlines(range(1, len(classes)), from_s, to_s, color="0.85", linewidth=0.6)
        axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("time (s)")
    # the name of a file may have dollars
    figure.suptitle(printable(transcribed.title), fontsize=11, parse_math=False)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
