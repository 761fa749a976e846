"""`mirtune prep`."""

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.refused import printable
from tuner.commands.common import Transferred, add_json, add_shards, print_json, print_table
from tuner.telling import Progress, warn

if TYPE_CHECKING:
    from rich.table import Table

    from data_prep.check import Report
    from data_prep.corpora import PrepOptions
    from data_prep.manifest import Manifest

MDB = "--source ~/mdb"
SUMMARY = "turn a corpus into shards"
EXAMPLES = (
    ("a downloaded corpus; the same command goes on where an earlier one was stopped", f"mirtune prep mdb {MDB}"),
    ("what that would take: tracks, disk, time; nothing is written", f"mirtune prep mdb {MDB} --dry-run"),
    ("what is wrong with it, if anything; nothing is written", f"mirtune prep mdb {MDB} --check"),
    ("no download: grooves that mirtune makes up and renders", "mirtune prep demo --hours 0.2"),
    (
        "MIDI performances, rendered with your own kits, ten hours of them, into an object store",
        "mirtune prep groove --source ~/groove --kits ~/kits --hours 10 --shards s3://bucket/shards",
    ),
    (
        "recordings of your own, with a table of what your labels mean",
        "mirtune prep folder --source ~/takes --mapping labels.csv --name takes",
    ),
)
STOPPED = "finished shards stay; the same command goes on"
SHOWN_REASONS = 5
SHOWN_LABELS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("corpus", metavar="CORPUS", help="name of the corpus; a wrong one lists the names")
    parser.add_argument("--source", type=Path, metavar="DIR", help="the corpus as downloaded")
    add_shards(parser)
    parser.add_argument("--name", metavar="NAME", help="of the prepared corpus (CORPUS; CORPUS-3 for 3 classes)")
    parser.add_argument("--classes", type=int, default=5, metavar="N", help="3, 5 or 8 classes (%(default)s)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="read everything, report what is wrong, and write nothing"
    )
    text = "say what would be prepared, how much disk and time that takes, and write nothing"
    instead.add_argument("--dry-run", action="store_true", help=text)
    parser.add_argument(
        "--unknown-labels", type=float, default=0.01, metavar="SHARE",
        help="labels that the class map may not know, of all (%(default)g)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of whatever is drawn (%(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (one a processor)")
    add_json(parser)
    rendered = parser.add_argument_group("corpora that are rendered")
    text = "kits to render with: folders that hold some, or sound fonts; music: sound fonts with melodic instruments"
    rendered.add_argument("--kits", type=Path, nargs="+", default=[], metavar="PATH", help=text)
    text = "folder of General MIDI files to mix under what is rendered; music: to render"
    rendered.add_argument("--accompaniment", type=Path, metavar="DIR", help=text)
    text = "take part of the corpus; groove_stems: this much, each performance on as many kits as that needs"
    rendered.add_argument("--hours", type=float, metavar="H", help=text)
    some = parser.add_argument_group("some corpora")
    some.add_argument(
        "--accompaniment-gain-db", type=float, default=0.0, metavar="DB",
        help="enst, enst_mdb: gain of what is added to the recorded part (%(default)g, as the study)",
    )  # fmt: skip
    some.add_argument(
        "--no-kit-maps", dest="kit_maps", action="store_false",
        help="slakh: take all kits for General MIDI, as the study, and do not correct those known to differ",
    )  # fmt: skip
    some.add_argument("--mapping", type=Path, metavar="FILE", help="folder: maps your labels to classes (csv or json)")
    some.add_argument("--splits", type=Path, metavar="FILE", help="folder: which file is in which split (csv)")


def options(arguments: argparse.Namespace) -> "PrepOptions":
    """What was asked; Refused where a number makes no sense."""
    from data_prep.corpora import PrepOptions
    from data_prep.refused import Refused

    if arguments.hours is not None and not 0 < arguments.hours < math.inf:
        raise Refused(f"--hours {arguments.hours:g}: expected a number above 0, or no --hours for the whole corpus")
    if arguments.workers is not None and arguments.workers < 1:
        raise Refused(f"--workers {arguments.workers}: expected 1 or more, or no --workers for one a processor")
    if not -60 <= arguments.accompaniment_gain_db <= 60:
        raise Refused(f"--accompaniment-gain-db {arguments.accompaniment_gain_db:g}: expected -60 to 60 dB")
    if not 0 <= arguments.unknown_labels <= 1:
        raise Refused(f"--unknown-labels {arguments.unknown_labels:g}: expected a share from 0 to 1, as in 0.01")
    return PrepOptions(
        classes=arguments.classes,
        name=arguments.name,
        seed=arguments.seed,
        workers=arguments.workers,
        unknown_labels=arguments.unknown_labels,
        kits=tuple(arguments.kits),
        accompaniment=arguments.accompaniment,
        hours=arguments.hours,
        accompaniment_gain_db=arguments.accompaniment_gain_db,
        kit_maps=arguments.kit_maps,
        mapping=arguments.mapping,
        splits=arguments.splits,
    )


def run(arguments: argparse.Namespace) -> None:
    """Prepare a corpus, or check it."""
    from data_prep.remote_prep import prepare

    asked = options(arguments)
    if arguments.check:
        check(arguments, asked)
        return
    if arguments.dry_run:
        dry_run(arguments, asked)
        return
    began = time.monotonic()
    with Progress("prepared", None, "tracks") as progress:
        manifest = prepare(
            arguments.corpus,
            source=arguments.source,
            shards=arguments.shards,
            options=asked,
            progress=progress.reach,
            sending=Transferred("sent"),
        )
    if arguments.json:
        from dataclasses import asdict

        print_json(asdict(manifest))
        return
    print_table(table(manifest))
    for line in remarks(manifest):
        warn(line)
    speed = f"{manifest.timing['times_real_time']:,.0f} times real time a worker"
    lost, tracks = len(manifest.refused), sum(of.tracks for of in manifest.splits.values())
    without = f", without {lost:,} of {lost + tracks:,} tracks," if lost else ""
    place = f"{str(arguments.shards).rstrip('/')}/{manifest.corpus}"
    print(f"{manifest.corpus} is ready in {place}{without} after", end=" ")
    print(f"{time.monotonic() - began:.0f} s ({manifest.timing['seconds']:.1f} s of workers' time, {speed})")


def dry_run(arguments: argparse.Namespace, asked: "PrepOptions") -> None:
    """Say what would be done."""
    from tuner.prep_forecast import forecast, lines

    found = forecast(arguments.corpus, arguments.source, arguments.shards, asked)
    if arguments.json:
        print_json(found.to_dict())
    else:
        print("\n".join(map(printable, lines(found))))


def check(arguments: argparse.Namespace, asked: "PrepOptions") -> None:
    """Read the corpus and report; Refused, after the report, where it is not as it should be."""
    from data_prep.check import check as read_whole
    from data_prep.refused import Refused

    with Progress("read", None, "tracks") as progress:
        report = read_whole(arguments.corpus, source=arguments.source, options=asked, progress=progress.reach)
    if arguments.json:
        print_json(report.to_dict())
    else:
        print_table(check_table(report))
        for line in check_lines(report):
            print(line)
    if report.serious:
        found = ", ".join(f"{what} ({count})" if count > 1 else what for what, count in report.serious.items())
        raise Refused(f"{arguments.source or arguments.corpus} is not as it should be: {found}; see the report")


def check_table(report: "Report") -> "Table":
    """What the usable tracks of each split hold."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(f"Corpus {report.corpus}: {report.title}"))
    shown.add_column("split")
    for column in ("tracks", "usable", "hours", "windows", "shortest", "longest", *report.classes):
        shown.add_column(column, justify="right")
    for split, of in report.splits.items():
        lengths = (f"{of.shortest_s:.1f} s", f"{of.longest_s:.1f} s") if of.usable else ("", "")
        counts = (f"{of.tracks:,}", f"{of.usable:,}", f"{of.seconds / 3600:.2f}", f"{of.windows:,}")
        shown.add_row(split, *counts, *lengths, *(f"{of.onsets[name]:,}" for name in report.classes))
    return shown


def check_lines(report: "Report") -> list[str]:
    """Formats of the audio, labels, and what was found, a few of each kind."""
    from data_prep.check import KINDS
    from data_prep.refused import printable

    lines = []
    if report.formats:
        listed = "; ".join(f"{count:,} of {what}" for what, count in report.formats.most_common())
        lines.append(f"audio files: {listed}")
    lines += [f"{count:,} {what}" for what, count in report.missing.items()]
    if report.unknown_labels:
        share = report.unknown_labels.total() / report.labels
        listed = ", ".join(f"{label} ({count:,})" for label, count in report.unknown_labels.most_common(SHOWN_LABELS))
        lines.append(f"labels outside the class map, {share:.2%} of {report.labels:,}: {listed}")
    for kind in KINDS:
        found = [finding for finding in report.findings if finding.kind == kind]
        if found:
            lines.append(f"{kind}: {len(found):,} track{'s' * (len(found) > 1)}")
            lines += [f"  {of.split} {of.track}: {of.detail}" for of in found[:SHOWN_REASONS]]
            if len(found) > SHOWN_REASONS:
                lines.append(f"  and {len(found) - SHOWN_REASONS:,} more; --json lists all")
    return [*map(printable, lines)] if report.findings else [*lines, "nothing is wrong with what is there"]


def remarks(manifest: "Manifest") -> list[str]:
    """What was left out, and why."""
    from data_prep.manifest import CLEAN, TO_MIX

    lines = [f"left out: {entry['reason']}" for entry in manifest.refused[:SHOWN_REASONS]]
    if len(manifest.refused) > SHOWN_REASONS:
        more = len(manifest.refused) - SHOWN_REASONS
        lines.append(f"and {more} more tracks; manifest.json lists all with reasons")
    lines += [f"noted: {count:,} {what}" for what, count in manifest.notes.items()]
    if manifest.unknown_labels:
        by_count = sorted(manifest.unknown_labels.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{label} ({count:,})" for label, count in by_count[:SHOWN_LABELS])
        lines.append(f"labels outside the class map, of {manifest.labels:,}: {listed}")
    if manifest.condition != CLEAN:
        lines.append(TO_MIX)
    elif not manifest.whole_tracks:
        lines.append("published in windows: there are no whole tracks, only segments can be scored")
    return lines


def table(manifest: "Manifest") -> "Table":
    """What each split holds, and how often each class occurs in it."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(f"Corpus {manifest.corpus}: {manifest.title}"))
    shown.add_column("split")
    for column in ("tracks", "hours", "windows", "left out", *manifest.classes):
        shown.add_column(column, justify="right")
    for split, of in manifest.splits.items():
        left_out = sum(entry["split"] == split for entry in manifest.refused)
        onsets = [f"{of.onsets[name]:,}" for name in manifest.classes]
        shown.add_row(split, f"{of.tracks:,}", f"{of.seconds / 3600:.2f}", f"{of.windows:,}", f"{left_out:,}", *onsets)
    return shown
