"""What the errors in one track or segment coincide with, within 50 ms. T frames, K classes, E errors.

An error is of the first kind that fits, in the order of ALARM_KINDS and MISS_KINDS. Those of PARTNERED also say which
other class it was: the nearest in time, the first of equally near ones. What coincides need not be the cause: onsets of
several classes often sound together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.metrics import TOLERANCE_FRAMES

FAINT = 0.1  # the least activation that is something
ALARM_KINDS = {
    "double": "an onset of the same class, which another peak has found",
    "confused": "a missed onset of another class",
    "along": "a found onset of another class",
    "rise": "no annotated onset, but a rise of energy",
    "nothing": "neither an annotated onset nor a rise of energy",
}
MISS_KINDS = {
    "merged": "a peak of the same class that counts for another onset of it",
    "unpicked": "an activation above the threshold that the peak rule passes over",
    "confused": "a false alarm of another class",
    "faint": f"a peak of its own activation below the threshold, at least {FAINT:g}",
    "masked": "a rightly heard onset of another class, and nothing of its own",
    "unheard": "nothing",
}
PARTNERED = ("confused", "along", "masked")


@dataclass(frozen=True)
class Row:
    """A track or segment: activations (T, K), rises of energy (T,) bool, and onsets as tables (T, K) bool.

    hits, alarms: heard rightly and wrongly. found, missed: annotated and found, annotated and missed.
    """

    activations: np.ndarray
    rises: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    found: np.ndarray
    missed: np.ndarray


@dataclass(frozen=True)
class Explained:
    """Errors (E,): the class of each, the number of its kind, and the other class, or K for none."""

    classes: np.ndarray
    kinds: np.ndarray
    others: np.ndarray

    def counts(self, kinds: int, classes: int) -> np.ndarray:
        """(K, kinds, K + 1) how many of each."""
        shape = (classes, kinds, classes + 1)
        places = np.ravel_multi_index((self.classes, self.kinds, self.others), shape)
        return np.bincount(places, minlength=np.prod(shape)).reshape(shape)


def explain_alarms(row: Row) -> Explained:
    """What each false alarm coincides with; kinds are numbered as in ALARM_KINDS."""
    found, missed = frames_apart(row.found), frames_apart(row.missed)
    at, of = np.nonzero(row.alarms)
    confused, confused_at = _nearest_other(missed[at], of)
    along, along_at = _nearest_other(found[at], of)
    risen = frames_apart(row.rises[:, None])[at, 0]
    fits = [np.minimum(found, missed)[at, of], confused_at, along_at, risen, np.zeros(len(at))]
    return _first_kind(of, fits, {1: confused, 2: along}, row.alarms.shape[1])


def explain_misses(row: Row, thresholds: Sequence[float]) -> Explained:
    """What each missed onset coincides with; kinds are numbered as in MISS_KINDS."""
    values = np.pad(row.activations, ((1, 1), (0, 0)))
    peaks = (row.activations >= np.maximum(values[:-2], values[2:])) & (row.activations >= FAINT)
    passed_over = peaks & (row.activations >= np.asarray(thresholds, row.activations.dtype)) & ~row.hits & ~row.alarms
    at, of = np.nonzero(row.missed)
    confused, confused_at = _nearest_other(frames_apart(row.alarms)[at], of)
    masked, masked_at = _nearest_other(frames_apart(row.hits)[at], of)
    merged, unpicked, faint = (frames_apart(marks)[at, of] for marks in (row.hits | row.alarms, passed_over, peaks))
    fits = [merged, unpicked, confused_at, faint, masked_at, np.zeros(len(at))]
    return _first_kind(of, fits, {2: confused, 4: masked}, row.missed.shape[1])


def frames_apart(marks: np.ndarray) -> np.ndarray:
    """(T, K) bool -> (T, K) how many frames away the nearest is, at most one more than the tolerance."""
    apart = np.full(marks.shape, TOLERANCE_FRAMES + 1)
    for frames in range(TOLERANCE_FRAMES, 0, -1):
        apart[frames:][marks[:-frames]] = frames
        apart[:-frames][marks[frames:]] = frames
    apart[marks] = 0
    return apart


def _nearest_other(apart: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of distances (E, K), which class but the own (E,) is nearest, and how far away it is, (E,) each."""
    apart = apart.copy()
    apart[np.arange(len(own)), own] = TOLERANCE_FRAMES + 1
    return apart.argmin(axis=1), apart.min(axis=1)


def _first_kind(of: np.ndarray, fits: list[np.ndarray], others: dict[int, np.ndarray], classes: int) -> Explained:
    """The first kind whose distance (E,) is within the tolerance, and of some kinds the other class (E,)."""
    kinds = (np.stack(fits) <= TOLERANCE_FRAMES).argmax(axis=0)
    partners = np.full(len(of), classes)
    for kind, other in others.items():
        partners = np.where(kinds == kind, other, partners)
    return Explained(of, kinds, partners)
