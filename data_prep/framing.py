"""A track into frames: bands and targets, with a row for the table of tracks. T frames, F bands, K classes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.corpora.track import Framed, Track
from data_prep.files import checksum, fingerprint
from data_prep.manifest import window_count
from data_prep.onsets import ONSET, Onsets, onset_frames, target_grid
from data_prep.rates import FRAMES_PER_S, SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.spectrogram import log_spectrogram_of

# An annotation of which more lies beyond its audio belongs to another recording.
MAX_BEYOND_END_SHARE = 0.1
LONGEST_S = 8 * 3600


@dataclass(frozen=True)
class FramedTrack:
    """A track in frames.

    bands (T, F) float16, targets (T, K) uint8 halves, onsets as the targets hold them, row: what the table of tracks
    says of it. labels: how many were read; unknown: those that the class map does not know; left_out: what else was.
    """

    bands: np.ndarray
    targets: np.ndarray
    onsets: Onsets
    row: dict[str, Any]
    labels: int
    unknown: Counter[str]
    left_out: Counter[str]


def frame_track(track: Track, classes: int) -> FramedTrack:
    """Read a track and turn it into frames, with ``classes`` columns of targets.

    Raises Refused where the track cannot be used.
    """
    check_names(track)
    heard = track.recording.read()
    if isinstance(heard, Framed):
        frames, of = np.nonzero(heard.targets == ONSET)
        onsets = Onsets.of(frames / FRAMES_PER_S, of)
        row = _row(track, heard.bands, onsets, classes)
        return FramedTrack(heard.bands, heard.targets, onsets, row, len(onsets), Counter(), Counter())
    annotated = heard.annotated
    onsets = annotated.onsets
    if not annotated.labels:
        raise no_onset(track)
    bands = log_spectrogram_of(_at_most(heard.blocks, track))
    beyond = check_ends(track, onsets, len(bands))
    inside = onset_frames(onsets.times_s) < len(bands)
    merged = onsets[inside].merged()
    left_out = annotated.left_out + Counter(
        {"onsets after the end": beyond, "onsets merged with their neighbour": int(inside.sum()) - len(merged)}
    )
    return FramedTrack(
        bands,
        target_grid(merged, len(bands), classes),
        merged,
        _row(track, bands, merged, classes),
        annotated.labels,
        annotated.unknown,
        left_out,
    )


def _at_most(blocks: Iterable[np.ndarray], track: Track) -> Iterator[np.ndarray]:
    samples = 0
    for block in blocks:
        samples += len(block)
        check_length(track, samples)
        yield block


def check_length(track: Track, samples: int) -> None:
    """Refused where the frames, which memory holds, would be more than half a gigabyte."""
    if samples > LONGEST_S * SAMPLE_RATE_HZ:
        raise Refused(f"track {track.id} lasts longer than {LONGEST_S // 3600} hours; expected one piece: cut it")


def check_names(track: Track) -> None:
    """Refused where a name cannot stand in a table."""
    for name in (track.id, *map(str, track.recording.sources)):
        if name.encode(errors="replace").decode() != name:
            raise Refused(f"{name} has a name that is not UTF-8; rename it")


def no_onset(track: Track) -> Refused:
    """What to say of a track without a single label; labels that are no class of the vocabulary are fine."""
    return Refused(
        f"track {track.id} has an annotation without an onset; expected at least one: complete it or remove it"
    )


def check_ends(track: Track, onsets: Onsets, frames: int) -> int:
    """How many onsets lie after the end of the audio; Refused where over 10 % do."""
    beyond = int((onset_frames(onsets.times_s) >= frames).sum())
    if beyond > MAX_BEYOND_END_SHARE * len(onsets):
        raise Refused(
            f"track {track.id} has {beyond} of {len(onsets)} onsets after the end of its audio "
            f"({frames / FRAMES_PER_S:.1f} s, last onset {onsets.times_s[-1]:.1f} s); the annotation "
            "is another recording's: pair them anew"
        )
    return beyond


def _row(track: Track, bands: np.ndarray, onsets: Onsets, classes: int) -> dict[str, Any]:
    sources = track.recording.sources
    return {
        "id": track.id,
        "split": track.split,
        "performance": track.performance,
        "frames": len(bands),
        "windows": window_count(len(bands)),
        "seconds": len(bands) / FRAMES_PER_S,
        "sources": [str(path) for path in sources],
        "checksums": [checksum(path) for path in sources],
        "fingerprint": fingerprint(bands),  # of what is heard, not of the file
        "onsets_per_class": np.bincount(onsets.classes, minlength=classes).tolist(),
    }
