"""`mirtune show`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.commands.common import add_json, add_shards, open_prepared, print_json, print_table

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY = "look at and listen to a prepared corpus, or one of its tracks"
EXAMPLES = (
    ("how much there is of each class, in a table and a picture", "mirtune show mdb"),
    ("a track: its spectrogram with the onsets in it", "mirtune show mdb --track first"),
    (
        "the same, to be heard: music left, a click on each onset right",
        "mirtune show mdb --track Punk --click",
    ),
)
SHOWN_LABELS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("corpus", metavar="CORPUS", help="a prepared corpus")
    add_shards(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("results/show"), metavar="DIR", help="where pictures go (%(default)s)"
    )
    add_json(parser)
    track = parser.add_argument_group("one track; without --track it is the corpus as a whole")
    track.add_argument("--track", metavar="ID", help="its id, the beginning of one, or first")
    track.add_argument(
        "--click", action="store_true",
        help="also a WAV of the whole track: the music left, a click on each onset right, in a pitch a class",
    )  # fmt: skip
    track.add_argument("--from", dest="from_s", type=float, metavar="S", help="where the picture begins (first onsets)")
    track.add_argument("--seconds", type=float, metavar="S", help="how much the picture shows (20)")
    track.add_argument("--source", type=Path, metavar="DIR", help="--click: the corpus's folder, where it has moved")


def run(arguments: argparse.Namespace) -> None:
    """Write the pictures and say what they show."""
    from data_prep.refused import Refused, printable
    from data_prep.show import show_corpus, show_track

    of_a_track = {"--click": arguments.click, "--from": arguments.from_s, "--seconds": arguments.seconds}
    given = [name for name, value in of_a_track.items() if value is not None and value is not False]
    if arguments.track is None and given:
        raise Refused(f"{given[0]} is about one track; say which with --track ID (--track first takes the first)")
    if arguments.source is not None and not arguments.click:
        raise Refused("--source is where --click finds the audio; add --track ID --click or leave --source out")
    (corpus,), _ = open_prepared([arguments.corpus], arguments.shards, verify=False)
    if arguments.track is None:
        shown = show_corpus(corpus, arguments.out)
    else:
        shown = show_track(
            corpus, arguments.track, arguments.out, from_s=arguments.from_s, seconds=arguments.seconds,
            click=arguments.click, source=arguments.source,
        )  # fmt: skip
    if arguments.json:
        print_json(shown)
    elif arguments.track is None:
        print_table(table(shown))
        print("\n".join([*remarks(shown), f"picture: {shown['picture']}"]))
    else:
        print("\n".join(map(printable, lines(shown))))
        for remark in shown["remarks"]:
            print(remark, file=sys.stderr)


def lines(shown: Mapping[str, Any]) -> list[str]:
    """A track in words, and where its files are."""
    counts = ", ".join(f"{name} {count:,}" for name, count in shown["classes"].items())
    return [
        f"{shown['corpus']} {shown['track']} ({shown['split']}, {shown['seconds']:.1f} s): "
        f"{shown['onsets']:,} onsets ({counts})",
        f"picture: {shown['picture']}",
        *([f"clicks: {shown['clicks']} (music left, clicks right)"] if shown["clicks"] else []),
    ]


def table(described: Mapping[str, Any]) -> "Table":
    """What each split of a corpus holds, and all of them together: onsets a minute, and each class's share of them."""
    from rich.markup import escape
    from rich.table import Table

    from data_prep.pictures import in_percent, in_time

    shown = Table(title=escape(f"Corpus {described['corpus']}: {described['title']} ({described['licence']})"))
    shown.add_column("split")
    for column in ("tracks", "hours", "windows", "per min", *described["classes"], "length (median)"):
        shown.add_column(column, justify="right")
    rows = dict(described["splits"])
    if len(rows) > 1:
        rows["all"] = described["all"]
    for split, of in rows.items():
        lengths = of["track_seconds"]
        if split == "all":
            shown.add_section()
        shown.add_row(
            split, f"{of['tracks']:,}", f"{of['seconds'] / 3600:,.2f}", f"{of['windows']:,}",
            f"{of['onsets_per_minute']:,.0f}", *(in_percent(each["share"]) for each in of["classes"].values()),
            f"{in_time(lengths['shortest'])}–{in_time(lengths['longest'])} ({in_time(lengths['median'])})",
        )  # fmt: skip
    return shown


def remarks(described: Mapping[str, Any]) -> list[str]:
    """What the preparation left out."""
    from data_prep.manifest import CLEAN, TO_MIX

    said = [f"left out: {described['refused']:,} tracks; manifest.json says why"] if described["refused"] else []
    if unknown := described["unknown_labels"]:
        listed = ", ".join(f"{label} ({count:,})" for label, count in list(unknown.items())[:SHOWN_LABELS])
        said.append(f"labels outside the class map, of {described['labels']:,}: {listed}")
    if described["condition"] != CLEAN:
        said.append(TO_MIX)
    elif not described["whole_tracks"]:
        said.append("published in windows, without audio")
    return said
