"""The preparation job: any corpus to shards, in parallel over shards, continuing where it was stopped.

A shard's tracks are fixed by the list of tracks alone, so the layout is the same for any number of workers. Each
finished shard leaves a record in `parts/`; a shard is made again only if its record does not fit the tracks, their
source files and the front end as they are now. `manifest.json` comes last.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.corpora import CORPORA, CorpusSource, PrepOptions, Track
from data_prep.files import checksum, write_atomically
from data_prep.onsets import MERGE_WITHIN_S
from data_prep.parts import CONDITION, plan_parts, run_parts
from data_prep.refused import Refused
from data_prep.shards import MANIFEST, SPLITS, Manifest, Moments, SplitSummary
from data_prep.spectrogram import BANDS, FEATURES, FRAMES_PER_S
from data_prep.versions import version_of

Progress = Callable[[int, int, str], None]  # tracks done, tracks in all, what was just done


def check_splits(tracks: Iterable[Track]) -> None:
    """Refused where tracks of one performance stand in different splits."""
    split_of: dict[str, str] = {}
    for track in tracks:
        if split_of.setdefault(track.performance, track.split) != track.split:
            raise Refused(
                f"performance {track.performance!r} stands in {split_of[track.performance]} and in {track.split}; "
                "a performance belongs to one split: correct the corpus's table"
            )


def prepare(
    corpus: str,
    *,
    source: Path | None,
    shards: Path,
    options: PrepOptions | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Prepare a corpus into ``shards / corpus`` and return its manifest.

    Finished shards of an earlier run are kept where their sources did not change. Raises Refused on an unknown
    corpus, a missing source folder, a corpus without tracks, or one whose every track was refused.
    """
    options = options or PrepOptions()
    if corpus not in CORPORA:
        raise Refused(f"unknown corpus {corpus!r}; choose from {', '.join(sorted(CORPORA))}")
    described = CORPORA[corpus]
    check_source(described, source)
    check_heeded(described, source, options)
    shards = shards.resolve()  # workers may stand in another folder
    source = source.resolve() if source else None
    options = replace(options, kits=tuple(kit.resolve() for kit in options.kits))
    if options.accompaniment:
        options = replace(options, accompaniment=options.accompaniment.resolve())
    tracks = list(described.tracks(source, options))
    check_splits(tracks)
    folder = shards / corpus
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    parts = plan_parts(tracks, folder, described.classes)
    records = {part.name: record for part in parts if (record := part.finished())}
    done = sum(len(part.tracks) for part in parts if part.name in records)
    report = progress or (lambda *_: None)
    report(done, len(tracks), f"{len(records)} of {len(parts)} shards are there already" if records else "")
    if done < len(tracks):
        (folder / MANIFEST).unlink(missing_ok=True)  # from here on the folder is not whole
    for part, record in run_parts([part for part in parts if part.name not in records], options.workers):
        records[part.name] = record
        done += len(part.tracks)
        report(done, len(tracks), part.name)
    return finish(described, options, folder, [records[part.name] for part in parts])


def check_source(described: CorpusSource, source: Path | None) -> None:
    """Refused where a corpus that needs a source folder got none, or one that is not there."""
    if not described.needs_source:
        return
    if source is None:
        raise Refused(f"corpus {described.name!r} ({described.title}) is read from a folder; give it with --source DIR")
    if not source.is_dir():
        raise Refused(f"--source {source} is no folder; expected the top folder of {described.title}: check the path")


def check_heeded(described: CorpusSource, source: Path | None, options: PrepOptions) -> None:
    """Refused where an option was given that means nothing to the corpus."""
    unheeded: dict[str, Any] = {"--source": None if described.needs_source else source}
    if not described.rendered:
        unheeded |= {"--kits": options.kits, "--accompaniment": options.accompaniment, "--hours": options.hours}
    for option, given in unheeded.items():
        if given:
            raise Refused(f"{option} means nothing to corpus {described.name!r} ({described.title}); leave it out")


def finish(described: CorpusSource, options: PrepOptions, folder: Path, records: list[dict[str, Any]]) -> Manifest:
    """Write the tables and, last, the manifest; remove shards that no longer belong."""
    rows = [row for record in records for row in record["rows"]]
    refused = tuple(entry for record in records for entry in record["refused"])
    if not rows:
        reason = refused[0]["reason"] if refused else "the corpus names no track"
        raise Refused(f"no track of corpus {described.name!r} could be prepared; the first reason: {reason}")
    for half_written in folder.rglob(".*.part"):  # by a worker that was killed
        half_written.unlink()
    names = {row["shard"] for row in rows}
    for stray in [*folder.glob("shard-*.arrow"), *(folder / "parts").glob("shard-*.json")]:
        if f"{stray.stem}.arrow" not in names:
            stray.unlink()
    tracks = pd.DataFrame([{key: value for key, value in row.items() if key != "onsets"} for row in rows])
    onsets = pd.concat(
        [
            pd.DataFrame(
                {"track": row["id"], "time_s": times, "class": np.array(classes, np.int8), "velocity": velocities}
            )
            for row in rows
            for times, classes, velocities in [row["onsets"]]
        ]
    )
    onsets["velocity"] = onsets["velocity"].where(onsets["velocity"] >= 0).astype(np.float32)
    for name, table in (("tracks.parquet", tracks), ("onsets.parquet", onsets)):
        with write_atomically(folder / name) as temporary:
            table.to_parquet(temporary, index=False)
    digests = {row["shard"]: record["checksum"] for record in records for row in record["rows"]}
    splits = {}
    for split in SPLITS:
        of_split = tracks[tracks["split"] == split]
        moments = reduce(Moments.__add__, (Moments(**record["moments"][split]) for record in records), Moments())
        counts = np.array(of_split["onsets_per_class"].tolist(), int).reshape(-1, len(described.classes)).sum(axis=0)
        splits[split] = SplitSummary(
            tracks=len(of_split),
            frames=int(of_split["frames"].sum()),
            seconds=float(of_split["seconds"].sum()),
            moments=moments,
            onsets=dict(zip(described.classes, counts.tolist(), strict=True)),
        )
    manifest = Manifest(
        corpus=described.name,
        classes=described.classes,
        features=FEATURES,
        bands=BANDS,
        frames_per_s=FRAMES_PER_S,
        condition=CONDITION,
        targets="onsets",
        options={
            **{key: value for key, value in asdict(options).items() if key in ("hours", "seed")},
            "kits": [str(path) for path in options.kits],
            "accompaniment": str(options.accompaniment or ""),
            "merged_within_s": MERGE_WITHIN_S,
        },
        splits=splits,
        files=digests | {name: checksum(folder / name) for name in ("tracks.parquet", "onsets.parquet")},
        refused=refused,
        notes=dict(sum((Counter(record["notes"]) for record in records), Counter())),
        versions={
            name: version_of(name) for name in ("mirtune", "numpy", "scipy", "soundfile", "pyarrow", "torchaudio")
        }
        | {"python": platform.python_version()},
    )
    manifest.save(folder)
    return manifest
