"""A prepared corpus, or one of its tracks, to look at and to listen to. T frames, F bands, K classes, N onsets."""

import difflib
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_prep.clicks import write_clicks
from data_prep.manifest import SPLITS, Manifest
from data_prep.onset_table import read_onsets
from data_prep.onsets import Onsets, onset_frames
from data_prep.pictures import draw_corpus, draw_track
from data_prep.rates import FRAMES_PER_S
from data_prep.refused import Refused
from data_prep.shards import Corpus
from data_prep.spectrogram import BANDS

EXCERPT_S = 20.0  # unless --seconds says otherwise
LEAD_S = 1.0  # before the first onset, where it comes late
FIRST = "first"  # stands for the table's first track
SHOWN_IDS = 5
UNSAFE, LONGEST_STEM = re.compile(r"[^\w.+-]+"), 120
PERCENTILES = (5, 25, 50, 75, 95)


def show_track(
    corpus: Corpus,
    asked: str,
    out: Path,
    *,
    from_s: float | None = None,
    seconds: float | None = None,
    click: bool = False,
    source: Path | None = None,
) -> dict[str, Any]:
    """Write a picture of an excerpt of a track and, with ``click``, the whole track with a click on each onset.

    Returns what was shown and where it is, as JSON. Raises Refused as find_track, excerpt and write_clicks do.
    """
    row, classes = find_track(corpus, asked), corpus.manifest.classes
    onsets = onsets_of(corpus, row.id)
    shown = excerpt(row, onsets, from_s, seconds)
    name = f"{row.split} track {row.id!r} of corpus {corpus.manifest.corpus!r}"
    begin_s, end_s = shown.start / FRAMES_PER_S, shown.stop / FRAMES_PER_S
    frames = onset_frames(onsets.times_s)
    inside = onsets[(frames >= shown.start) & (frames < shown.stop)]
    part = "" if shown == slice(0, row.frames) else f", {begin_s:g} to {end_s:g} s with {len(inside):,} of them"
    stem = out / file_stem(corpus.manifest.corpus, row.id)
    picture, clicks = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}-clicks.wav")
    remarks = write_clicks(corpus, row, onsets, clicks, source=source) if click else []
    bands, targets = corpus.frames(row)
    title = f"{name}: {row.seconds:.1f} s, {len(onsets):,} onsets{part}"
    draw_track(picture, title, together(bands[shown]), targets[shown], inside, classes, shown.start)
    counts = np.bincount(onsets.classes, minlength=len(classes)).tolist()
    return {
        **{"corpus": corpus.manifest.corpus, "track": row.id, "split": row.split, "seconds": float(row.seconds)},
        **{"onsets": len(onsets), "classes": dict(zip(classes, counts, strict=True))},
        "excerpt": {"from_s": begin_s, "seconds": end_s - begin_s, "onsets": len(inside)},
        **{"picture": str(picture), "clicks": str(clicks) if click else None, "remarks": remarks},
    }


def together(bands: np.ndarray) -> np.ndarray:
    """(T, S * F) of stems -> (T, F), about what they sound like at once; (T, F) as it is."""
    if bands.shape[1] == BANDS:
        return bands
    magnitudes = 10 ** bands.reshape(len(bands), -1, BANDS).astype(np.float32) - 1
    return np.log10(1 + magnitudes.sum(axis=1))


def show_corpus(corpus: Corpus, out: Path) -> dict[str, Any]:
    """Write a picture of a corpus and return its summary and where the picture is, as JSON."""
    described = summarise(corpus)
    picture = out / f"{corpus.manifest.corpus}.png"
    draw_corpus(picture, described, corpus.tracks)
    return {**described, "picture": str(picture)}


def find_track(corpus: Corpus, asked: str) -> Any:
    """The row of the track of that id, of the only one that begins so, or of the first; Refused where there is none."""
    ids = corpus.tracks["id"]
    begin_so = np.flatnonzero(ids.str.startswith(asked))
    exact = np.flatnonzero(ids == asked)
    found = exact if len(exact) else np.array([0]) if asked == FIRST and len(ids) else begin_so
    if len(found) == 1 and asked:
        return next(corpus.tracks.iloc[found].itertuples())
    what = f"corpus {corpus.manifest.corpus!r} with its {len(ids):,} tracks"
    for entry in corpus.manifest.refused:
        if entry["id"] == asked:
            raise Refused(f"track {asked!r} was left out of {what}, because {entry['reason']}; correct that first")
    if len(begin_so) > 1:
        raise Refused(
            f"{len(begin_so):,} tracks of {what} begin with {asked!r}; give more of the id: "
            f"{_listed(ids.iloc[begin_so[: SHOWN_IDS + 1]].tolist())}"
        )
    raise Refused(
        f"no track {asked!r} in {what}; give an id, the beginning of one, or {FIRST!r}; closest are "
        f"{_listed(_closest(asked, ids.tolist()))}"
    )


def _closest(asked: str, ids: list[str]) -> list[str]:
    """Ids that hold the text, then those that are spelt alike, then the first ones."""
    lower = {track_id.lower(): track_id for track_id in ids}
    holding = [track_id for word, track_id in lower.items() if asked.lower() in word]
    alike = [lower[word] for word in difflib.get_close_matches(asked.lower(), lower, SHOWN_IDS, cutoff=0.4)]
    return list(dict.fromkeys([*holding[:SHOWN_IDS], *alike]))[:SHOWN_IDS] or ids[:SHOWN_IDS]


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:SHOWN_IDS]) + (", ..." if len(ids) > SHOWN_IDS else "")


def onsets_of(corpus: Corpus, track_id: str) -> Onsets:
    """A track's onsets as its targets hold them."""
    table = read_onsets(corpus, ["time_s", "class", "velocity"], [("track", "==", track_id)])
    return Onsets.of(*(table[name].to_numpy() for name in ("time_s", "class", "velocity")))


def excerpt(row: Any, onsets: Onsets, from_s: float | None = None, seconds: float | None = None) -> slice:
    """The frames to show: those asked for, else 20 s from the start, or from the first onset where it comes later."""
    if seconds is not None and not (0 < seconds < math.inf):
        raise Refused(f"--seconds {seconds:g}: expected a number above 0, or no --seconds for {EXCERPT_S:g} s")
    if from_s is not None and not 0 <= from_s < row.seconds:
        raise Refused(
            f"--from {from_s:g}: track {row.id} lasts {row.seconds:.2f} s; expected a time from 0 to before its end"
        )
    length_s = EXCERPT_S if seconds is None else seconds
    if from_s is None:
        first_s = float(onsets.times_s[0]) if len(onsets) else 0.0
        from_s = 0.0 if first_s < length_s else math.floor(first_s - min(LEAD_S, length_s / 2))
    first = min(round(from_s * FRAMES_PER_S), row.frames - 1)
    return slice(first, min(first + max(round(length_s * FRAMES_PER_S), 1), row.frames))


def file_stem(corpus: str, track_id: str) -> str:
    """CORPUS-TRACK with nothing in it that a file system minds."""
    stem = f"{corpus}-{UNSAFE.sub('_', track_id)}"
    if len(stem.encode()) <= LONGEST_STEM:
        return stem
    cut = stem.encode()[: LONGEST_STEM - 9].decode(errors="ignore")
    return f"{cut}-{zlib.crc32(track_id.encode()):08x}"


def summarise(corpus: Corpus) -> dict[str, Any]:
    """What a corpus holds, split by split and in all, as JSON; reads columns of tables, and no shard."""
    manifest, tracks = corpus.manifest, corpus.tracks
    held = tuple(split for split in SPLITS if (tracks["split"] == split).any())
    percentiles = _velocity_percentiles(corpus)
    splits = {
        split: {
            **_summary(manifest, tracks[tracks["split"] == split], (split,)),
            "velocity_percentiles": percentiles[split],
        }
        for split in held
    }
    return {
        **{name: getattr(manifest, name) for name in ("corpus", "title", "licence", "source")},
        **{name: getattr(manifest, name) for name in ("condition", "whole_tracks")},
        "classes": list(manifest.classes),
        "splits": splits,
        "all": _summary(manifest, tracks, held),
        "refused": len(manifest.refused),
        "labels": manifest.labels,
        "unknown_labels": dict(sorted(manifest.unknown_labels.items(), key=lambda item: -item[1])),
        "notes": manifest.notes,
    }


def _summary(manifest: Manifest, tracks: pd.DataFrame, splits: tuple[str, ...]) -> dict[str, Any]:
    """Of some splits together; the tracks are theirs."""
    parts = [manifest.splits[split] for split in splits]
    counts = {name: sum(part.onsets[name] for part in parts) for name in manifest.classes}
    seconds, onsets = sum(part.seconds for part in parts), sum(counts.values())
    minutes = seconds / 60
    lengths = np.quantile(tracks["seconds"], (0, 0.5, 1)).tolist()
    return {
        "tracks": len(tracks),
        "seconds": seconds,
        "windows": sum(part.windows for part in parts),
        "onsets": onsets,
        "onsets_per_minute": onsets / minutes,
        "classes": {
            name: {"onsets": count, "per_minute": count / minutes, "share": count / max(onsets, 1)}
            for name, count in counts.items()
        },
        "track_seconds": dict(zip(("shortest", "median", "longest"), lengths, strict=True)),
    }


def _velocity_percentiles(corpus: Corpus) -> dict[str, dict[str, list[float]]]:
    """Split -> class -> percentiles of its velocities, where some are known."""
    table = read_onsets(corpus, ["track", "class", "velocity"])
    tracks = table["track"].unify_dictionaries().combine_chunks()  # a look-up a track, not one an onset
    split_of = dict(zip(corpus.tracks["id"], corpus.tracks["split"], strict=True))
    splits = np.array([SPLITS.index(split_of[name]) for name in tracks.dictionary.to_pylist()], int)
    split = splits[tracks.indices.to_numpy()]
    classes, velocities = table["class"].to_numpy(), table["velocity"].to_numpy()
    known = np.isfinite(velocities)
    return {
        name: {
            word: np.percentile(of, PERCENTILES).round(4).tolist()
            for index, word in enumerate(corpus.manifest.classes)
            if len(of := velocities[known & (split == number) & (classes == index)])
        }
        for number, name in enumerate(SPLITS)
    }
