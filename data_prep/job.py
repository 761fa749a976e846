"""The preparation job: any corpus to shards, in parallel over shards, continuing where it was stopped.

A shard's tracks are fixed by the list of tracks alone, so the layout is the same for any number of workers. Each
finished shard leaves a record in `parts/`; a shard is made again only if its record does not fit the tracks, their
source files and the front end as they are now. `manifest.json` comes last.
"""

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.classes import VOCABULARIES
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.files import alone, checksum, disk_space
from data_prep.manifest import MANIFEST, MOST_TRACKS, SPLITS, Manifest, Moments, SplitSummary
from data_prep.onsets import MERGE_WITHIN_S
from data_prep.options import check_options, command, heeded_options, prepared_name, with_whole_paths
from data_prep.parts import TABLES, Part, merge_tables, plan_parts, tracks_of
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused, check_known
from data_prep.spectrogram import BANDS, FEATURES
from data_prep.versions import version_of
from data_prep.workers import run_on_workers

Progress = Callable[[int, int, str], None]  # tracks done, tracks in all, what was just done

PACKAGES = ("mirtune", "numpy", "scipy", "soundfile", "opencv-python-headless", "pyarrow", "mido", "partitura")


def plan(
    corpus: str, source: Path | None, options: PrepOptions
) -> tuple[CorpusSource, Path | None, PrepOptions, list[Track]]:
    """What a preparation would do: the corpus, source and options with whole paths, and all tracks.

    Raises Refused on an unknown corpus, options that mean nothing to it, a missing source folder, a corpus without
    tracks, or performances that cross splits.
    """
    check_known("corpus", corpus, sorted(CORPORA))
    described = CORPORA[corpus]
    check_options(described, source, options)
    source = source.resolve() if source else None  # workers may stand in another folder
    options = with_whole_paths(options)
    tracks = list(islice(described.tracks(source, options), MOST_TRACKS + 1))
    if not tracks:
        raise Refused(f"{source} holds no track of {described.title}; give the top folder of the corpus")
    if len(tracks) > MOST_TRACKS:
        raise Refused(
            f"{source or described.title} lists more than {MOST_TRACKS:,} tracks; expected {described.title} as "
            "published, or fewer --hours: check its tables"
        )
    check_splits(tracks)
    return described, source, options, tracks


def prepare(
    corpus: str,
    *,
    source: Path | None,
    shards: Path,
    options: PrepOptions | None = None,
    progress: Progress | None = None,
    here: bool = False,
) -> Manifest:
    """Prepare a corpus into ``shards``, in a folder of its prepared name, and return its manifest.

    Finished shards of an earlier run are kept where their sources did not change. Raises Refused where ``plan`` does,
    where every track was refused, where more of the labels are unknown than ``options`` allow, where another corpus has
    the name, and where another process prepares into the same folder. With ``here`` all is done on this machine.
    """
    described, source, options, tracks = plan(corpus, source, options or PrepOptions())
    folder = Path(os.path.realpath(shards)) / prepared_name(corpus, options)
    if source is not None and source.is_relative_to(folder):
        raise Refused(f"--source {source} lies in {folder}, which is to be written; give another --shards or --name")
    check_name(described, folder)
    if (folder / "parts").is_symlink():  # what no longer belongs is removed there
        raise Refused(f"{folder / 'parts'} is a link; expected a folder that only mirtune writes in: remove the link")
    with disk_space(folder):
        (folder / "parts").mkdir(parents=True, exist_ok=True)
    with disk_space(folder), alone(folder / "parts" / ".lock", f"another preparation is writing into {folder}"):
        parts = plan_parts(tracks, folder, VOCABULARIES[options.classes], BANDS * described.stems)
        return _prepare(described, source, options, parts, progress, here)


def _prepare(
    described: CorpusSource, source: Path | None, options: PrepOptions, parts: list[Part], progress: Progress | None,
    here: bool,
) -> Manifest:  # fmt: skip
    """Prepare the parts that are not there yet, and finish."""
    remove_half_written(parts[0].folder)  # before anything is written: the disk may be full of it
    records = {part.name: record for part in parts if (record := part.finished())}
    done = sum(len(part.tracks) for part in parts if part.name in records)
    total = sum(len(part.tracks) for part in parts)
    report = progress or (lambda *_: None)
    report(done, total, f"{len(records)} of {len(parts)} shards are there already" if records else "")
    if done < total or strays(parts):
        (parts[0].folder / MANIFEST).unlink(missing_ok=True)  # from here on the folder is not whole
    todo = [part for part in parts if part.name not in records]
    for part, record in run_on_workers(Part.prepare, todo, options.workers, lambda part: name_of(part.tracks), here):
        records[part.name] = record
        done += len(part.tracks)
        report(done, total, part.name)
    return finish(described, source, options, parts, [records[part.name] for part in parts])


def check_name(described: CorpusSource, folder: Path) -> None:
    """Refused where another corpus was prepared under the name."""
    try:
        held = Manifest.load(folder)
    except Refused:  # nothing, or nothing that is worth keeping
        return
    if held.adapter != described.name:
        raise Refused(
            f"{folder} holds corpus {held.adapter!r} ({held.title}), not {described.name!r}; give another --name, or "
            "remove the folder first"
        )


def name_of(tracks: Sequence[Track]) -> str:
    """Some consecutive tracks, in words."""
    return f"the tracks {tracks[0].id} to {tracks[-1].id}"


def check_splits(tracks: Iterable[Track]) -> None:
    """Refused where tracks of one performance stand in different splits, or two have the same id."""
    split_of: dict[str, str] = {}
    ids: set[str] = set()
    for track in tracks:
        if track.id in ids:
            raise Refused(f"track {track.id!r} is listed twice; expected each once: correct the corpus's table")
        ids.add(track.id)
        if split_of.setdefault(track.performance, track.split) != track.split:
            raise Refused(
                f"performance {track.performance!r} stands in {split_of[track.performance]} and in {track.split}; "
                "a performance belongs to one split: correct the corpus's table"
            )


def missing_tracks(described: CorpusSource, tracks: Iterable[Track]) -> dict[str, int]:
    """How many tracks of each split, of those published, this copy of the corpus lacks, as words -> count."""
    held = Counter(track.split for track in tracks)
    return {
        f"of the {published:,} published {split} tracks missing in this copy": published - held[split]
        for split, published in described.published.items()
        if held[split] < published
    }


def check_labels(what: str, labels: int, unknown: Counter[str], most: float) -> None:
    """Refused where more than a share of a corpus's labels are unknown."""
    if unknown.total() > most * labels:
        listed = ", ".join(f"{label} ({count})" for label, count in unknown.most_common(10))
        raise Refused(
            f"{unknown.total()} of the {labels} labels of {what} ({unknown.total() / labels:.1%}) are not in its class "
            f"map; at most {most:.1%} may be: {listed}; correct the annotations, extend the class map or, to leave "
            "them out, give a higher --unknown-labels: finished shards are kept"
        )


def finish(
    described: CorpusSource, source: Path | None, options: PrepOptions, parts: list[Part], records: list[dict[str, Any]]
) -> Manifest:
    """Write the tables and, last, the manifest; remove shards that no longer belong."""
    folder, classes = parts[0].folder, parts[0].classes
    name = prepared_name(described.name, options)
    refused = tuple(entry for record in records for entry in record["refused"])
    if not any(record["tracks"] for record in records):
        raise Refused(f"no track of corpus {name!r} could be prepared; the first reason: {refused[0]['reason']}")
    counts = {of: reduce(Counter.__add__, (Counter(record[of]) for record in records)) for of in ("notes", "unknown")}
    labels = sum(record["labels"] for record in records)
    check_labels(f"corpus {name!r}", labels, counts["unknown"], options.unknown_labels)
    remove_half_written(folder)
    for path in [*strays(parts), *(folder / "parts").glob(".*.begun")]:
        path.unlink(missing_ok=True)
    for of in TABLES:
        merge_tables(parts, of, folder / f"{of}.parquet")
    counts["notes"].update(missing_tracks(described, (track for part in parts for track in part.tracks)))
    if doubled := audio_in_several_splits(parts):
        counts["notes"]["tracks whose audio stands in another split, too"] = doubled
    splits = {split: summary([of for of in records if of["split"] == split], classes) for split in SPLITS}
    took_s = sum(record["took_s"] for record in records)
    manifest = Manifest(
        corpus=name,
        adapter=described.name,
        title=described.title,
        licence=described.licence,
        classes=classes,
        features=FEATURES,
        bands=BANDS * described.stems,
        frames_per_s=FRAMES_PER_S,
        condition=described.condition,
        targets="onsets",
        whole_tracks=described.whole_tracks,
        options=heeded_options(described, options) | {"merged_within_s": MERGE_WITHIN_S},
        splits=splits,
        files={part.shard.name: of["checksums"][part.shard.name] for part, of in zip(parts, records, strict=True)}
        | {f"{of}.parquet": checksum(folder / f"{of}.parquet") for of in TABLES},
        source=str(source or ""),
        command=command(described, source, options),
        refused=refused,
        notes=dict(sorted(counts["notes"].items())),
        labels=labels,
        unknown_labels=dict(sorted(counts["unknown"].items())),
        versions={package: version_of(package) for package in PACKAGES} | {"python": platform.python_version()},
        timing={"seconds": took_s, "times_real_time": sum(of.seconds for of in splits.values()) / took_s},
    )
    manifest.save(folder)
    return manifest


def summary(records: list[dict[str, Any]], classes: tuple[str, ...]) -> SplitSummary:
    """What the parts of one split hold together."""
    onsets = np.sum([record["onsets"] for record in records] or [[0] * len(classes)], axis=0).tolist()
    return SplitSummary(
        **{of: sum(record[of] for record in records) for of in ("tracks", "frames", "windows", "seconds")},
        moments=reduce(Moments.__add__, (Moments(**record["moments"]) for record in records), Moments()),
        onsets=dict(zip(classes, onsets, strict=True)),
    )


def audio_in_several_splits(parts: list[Part]) -> int:
    """How many tracks sound just like one of another split."""
    splits_of: dict[str, set[str]] = {}
    for row in tracks_of(parts, ["fingerprint", "split", "onsets_per_class"]):
        if any(row["onsets_per_class"]):  # silence is the same everywhere
            splits_of.setdefault(row["fingerprint"], set()).add(row["split"])
    return sum(len(splits) > 1 for splits in splits_of.values())


def remove_half_written(folder: Path) -> None:
    """Remove what killed processes left half-written; those that still run may remove it, too."""
    for half_written in [*folder.glob(".*.part"), *(folder / "parts").glob(".*.part")]:
        half_written.unlink(missing_ok=True)


def strays(parts: list[Part]) -> list[Path]:
    """Shards that no longer belong, and what is known of them."""
    folder, names = parts[0].folder, {part.name for part in parts}
    found = [*folder.glob("shard-*.arrow"), *(folder / "parts").glob("shard-*")]
    return [path for path in found if path.name.split(".")[0] not in names]
