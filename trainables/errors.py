"""The errors of a checkpoint on prepared corpora, by what they coincide with. T frames, K classes, N onsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.onsets import onset_frames
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.coincidence import ALARM_KINDS, MISS_KINDS, PARTNERED, Row, explain_alarms, explain_misses, frames_apart
from trainables.evaluation import check_classes, check_scoring, is_calibrated
from trainables.inference import AS_IT_IS
from trainables.listening import Scored
from trainables.metrics import TOLERANCE_FRAMES, TOLERANCE_MS, Events, match
from trainables.network import best_device
from trainables.peaks import PeakRule
from trainables.rises import rises

QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Errors:
    """The errors on one split of a corpus; each class's as JSON: see _of_class.

    rise_by_chance: the share of moments without an annotated onset within 50 ms that have a rise of energy there.
    """

    corpus: str
    split: str
    protocol: str
    tolerance_ms: int
    tracks: int
    calibrated: bool
    rise_by_chance: float
    classes: dict[str, dict[str, Any]]


def find_errors(
    checkpoint: Checkpoint, corpus: str, shards: Path, *,
    split: str = "test", protocol: str | None = None, device: str | None = None,
    rule: PeakRule | None = None, gains_db: Sequence[float] = AS_IT_IS,
) -> Errors:  # fmt: skip
    """What goes wrong on one split of a prepared corpus; arguments, counts and refusals are those of evaluate."""
    opened = Corpus.open(shards / corpus)
    protocol = check_scoring(opened, split, protocol)
    check_classes(checkpoint, opened)
    rule, classes = rule or checkpoint.peak_rule, len(checkpoint.classes)
    scored = Scored.of(opened, split, protocol)
    network = checkpoint.network().to(torch.device(device) if device else best_device())
    marked = scored.marked()
    is_missed = np.ones(len(marked), bool)
    alarms = np.zeros((classes, len(ALARM_KINDS), classes + 1), np.int64)
    misses = np.zeros((classes, len(MISS_KINDS), classes + 1), np.int64)
    track, of_track, quiet = -1, np.zeros(0, bool), np.zeros(2, np.int64)
    for heard in scored.hear(network, checkpoint.config.settings.precision, gains_db):
        estimated = heard.onsets(rule)
        here = np.flatnonzero((marked.rows >= heard.first_row) & (marked.rows < heard.first_row + len(heard.begins)))
        taken = match(estimated, marked[here], TOLERANCE_FRAMES)
        is_hit = taken >= 0
        is_missed[here[taken[is_hit]]] = False
        own, missing = marked[here], is_missed[here]
        lists = (estimated[is_hit], estimated[~is_hit], own[~missing], own[missing])
        for number, activations in heard.rows():
            if scored.rows.tracks[number] != track:
                track = int(scored.rows.tracks[number])
                of_track = rises(scored.data.track(track).bands)
            risen = np.zeros(len(activations), bool)
            piece = of_track[scored.rows.starts[number] :][: len(activations)]
            risen[: len(piece)] = piece
            row = Row(activations, risen, *(_table(of, number, activations.shape) for of in lists))
            quiet += _quiet(row, len(piece))
            alarms += explain_alarms(row).counts(len(ALARM_KINDS), classes)
            misses += explain_misses(row, rule.thresholds_of(classes)).counts(len(MISS_KINDS), classes)
    velocities = _velocities(marked, *scored.exact(opened))
    return Errors(
        corpus=corpus,
        split=split,
        protocol=protocol,
        tolerance_ms=TOLERANCE_MS,
        tracks=len(scored.ids),
        calibrated=is_calibrated(checkpoint, rule),
        rise_by_chance=float(quiet[1] / max(quiet[0], 1)),
        classes={
            name: {
                "onsets": int(of.sum()),
                **_of_class(number, checkpoint.classes, alarms[number], misses[number]),
                "loudness": _by_loudness(velocities[of], is_missed[of]),
            }
            for number, name in enumerate(checkpoint.classes)
            for of in [marked.classes == number]
        },
    )


def _quiet(row: Row, frames: int) -> np.ndarray:
    """(2,) how many of the first frames are not near an annotated onset, and how many of these are near a rise."""
    away = frames_apart((row.found | row.missed).any(axis=1, keepdims=True))[:frames, 0] > TOLERANCE_FRAMES
    risen = frames_apart(row.rises[:, None])[:frames, 0] <= TOLERANCE_FRAMES
    return np.array([away.sum(), (away & risen).sum()])


def _table(events: Events, row: int, shape: tuple[int, ...]) -> np.ndarray:
    """(T, K) bool of one row's onsets."""
    marks, own = np.zeros(shape, bool), events.rows == row
    marks[events.times[own], events.classes[own]] = True
    return marks


def _of_class(number: int, classes: Sequence[str], alarms: np.ndarray, misses: np.ndarray) -> dict[str, Any]:
    """False alarms and misses by kind, from (kinds, K + 1) each: a count, or counts by the other class."""

    def by_kind(counts: np.ndarray, kinds: Sequence[str]) -> dict[str, Any]:
        rows = zip(kinds, counts.tolist(), strict=True)
        return {
            kind: {name: row[of] for of, name in enumerate(classes) if of != number} if kind in PARTNERED else row[-1]
            for kind, row in rows
        }

    return {
        "false_alarms": {"count": int(alarms.sum()), **by_kind(alarms, list(ALARM_KINDS))},
        "misses": {"count": int(misses.sum()), **by_kind(misses, list(MISS_KINDS))},
    }


def _velocities(marked: Events, exact: Events, velocities: np.ndarray) -> np.ndarray:
    """(N,) the velocity of each marked onset, NaN where none is known."""
    times = onset_frames(exact.times / 1e6)
    keys = [(of.rows * (1 << 32) + at) * (1 << 10) + of.classes for of, at in ((marked, marked.times), (exact, times))]
    order = np.argsort(keys[1], kind="stable")
    if not len(order):
        return np.full(len(marked), np.nan)
    place = order[np.minimum(keys[1][order].searchsorted(keys[0]), len(order) - 1)]
    return np.where(keys[1][place] == keys[0], velocities[place], np.nan)


def _by_loudness(velocities: np.ndarray, is_missed: np.ndarray) -> list[dict[str, float]] | None:
    """From the softest quarter of a class's onsets to the loudest: velocities, onsets, misses; None where unknown."""
    known = np.isfinite(velocities)
    if not known.any():
        return None
    velocities, is_missed = velocities[known], is_missed[known]
    quarter = np.quantile(velocities, QUARTERS).searchsorted(
        velocities
    )  # of equal ones all are in the lowest they reach
    found = []
    for number in np.unique(quarter):
        of = quarter == number
        low, high = velocities[of].min(), velocities[of].max()
        numbers = {"onsets": int(of.sum()), "misses": int(is_missed[of].sum())}
        found.append({"from": round(float(low), 3), "to": round(float(high), 3), **numbers})
    return found
