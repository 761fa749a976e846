"""A checkpoint's peak rule tuned anew on prepared corpora, and what it gains. T frames, K classes.

What a rule scores on the very tracks it was tuned on flatters it, so it is told beside it what rules score that were
tuned on one half of the performances and applied to the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pyarrow import compute
from torch import Tensor

from data_prep.onsets import ONSET
from data_prep.shards import Corpus
from trainables.calibration import calibrate
from trainables.checkpoint import Checkpoint
from trainables.config import check_between
from trainables.data import SplitData
from trainables.inference import AS_IT_IS, activations
from trainables.metrics import count_hits, join_tracks
from trainables.network import best_device
from trainables.peaks import STUDY_RULE, PeakRule, pick_peaks


@dataclass(frozen=True)
class Recalibration:
    """The rule found, and counts (K, 3) by the study's rule, by the one before, by it, and held out.

    held_out: of rules that were tuned on the other half of the performances; None where there is one performance.
    """

    rule: PeakRule
    tracks: int
    plain: np.ndarray
    before: np.ndarray
    after: np.ndarray
    held_out: np.ndarray | None


@dataclass(frozen=True)
class _Heard:
    """Activations (T_i, K) and marks (T_i, K) of some tracks."""

    activations: list[Tensor]
    marks: list[Tensor]

    def line(self) -> tuple[Tensor, Tensor]:
        """All on one time line, (L, K) each."""
        return join_tracks(self.activations)[0], join_tracks(self.marks)[0]

    def counts(self, rule: PeakRule) -> np.ndarray:
        """(K, 3) hits, false alarms, misses by a rule."""
        found, marks = (of.unsqueeze(0) for of in self.line())
        return count_hits(pick_peaks(found, rule), marks)[0].cpu().numpy()

    def only(self, chosen: np.ndarray) -> "_Heard":
        """The tracks where ``chosen`` (tracks,) is True."""
        numbers = np.flatnonzero(chosen).tolist()
        return _Heard([self.activations[number] for number in numbers], [self.marks[number] for number in numbers])


@torch.inference_mode()
def recalibrate(
    checkpoint: Checkpoint, corpora: Sequence[Corpus], split: str = "validation",
    gains_db: Sequence[float] = AS_IT_IS, device: str | None = None, trust: float = 1.0,
) -> Recalibration:  # fmt: skip
    """Tune a checkpoint's rule on one split ("all": every track) of some corpora of its classes and features.

    Activations are means over ``gains_db``. ``trust``: see trusted. Raises Refused where a corpus lacks the split, or a
    shard a track.
    """
    data = SplitData(corpora, split)
    network = checkpoint.network().to(torch.device(device) if device else best_device())
    tracks = [data.track(number) for number in range(len(data.frames))]
    found = activations(network, [track.bands for track in tracks], checkpoint.config.settings.precision, gains_db)
    marks = [torch.from_numpy(track.targets == ONSET).to(of.device) for track, of in zip(tracks, found, strict=True)]
    heard = _Heard(found, marks)
    rule = trusted(calibrate(*heard.line(), checkpoint.peak_rule), trust, len(checkpoint.classes))
    return Recalibration(
        rule=rule,
        tracks=len(tracks),
        plain=heard.counts(STUDY_RULE),
        before=heard.counts(checkpoint.peak_rule),
        after=heard.counts(rule),
        held_out=_held_out(heard, _performances(corpora, split), trust),
    )


def trusted(rule: PeakRule, trust: float, classes: int) -> PeakRule:
    """The rule with thresholds ``trust`` of the way from the study's to its own.

    Thresholds tuned on one kit gain little on another, and may lose (LOG.md): half of the way keeps most of the gain on
    the one and loses less on the other. Raises Refused unless trust is from 0 to 1.
    """
    check_between("trust", trust, 0, 1)
    if trust == 1:
        return rule
    middle = STUDY_RULE.threshold
    thresholds = (round(middle + trust * (of - middle), 4) for of in rule.thresholds_of(classes))
    return replace(rule, thresholds=tuple(thresholds))


def _held_out(heard: _Heard, performances: np.ndarray, trust: float = 1.0) -> np.ndarray | None:
    """Counts (K, 3) of every track by a rule tuned on the other half of the performances, from the study's rule on."""
    if performances.max() < 1:
        return None
    one, other = (heard.only(performances % 2 == half) for half in (0, 1))
    rules = (trusted(calibrate(*of.line()), trust, heard.marks[0].shape[1]) for of in (one, other))
    return other.counts(next(rules)) + one.counts(next(rules))


def _performances(corpora: Sequence[Corpus], split: str) -> np.ndarray:
    """(tracks,) the number of each track's performance, in the order of SplitData's tracks."""
    names = []
    for corpus in corpora:
        table = corpus.table.select(["split", "performance"])
        if split != "all":
            table = table.filter(compute.equal(table["split"], split))
        names += [(str(corpus.folder), performance) for performance in table["performance"].to_pylist()]
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names])
