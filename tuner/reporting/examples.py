"""Validation windows as the best checkpoint hears them: the best, the median and the worst of those looked at.

W windows, T frames, F bands, K classes.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.refused import Refused, printable
from tuner.reporting.corpora import opened
from tuner.reporting.gather import Gathered, text
from tuner.telling import first_line

if TYPE_CHECKING:
    from torch import Tensor

    from data_prep.shards import Corpus
    from data_prep.transfer import Progress
    from trainables.checkpoint import Checkpoint
    from trainables.data import SplitData
    from trainables.tasks import Task
    from tuner.records import TrialRecord

MOST_WINDOWS = 64  # that are looked at, evenly spread over the validation split
FEWEST_WINDOWS, QUICK_PARAMETERS = 12, 4_000_000  # of larger networks fewer: people wait for the page
FEWEST_ONSETS = 4  # of a window that is shown, where there are such
TICKS_HZ = (50, 200, 1_000, 5_000)
COLOUR_MAP = "magma"


@dataclass(frozen=True)
class Examples:
    """Windows to show, or a ``note`` why there are none; ``about`` says of how many they were chosen."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    about: str = ""
    note: str = ""


def examples_of(sweep: Gathered, shards: str | Path | None, progress: "Progress | None" = None) -> Examples:
    """Listen to validation windows with the best checkpoint; whatever is in the way of that is told in a note.

    ``shards``: where the sweep's corpora are; they are fetched, and ``progress`` told, where that is an object store.
    None: where they were when it began; then nothing is fetched for the sake of a few windows.
    """
    try:
        if sweep.best is None or not sweep.best.checkpoint:
            return Examples(note="No trial has left a checkpoint yet.")
        return _examples(sweep, sweep.best, opened(sweep, shards, progress))
    except Exception as error:
        why = str(error) if isinstance(error, Refused) else first_line(error)
        return Examples(note=f"Left out: {text(why)}.")


def _examples(sweep: Gathered, best: "TrialRecord", corpora: "Sequence[Corpus]") -> Examples:
    from trainables.checkpoint import Checkpoint
    from trainables.data import MIXED, SplitData
    from trainables.evaluation import check_classes
    from trainables.tasks import find_task

    corpora = [of for of in corpora if of.manifest.condition not in MIXED]
    with (sweep.folder / best.id / best.checkpoint).local() as folder:
        checkpoint = Checkpoint.load(folder)
    task = find_task(checkpoint.config.task)
    if task.targets != "onsets":
        return Examples(note=f"The task {task.name} has {task.targets} for targets, which are not drawn.")
    for corpus in corpora:
        check_classes(checkpoint, corpus)
    data = SplitData(corpora, "validation")
    most = max(FEWEST_WINDOWS, min(MOST_WINDOWS, MOST_WINDOWS * QUICK_PARAMETERS // checkpoint.parameters))
    looked_at = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int))
    heard = _hear(checkpoint, task, data, looked_at)
    chosen = heard.chosen(task.mode)
    if not chosen:
        return Examples(note="None of the validation windows looked at has an onset.")
    ids = _track_ids(corpora)
    shown = [
        {"what": what, "corpus": ids[track][0], "track": ids[track][1], **heard.drawn(place, checkpoint)}
        for what, place in chosen.items()
        for track in [int(data.in_order.tracks[looked_at[place]])]
    ]
    every = "all" if len(looked_at) == len(data) else f"{len(looked_at):,} of the"
    spread = "" if len(looked_at) == len(data) else ", evenly spread"
    about = f"Chosen among {every} {len(data):,} windows of the validation split{spread}, each heard by itself."
    return Examples(shown, about)


def _track_ids(corpora: "Sequence[Corpus]") -> list[tuple[str, str]]:
    """Corpus and id of the validation split's tracks, in the order of `SplitData`."""
    from pyarrow import compute

    found = []
    for corpus in corpora:
        table = corpus.table.select(["id", "split"])
        ids = table.filter(compute.equal(table["split"], "validation"))["id"].to_pylist()
        found += [(printable(corpus.manifest.corpus), text(of)) for of in ids]
    return found


@dataclass(frozen=True)
class _Heard:
    """Windows (W, T, F) float16, targets (W, T, K) halves, activations (W, T, K), each one's score and first frame."""

    bands: "Tensor"
    targets: "Tensor"
    activations: "Tensor"
    scores: list[float]
    starts: np.ndarray
    frames: np.ndarray

    def chosen(self, mode: str) -> dict[str, int]:
        """Places of the best, the median and the worst window; of equal ones that with the most onsets."""
        from data_prep.onsets import ONSET

        onsets = (self.targets == ONSET).sum(dim=(1, 2)).tolist()
        least = FEWEST_ONSETS if max(onsets) >= FEWEST_ONSETS else 1
        sign = 1 if mode == "max" else -1
        held = [place for place, count in enumerate(onsets) if count >= least]
        order = sorted(held, key=lambda place: (-sign * self.scores[place], -onsets[place]))
        if not order:
            return {}
        found = {"best": order[0]}
        if len(order) > 2:
            found["median"] = order[len(order) // 2]
        if len(order) > 1:  # of the equally bad the one with the most onsets, too
            lowest = self.scores[order[-1]]
            found["worst"] = next(place for place in order if self.scores[place] == lowest)
        return {what: place for what, place in found.items() if what == "best" or place != found["best"]}

    def drawn(self, place: int, checkpoint: "Checkpoint") -> dict[str, Any]:
        """A window for the page: picture, activations, and what is annotated and found, in seconds."""
        from data_prep.colours import colours_of
        from data_prep.onsets import ONSET
        from data_prep.rates import FRAMES_PER_S
        from trainables.metrics import TOLERANCE_FRAMES, TOLERANCE_MS, Events, match
        from trainables.peaks import pick_peaks

        frames, classes = int(self.frames[place]), checkpoint.classes
        activations, rule = self.activations[place][:frames], checkpoint.peak_rule
        marks = pick_peaks(activations.unsqueeze(0), rule).marks()[0].cpu().numpy()
        found, marked = (
            Events(np.zeros(len(at), np.int64), of, at)
            for at, of in map(np.nonzero, (marks, (self.targets[place][:frames] == ONSET).numpy()))
        )
        taken = match(found, marked, TOLERANCE_FRAMES)
        hit = np.isin(np.arange(len(marked)), taken)
        rows = [
            {
                "name": text(name),
                "colour": colour,
                "threshold": threshold,
                "activation": [round(float(of), 3) for of in activations[:, number]],
                "hits": _seconds(found.times[(taken >= 0) & (found.classes == number)], FRAMES_PER_S),
                "false_alarms": _seconds(found.times[(taken < 0) & (found.classes == number)], FRAMES_PER_S),
                "annotated": _seconds(marked.times[hit & (marked.classes == number)], FRAMES_PER_S),
                "missed": _seconds(marked.times[~hit & (marked.classes == number)], FRAMES_PER_S),
            }
            for number, (name, colour, threshold) in enumerate(
                zip(classes, colours_of(classes), rule.thresholds_of(len(classes)), strict=True)
            )
        ]
        bands = self.bands[place][:frames].float().numpy()
        return {
            "score": round(self.scores[place], 4),
            "starts_s": float(self.starts[place]) / FRAMES_PER_S,
            "seconds": frames / FRAMES_PER_S,
            "frames_per_s": FRAMES_PER_S,
            "tolerance_ms": TOLERANCE_MS,
            "onsets": len(marked),
            "bands": bands.shape[1],
            "ticks": _ticks(bands.shape[1]),
            "picture": _picture(bands),
            "rows": rows,
        }


def _seconds(frames: np.ndarray, frames_per_s: int) -> list[float]:
    return [round(float(frame) / frames_per_s, 3) for frame in np.sort(frames)]


def _hear(checkpoint: "Checkpoint", task: "Task", data: "SplitData", looked_at: np.ndarray) -> _Heard:
    """What the network makes of some windows, and the task's score of each, with silence around it."""
    import torch

    from trainables.data import Spans
    from trainables.inference import AS_IT_IS, BATCH_WINDOWS, probabilities_of
    from trainables.metrics import SILENT_FRAMES
    from trainables.network import best_device

    spans = Spans(*(of[looked_at] for of in data.in_order))
    bands, targets = data.read(spans)
    frames = np.minimum(data.frames[spans.tracks] - spans.starts, bands.shape[1])
    device = best_device()
    network, precision = checkpoint.network().to(device), checkpoint.config.settings.precision
    with torch.inference_mode():
        size = BATCH_WINDOWS[device.type]
        activations = probabilities_of(network, bands.to(device), precision, AS_IT_IS, size).cpu()
        around: Callable[[Tensor], Tensor] = torch.nn.ZeroPad2d((0, 0, SILENT_FRAMES, SILENT_FRAMES))
        scores = [
            task.score(around(of[:length]), around(marked[:length]), checkpoint.classes, checkpoint.peak_rule)
            for of, marked, length in zip(activations, targets, frames.tolist(), strict=True)
        ]
    return _Heard(bands, targets, activations, [of[task.metric] for of in scores], spans.starts, frames)


def _ticks(bands: int) -> list[list[float | str]]:
    """Places and texts of the frequency axis; none where the bands are not those of the front end."""
    from data_prep.rates import SAMPLE_RATE_HZ
    from data_prep.spectrogram import FFT_SAMPLES, filterbank

    centres_hz = filterbank().argmax(axis=1) * SAMPLE_RATE_HZ / FFT_SAMPLES
    if len(centres_hz) != bands:
        return []
    at = np.interp(np.log(TICKS_HZ), np.log(centres_hz), np.arange(bands))
    words = (f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in TICKS_HZ)
    return [[round(float(place), 2), word] for place, word in zip(at, words, strict=True)]


def _picture(bands: np.ndarray) -> str:
    """Bands (T, F) as a PNG in a data URI, low frequencies below."""
    from matplotlib.image import imsave

    written = BytesIO()
    imsave(
        written, bands.T, cmap=COLOUR_MAP, origin="lower", format="png", vmin=0.0, vmax=max(float(bands.max()), 1e-3)
    )
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()
