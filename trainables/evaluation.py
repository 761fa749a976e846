"""Scores of a checkpoint on prepared corpora, by two protocols. R rows, K classes.

`tracks`: whole tracks, windows joined. `segments`: 400-frame pieces scored apart, as the reference study did; a hit
10 ms away across an edge counts there as one false alarm and one miss. A corpus that was published in such pieces has
no whole tracks.
The score itself is within 50 ms, matched in whole frames. Within 20, 25 and 30 ms estimates, which stand on the 10 ms
grid, are matched with the annotation's exact times (see metrics). Intervals are over the tracks of one performance
together: recordings of it on other kits say little new.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.manifest import CLEAN, SPLITS
from data_prep.refused import Refused, check_known
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.inference import AS_IT_IS
from trainables.intervals import Interval, f1_intervals
from trainables.listening import PROTOCOLS, Scored
from trainables.metrics import (
    EXACT_TOLERANCES_MS,
    FRAME_US,
    TOLERANCE_FRAMES,
    TOLERANCE_MS,
    Events,
    Rates,
    count_by_row,
    macro_f1,
    micro,
)
from trainables.network import best_device
from trainables.peaks import STUDY_RULE, PeakRule


@dataclass(frozen=True)
class ClassScore:
    """One class: rates, the 95 % interval of its F1 (None: too few tracks), and its onsets in the reference."""

    f1: float
    precision: float
    recall: float
    interval: Interval | None
    onsets: int


@dataclass(frozen=True)
class ToleranceScore:
    """A score within one tolerance; precision and recall are micro, like micro_f1 and its 95 % interval."""

    tolerance_ms: int
    micro_f1: float
    macro_f1: float
    precision: float
    recall: float
    interval: Interval | None
    classes: dict[str, ClassScore]

    @classmethod
    def of(cls, counts: np.ndarray, units: np.ndarray, classes: Sequence[str], tolerance_ms: int) -> "ToleranceScore":
        """From counts (tracks, K, 3), and the number of the unit (tracks,) that each track is drawn with."""
        together = np.zeros((int(units.max()) + 1, *counts.shape[1:]), np.int64)
        np.add.at(together, units, counts)
        table = counts.sum(axis=0)
        rates, (interval, of_classes) = micro(table), f1_intervals(together)
        scores = {
            name: ClassScore(**asdict(Rates.of(row)), interval=of_class, onsets=int(row[0] + row[2]))
            for name, row, of_class in zip(classes, table, of_classes, strict=True)
        }
        return cls(tolerance_ms, rates.f1, macro_f1(table), rates.precision, rates.recall, interval, scores)


@dataclass(frozen=True)
class TrackScore:
    """One track within 50 ms; a class that is neither annotated nor heard in it has no F1."""

    id: str
    micro_f1: float
    precision: float
    recall: float
    onsets: int
    classes: dict[str, float | None]

    @classmethod
    def of(cls, track_id: str, counts: np.ndarray, classes: Sequence[str]) -> "TrackScore":
        """From counts (K, 3)."""
        rates, f1s = micro(counts), [Rates.of(row).f1 if row.any() else None for row in counts]
        onsets = int(counts[:, [0, 2]].sum())
        return cls(track_id, rates.f1, rates.precision, rates.recall, onsets, dict(zip(classes, f1s, strict=True)))


@dataclass(frozen=True)
class Score(ToleranceScore):
    """A checkpoint's score on one split of a corpus, within 50 ms and then within other tolerances.

    calibrated: whether the peaks were picked by a rule that was tuned for this checkpoint, and is stored in it.
    """

    corpus: str
    split: str
    protocol: str
    tracks: int
    calibrated: bool
    peak_rule: dict[str, Any]
    tolerances: list[ToleranceScore]
    by_track: list[TrackScore]

    def to_dict(self, *, by_track: bool = False) -> dict[str, Any]:
        """Plain scalars, lists and dicts; ``by_track`` a row a track as well."""
        first = ("corpus", "split", "protocol", "tolerance_ms")
        content = asdict(self)
        content["peak_rule"]["thresholds"] = list(self.peak_rule["thresholds"])
        if not by_track:
            del content["by_track"]
        return {name: content[name] for name in (*first, *(name for name in content if name not in first))}


def check_scoring(corpus: Corpus, split: str, protocol: str | None) -> str:
    """The protocol to score by: the one asked for, else whole tracks where the corpus has them.

    Raises Refused on an unknown split or protocol, on a corpus of stems or of music, and where whole tracks are asked
    for and there are none.
    """
    check_known("split", split, (*SPLITS, "all"))
    if corpus.manifest.condition != CLEAN:
        raise Refused(
            f"corpus {corpus.manifest.corpus!r} is there for training to mix ({corpus.manifest.condition}), and "
            "nothing in it can be scored; choose one as it was recorded or rendered, for example groove"
        )
    whole_tracks = corpus.manifest.whole_tracks
    protocol = protocol or ("tracks" if whole_tracks else "segments")
    check_known("protocol", protocol, PROTOCOLS)
    if protocol == "tracks" and not whole_tracks:
        raise Refused(
            f"corpus {corpus.manifest.corpus!r} was published in windows and has no whole tracks; score it by the "
            "protocol segments"
        )
    return protocol


def check_classes(checkpoint: Checkpoint, corpus: Corpus) -> None:
    """Refused where a corpus has other classes or features than the checkpoint."""
    for what in ("classes", "features"):
        if getattr(corpus.manifest, what) != getattr(checkpoint, what):
            raise Refused(
                f"corpus {corpus.manifest.corpus!r} has {what} {getattr(corpus.manifest, what)}, the checkpoint "
                f"{getattr(checkpoint, what)}; "
                "prepare the corpus anew or choose another checkpoint"
            )


def is_calibrated(checkpoint: Checkpoint, rule: PeakRule) -> bool:
    """Whether a rule is the checkpoint's own, and tuned."""
    return rule == checkpoint.peak_rule != STUDY_RULE


def evaluate(
    checkpoint: Checkpoint, corpus: str, shards: Path, *,
    split: str = "test", protocol: str | None = None, device: str | None = None,
    rule: PeakRule | None = None, gains_db: Sequence[float] = AS_IT_IS,
) -> Score:  # fmt: skip
    """Score a checkpoint on one split ("all": every track) of a prepared corpus; see check_scoring for the protocol.

    ``rule`` picks peaks in the place of the checkpoint's own; activations are means over ``gains_db``. Raises Refused
    where check_scoring does, and on a corpus that is not prepared or lacks a file, or one whose classes or features are
    not the checkpoint's.
    """
    opened = Corpus.open(shards / corpus)
    protocol = check_scoring(opened, split, protocol)
    check_classes(checkpoint, opened)
    rule = rule or checkpoint.peak_rule
    scored = Scored.of(opened, split, protocol)
    network = checkpoint.network().to(torch.device(device) if device else best_device())
    heard = scored.hear(network, checkpoint.config.settings.precision, gains_db)
    estimated = Events.join([of.onsets(rule) for of in heard])
    counts = _counts(scored, opened, estimated)
    units = np.unique(scored.performances, return_inverse=True)[1]
    classes = checkpoint.classes
    scores = {within: ToleranceScore.of(of, units, classes, within) for within, of in counts.items()}
    return Score(
        **vars(scores[TOLERANCE_MS]),
        corpus=corpus,
        split=split,
        protocol=protocol,
        tracks=len(scored.ids),
        calibrated=is_calibrated(checkpoint, rule),
        peak_rule=asdict(rule),
        tolerances=[scores[within] for within in sorted(scores)],
        by_track=[TrackScore.of(name, of, classes) for name, of in zip(scored.ids, counts[TOLERANCE_MS], strict=True)],
    )


def _counts(scored: Scored, corpus: Corpus, estimated: Events) -> dict[int, np.ndarray]:
    """Tolerance in ms -> (tracks, K, 3) hits, false alarms and misses; estimates in frames."""
    shape = (len(scored.rows.tracks), len(corpus.manifest.classes))
    by_row = {TOLERANCE_MS: count_by_row(estimated, scored.marked(), TOLERANCE_FRAMES, *shape)}
    exact, _ = scored.exact(corpus)
    in_us = Events(estimated.rows, estimated.classes, estimated.times * FRAME_US)
    by_row |= {within: count_by_row(in_us, exact, within * 1000, *shape) for within in EXACT_TOLERANCES_MS}
    by_track = {}
    for within, counts in by_row.items():
        by_track[within] = np.zeros((len(scored.ids), *counts.shape[1:]), np.int64)
        np.add.at(by_track[within], scored.rows.tracks, counts)
    return by_track
