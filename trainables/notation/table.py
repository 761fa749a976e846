"""Tables of onsets as CSV."""

import csv
from pathlib import Path

from data_prep.files import write_atomically
from trainables.notation.beats import timeline_of
from trainables.notation.transcribed import NotationOptions, Transcribed
from trainables.notation.velocity import velocities_of

COLUMNS = ("time_s", "class", "strength", "velocity", "pitch")
IN_BARS = ("bar", "beat")


def write_table(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write one line an onset, atomically: time_s, class, strength, velocity, pitch; with a tempo also bar and beat.

    A strength that is not known is an empty cell, and so are bars and beats where no tempo can be estimated. Bar 0 is
    a pickup and has the last beats of a bar.
    """
    onsets, timeline = transcribed.onsets, timeline_of(transcribed, options)
    pitches = options.note_map.of(transcribed.classes)
    columns = [
        [f"{time_s:.3f}" for time_s in onsets.times_s],
        [transcribed.classes[of] for of in onsets.classes],
        ["" if strength != strength else f"{strength:.4f}" for strength in onsets.velocities.tolist()],
        velocities_of(onsets.velocities, options.velocity).tolist(),
        [pitches[of] for of in onsets.classes],
    ]
    names: tuple[str, ...] = COLUMNS
    if timeline is not None:
        bars, beats = timeline.bars_of(timeline.positions_of(onsets.times_s))
        names, columns = COLUMNS + IN_BARS, [*columns, bars.tolist(), [f"{beat:.3f}" for beat in beats]]
    elif options.tempo is not None:
        names, columns = COLUMNS + IN_BARS, [*columns, *([""] * len(onsets) for _ in IN_BARS)]
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(names)
        lines.writerows(zip(*columns, strict=True))
