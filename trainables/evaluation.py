"""Scores of a checkpoint on prepared corpora, by two protocols. B batch, T frames, K classes.

`tracks`: whole tracks, windows joined. `segments`: 400-frame pieces scored apart, as the reference study did; a hit
10 ms away across an edge counts there as one false alarm and one miss. A corpus that was published in such pieces has
no whole tracks.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.manifest import SPLITS
from data_prep.onsets import ONSET
from data_prep.refused import Refused, check_known
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.data import SplitData
from trainables.inference import BATCH_WINDOWS, activations, logits_of
from trainables.memory import MemoryGuard
from trainables.metrics import TOLERANCE_MS, Rates, count_hits, join_tracks, macro_f1, micro
from trainables.network import Network, best_device
from trainables.peaks import pick_peaks
from trainables.placement import MappedWindows

FRAMES_AT_ONCE = 1 << 18  # of whole tracks: 44 minutes of music


@dataclass(frozen=True)
class ClassScore:
    """One class: rates, and how many onsets the reference holds."""

    f1: float
    precision: float
    recall: float
    onsets: int


@dataclass(frozen=True)
class Score:
    """A checkpoint's score on one split of a corpus; precision and recall are micro, like micro_f1."""

    corpus: str
    split: str
    protocol: str
    tolerance_ms: int
    micro_f1: float
    macro_f1: float
    precision: float
    recall: float
    tracks: int
    classes: dict[str, ClassScore]

    def to_dict(self) -> dict[str, Any]:
        """Plain scalars and dicts."""
        return asdict(self)


def _tracks(network: Network, data: SplitData, precision: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Activations and reference marks of some tracks at a time, on one time line with silence between, (1, L, K)."""
    of_group = data.frames.cumsum() // FRAMES_AT_ONCE
    for group in np.split(np.arange(len(data.frames)), np.flatnonzero(np.diff(of_group)) + 1):
        tracks = [data.track(number) for number in group]
        found = activations(network, [track.bands for track in tracks], precision)
        yield join_tracks(found), join_tracks([torch.from_numpy(track.targets == ONSET) for track in tracks])


@torch.inference_mode()
def _segments(network: Network, data: SplitData, precision: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Activations and reference marks of a batch of segments, each run apart from its neighbours, (B, 400, K)."""
    device = next(network.parameters()).device
    guard = MemoryGuard(BATCH_WINDOWS[device.type])
    for bands, halves in MappedWindows(data, device).in_order(BATCH_WINDOWS[device.type]):
        logits = guard.run(partial(logits_of, network, bands, precision), len(bands))
        yield logits.sigmoid(), halves == ONSET


PROTOCOLS = {"tracks": _tracks, "segments": _segments}


def check_scoring(corpus: Corpus, split: str, protocol: str | None) -> str:
    """The protocol to score by: the one asked for, else whole tracks where the corpus has them.

    Raises Refused on an unknown split or protocol, and where whole tracks are asked for and there are none.
    """
    check_known("split", split, (*SPLITS, "all"))
    whole_tracks = corpus.manifest.whole_tracks
    protocol = protocol or ("tracks" if whole_tracks else "segments")
    check_known("protocol", protocol, PROTOCOLS)
    if protocol == "tracks" and not whole_tracks:
        raise Refused(
            f"corpus {corpus.manifest.corpus!r} was published in windows and has no whole tracks; score it by the "
            "protocol segments"
        )
    return protocol


def evaluate(
    checkpoint: Checkpoint, corpus: str, shards: Path, *,
    split: str = "test", protocol: str | None = None, device: str | None = None,
) -> Score:  # fmt: skip
    """Score a checkpoint on one split ("all": every track) of a prepared corpus; see check_scoring for the protocol.

    Raises Refused where check_scoring does, and on a corpus that is not prepared or lacks a file, or one whose classes
    or features are not the checkpoint's.
    """
    opened = Corpus.open(shards / corpus)
    protocol = check_scoring(opened, split, protocol)
    for what in ("classes", "features"):
        if getattr(opened.manifest, what) != getattr(checkpoint, what):
            raise Refused(
                f"corpus {corpus!r} has {what} {getattr(opened.manifest, what)}, the checkpoint "
                f"{getattr(checkpoint, what)}; "
                "prepare the corpus anew or choose another checkpoint"
            )
    data = SplitData([opened], split)
    network = checkpoint.network().to(torch.device(device) if device else best_device())
    counts = torch.zeros(len(checkpoint.classes), 3, dtype=torch.int64, device=next(network.parameters()).device)
    for estimated, reference in PROTOCOLS[protocol](network, data, checkpoint.config.settings.precision):
        peaks = pick_peaks(estimated, checkpoint.peak_rule)
        counts += count_hits(peaks, reference.to(counts.device)).sum(dim=0)
    table = counts.cpu().numpy()
    rates = micro(table)
    return Score(
        corpus=corpus,
        split=split,
        protocol=protocol,
        tolerance_ms=TOLERANCE_MS,
        micro_f1=rates.f1,
        macro_f1=macro_f1(table),
        precision=rates.precision,
        recall=rates.recall,
        tracks=len(data.frames),
        classes={
            name: ClassScore(**asdict(Rates.of(row)), onsets=int(row[0] + row[2]))
            for name, row in zip(checkpoint.classes, table, strict=True)
        },
    )
