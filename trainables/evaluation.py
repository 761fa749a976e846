"""Scores of a checkpoint on prepared corpora, by two protocols. T frames, K classes.

`tracks`: whole tracks, windows joined. `segments`: 400-frame pieces scored apart, as the reference study did; a hit
10 ms away across an edge counts there as one false alarm and one miss.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from data_prep.manifest import SPLITS, WINDOW_FRAMES
from data_prep.onsets import ONSET
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.checkpoint import Checkpoint
from trainables.inference import activations
from trainables.loop import EVALUATION_BATCH
from trainables.metrics import TOLERANCE_MS, Rates, count_hits, join_tracks, macro_f1, micro
from trainables.network import Network, autocast, best_device
from trainables.peaks import find_peaks

PROTOCOLS = ("tracks", "segments")


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


def evaluate(
    checkpoint: Checkpoint, corpus: str, shards: Path, *,
    split: str = "test", protocol: str = "tracks", device: str | None = None,
) -> Score:  # fmt: skip
    """Score a checkpoint on one split ("all": every track) of a prepared corpus.

    Raises Refused on an unknown split or protocol, a corpus that is not prepared or lacks a file, or one whose classes
    or features are not the checkpoint's.
    """
    if protocol not in PROTOCOLS:
        raise Refused(f"unknown protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    if split not in (*SPLITS, "all"):
        raise Refused(f"unknown split {split!r}; choose from {', '.join((*SPLITS, 'all'))}")
    opened = Corpus.open(shards / corpus)
    for what in ("classes", "features"):
        if getattr(opened.manifest, what) != getattr(checkpoint, what):
            raise Refused(
                f"corpus {corpus!r} has {what} {getattr(opened.manifest, what)}, the checkpoint "
                f"{getattr(checkpoint, what)}; "
                "prepare the corpus anew or choose another checkpoint"
            )
    rows = opened.rows(split)
    network = checkpoint.network().to(torch.device(device) if device else best_device())
    precision = checkpoint.config.settings.precision
    counts = torch.zeros(len(checkpoint.classes), 3, dtype=torch.int64)
    for frames in (opened.frames(row) for row in rows.itertuples()):
        bands, halves = frames
        reference = torch.from_numpy(halves == ONSET)
        if protocol == "tracks":
            estimated = join_tracks(activations(network, [bands], precision))
            reference = join_tracks([reference])
        else:
            estimated, reference = _segments(network, bands, precision), _cut(reference)
        peaks = find_peaks(estimated, checkpoint.peak_rule)
        counts += count_hits(peaks, reference.to(peaks.device)).sum(dim=0).cpu()
    table = counts.numpy()
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
        tracks=len(rows),
        classes={
            name: ClassScore(**asdict(Rates.of(row)), onsets=int(row[0] + row[2]))
            for name, row in zip(checkpoint.classes, table, strict=True)
        },
    )


def _cut(frames: Tensor) -> Tensor:
    """(T, K) -> (segments, 400, K), the last one filled up with zeros."""
    missing = -len(frames) % WINDOW_FRAMES
    return functional.pad(frames, (0, 0, 0, missing)).unflatten(0, (-1, WINDOW_FRAMES))


@torch.inference_mode()
def _segments(network: Network, bands: Any, precision: str) -> Tensor:
    """Activations of each segment, run apart from its neighbours: (T, F) -> (segments, 400, K)."""
    device = next(network.parameters()).device
    outputs = []
    for batch in _cut(torch.from_numpy(bands.astype("float32"))).split(EVALUATION_BATCH):
        with autocast(device, precision):
            outputs.append(network(batch.to(device)).float().sigmoid())
    return torch.cat(outputs)
