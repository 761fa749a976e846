"""What a preparation will take, told before it begins: tracks, audio, space on the disk, and time."""

import os
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, printable

if TYPE_CHECKING:
    from data_prep.corpora import PrepOptions, Track

TRIED = 3  # tracks that are prepared, in memory, to see how fast that goes
MOST_HEADERS = 2000  # files that are opened to see how long they are; more are counted by their mean
TRIED_S = 20.0


@dataclass(frozen=True)
class PrepForecast:
    """What a preparation takes; None where it cannot be known before.

    ``seconds_of_audio``: of all tracks. ``times_real_time``: of one worker, by a few tracks that were prepared in
    memory. ``seconds``: with all workers.
    """

    corpus: str
    title: str
    place: str
    is_prepared: bool
    tracks: dict[str, int]
    seconds_of_audio: float | None
    bytes: int | None
    free_bytes: int | None
    workers: int
    times_real_time: float | None
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"dry_run": True, **asdict(self)}


def forecast(corpus: str, source: Path | None, shards: str | Path, options: "PrepOptions") -> PrepForecast:
    """What preparing would take; nothing is written. Refused where it could not begin."""
    from data_prep.classes import VOCABULARIES
    from data_prep.job import plan
    from data_prep.manifest import MANIFEST
    from data_prep.options import prepared_name
    from data_prep.rates import FRAMES_PER_S
    from data_prep.shards import bytes_a_frame
    from data_prep.spectrogram import BANDS
    from data_prep.storage import Storage

    described, source, options, tracks = plan(corpus, source, options)
    name, store = prepared_name(corpus, options), Storage.at(shards)
    known = [seconds for track in _spread_out(tracks, MOST_HEADERS) if (seconds := seconds_of(track)) is not None]
    speed, lengths = tried(_spread_out(tracks, TRIED), options.classes)
    mean_s = statistics.fmean(known or lengths) if known or lengths else None
    audio_s = None if mean_s is None else mean_s * len(tracks)
    workers = min(options.workers or len(os.sched_getaffinity(0)), len(tracks))
    a_second = FRAMES_PER_S * bytes_a_frame(BANDS * described.stems, len(VOCABULARIES[options.classes]))
    counted = Counter(track.split for track in tracks)
    return PrepForecast(
        corpus=name, title=described.title, place=f"{str(shards).rstrip('/')}/{name}",
        is_prepared=(store / name).exists(MANIFEST), tracks=dict(counted), seconds_of_audio=audio_s,
        bytes=None if audio_s is None else round(audio_s * a_second),
        free_bytes=_free(store.path) if store.is_local else None, workers=workers, times_real_time=speed,
        seconds=None if audio_s is None or speed is None else audio_s / speed / workers,
    )  # fmt: skip


def seconds_of(track: "Track") -> float | None:
    """How long a track is, by the corpus or by the header of its audio; None where neither says so."""
    import soundfile

    if track.seconds is not None:
        return track.seconds
    if not track.recording.audio:
        return None
    try:
        return float(soundfile.info(track.recording.audio[0]).duration)
    except (OSError, RuntimeError):  # the preparation will say what is wrong with it
        return None


def tried(tracks: "Sequence[Track]", classes: int) -> tuple[float | None, list[float]]:
    """How many times faster than real time some tracks are prepared here, in memory, and their lengths in seconds."""
    from data_prep.framing import frame_track
    from data_prep.rates import FRAMES_PER_S

    took_s, lengths = 0.0, list[float]()
    for track in tracks:
        began = time.perf_counter()
        try:
            frames = len(frame_track(track, classes).bands)
        except (Refused, OSError):
            continue
        took_s += time.perf_counter() - began
        lengths.append(frames / FRAMES_PER_S)
        if took_s > TRIED_S:
            break
    return (sum(lengths) / took_s if took_s else None), lengths


def _spread_out(tracks: "Sequence[Track]", most: int) -> "list[Track]":
    """So many of the tracks at most, evenly from first to last."""
    step = max(len(tracks) / most, 1.0)
    return [tracks[int(number * step)] for number in range(min(most, len(tracks)))]


def _free(folder: Path) -> int:
    """Free bytes where the folder is, or would be."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def lines(found: PrepForecast) -> list[str]:
    """A forecast for people."""
    from tuner.forecast import in_time

    splits = ", ".join(f"{split} {count:,}" for split, count in found.tracks.items())
    audio = "not known before it is rendered" if found.seconds_of_audio is None else in_time(found.seconds_of_audio)
    said = [
        f"corpus {found.corpus} ({found.title}) would be prepared into {found.place}",
        f"  tracks   {sum(found.tracks.values()):,} ({splits})",
        f"  audio    {audio}",
    ]
    if found.bytes is not None:
        free = "" if found.free_bytes is None else f", of {found.free_bytes / 1e9:,.1f} GB free there"
        said.append(f"  disk     about {in_bytes(found.bytes)}{free}")
    if found.seconds is None or found.times_real_time is None:
        said.append("  time     not known: none of the tracks that were tried could be prepared; see --check")
    else:
        said += [
            f"  time     about {in_time(found.seconds)} with {found.workers} workers, besides the start of Ray",
            f"           {found.times_real_time:,.0f} times real time each, as tracks tried on this machine show",
        ]
    if found.is_prepared:
        said.append("  it is prepared there already: what did not change since is kept, and this takes less")
    return [*map(printable, said), "nothing was written; leave out --dry-run to begin"]


def in_bytes(count: int) -> str:
    """A size: "12 MB"."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
