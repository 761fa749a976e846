"""Peaks of a recording that comes as a stream: those of the whole, to the last one. T frames, K classes, N onsets."""

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.metrics import SILENT_FRAMES
from trainables.peaks import PeakRule, stands_out, true_places


class Peaks(NamedTuple):
    """Frames (N,) and classes (N,) of onsets, class by class, and the activations there (N,)."""

    frames: Tensor
    classes: Tensor
    strengths: Tensor


class PeakStream:
    """``find_peaks`` over consecutive activations, with silence before and after the recording as in ``join_tracks``.

    What a rule needs of the frames around a peak is held back until it has come; of the peaks before, only the last one
    of each class can be too close to the next. What a rule finds in the silence itself is no onset.
    """

    def __init__(self, rule: PeakRule, classes: int) -> None:
        self._rule, self._thresholds = rule, rule.thresholds_of(classes)
        self._held = torch.zeros(classes, rule.around_frames + SILENT_FRAMES)
        self._decided = -SILENT_FRAMES  # the first frame that is not decided yet
        # the distance to a peak "before the first" is counted from the frame before the silence, see pick_peaks
        self._last = [-SILENT_FRAMES - 1] * classes

    def feed(self, activations: Tensor) -> Peaks:
        """Activations (T, K) -> the peaks that are certain now, of these frames and of those before them."""
        return self._decide(activations.T.float().cpu())

    def finish(self) -> Peaks:
        """The peaks that were held back at the recording's end."""
        frames = self._decided + self._held.shape[1] - self._rule.around_frames
        found = self._decide(self._held.new_zeros(len(self._held), SILENT_FRAMES + self._rule.around_frames))
        return Peaks(*(of[found.frames < frames] for of in found))

    def _decide(self, more: Tensor) -> Peaks:
        reach = self._rule.around_frames
        self._held = torch.cat((self._held, more), dim=1)
        width = self._held.shape[1]
        count = width - 2 * reach
        if count <= 0:
            return Peaks(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
        loud = torch.zeros(self._held.shape, dtype=torch.bool)
        within = slice(reach, reach + count)
        for row, of, threshold in zip(loud, self._held, self._thresholds, strict=True):
            torch.ge(of[within], threshold, out=row[within])
        line = self._held.reshape(-1)
        at = true_places(loud.view(-1))
        at = at[stands_out(line, at, self._rule)]
        classes = torch.div(at, width, rounding_mode="floor")
        frames = at - classes * width - reach + self._decided
        kept = [
            number
            for number, (frame, of) in enumerate(zip(frames.tolist(), classes.tolist(), strict=True))
            if self._keeps(frame, of) and frame >= 0
        ]
        strengths = line[at]
        self._held = self._held[:, count:].clone()
        self._decided += count
        return Peaks(frames[kept], classes[kept], strengths[kept])

    def _keeps(self, frame: int, of: int) -> bool:
        """Whether a candidate is far enough from the last peak of its class; then it is the last one."""
        if frame - self._last[of] <= self._rule.apart_frames:
            return False
        self._last[of] = frame
        return True
