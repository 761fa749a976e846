"""Peaks: from activations to onsets. B batch, T frames, K classes, N onsets.

Everything stays on the device of the activations, in whole-tensor operations whose number grows with the logarithm of
N at most. The host waits only for the lengths of lists, once for each list, however long or many the tracks are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.refused import Refused
from trainables.config import Config

MOST_FRAMES = 1000  # that a rule looks at


@dataclass(frozen=True)
class PeakRule(Config):
    """When a frame is an onset: highest of the frames around it, ``delta`` above their mean, at least ``threshold``.

    The rule is Vogl et al.'s (ISMIR 2017, section 3.3), the defaults the reference study's. ``thresholds``, one for
    each class, stand in the place of ``threshold`` where there are any.
    """

    around_frames: int = 2
    delta: float = 0.1
    apart_frames: int = 2  # a peak comes more than this many frames after the one before it
    threshold: float = 0.5
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("around_frames", "apart_frames"):
            if not 0 <= getattr(self, name) <= MOST_FRAMES:
                raise Refused(f"{name} = {str(getattr(self, name))[:40]}; expected 0 to {MOST_FRAMES}")
        numbers = [("delta", self.delta), ("threshold", self.threshold)]
        for name, value in numbers + [("a threshold", value) for value in self.thresholds]:
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise Refused(f"{name} = {repr(value)[:40]}; expected 0 to 1")

    def thresholds_of(self, classes: int) -> tuple[float, ...]:
        """One threshold for each of so many classes; Refused where the rule has them for another number of classes."""
        if self.thresholds and len(self.thresholds) != classes:
            raise Refused(
                f"the peak rule has {len(self.thresholds)} thresholds for {classes} classes; expected one a class: "
                "give a rule that was made for these classes"
            )
        return self.thresholds or (self.threshold,) * classes


STUDY_RULE = PeakRule()


@dataclass(frozen=True)
class OnsetFrames:
    """Where onsets stand in a table (B, T, K), as a sorted list.

    places: (N,) int64, each once and ascending. The table's rows, one for each batch element and class, lie end to
    end: frame t of class k of element b has the place (b K + k) T + t.
    """

    places: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, marks: Tensor) -> "OnsetFrames":
        """From (B, T, K) bool."""
        batch, frames, classes = marks.shape
        return cls(true_places(marks.transpose(1, 2).reshape(-1)), (batch, frames, classes))

    def marks(self) -> Tensor:
        """(B, T, K) bool, True where an onset is."""
        batch, frames, classes = self.shape
        marks = torch.zeros(batch * classes * frames, dtype=torch.bool, device=self.places.device)
        return marks.index_fill_(0, self.places, True).view(batch, classes, frames).transpose(1, 2)


def true_places(flags: Tensor) -> Tensor:
    """(M,) bool -> (N,) int64, ascending; the one operation here whose length the host has to wait for."""
    return flags.nonzero().squeeze(1)


def pick_peaks(activations: Tensor, rule: PeakRule) -> OnsetFrames:
    """(B, T, K) activations in 0..1 -> the frames that hold an onset.

    As in the reference, the distance to a peak "before the first" is counted from frame -1, so the first two frames
    never hold a peak; whole tracks are therefore given some frames of silence first (see metrics.join_tracks).
    """
    reach = rule.around_frames
    batch, frames, classes = activations.shape
    stride = frames + 2 * reach
    rows = torch.zeros(batch, classes, stride, device=activations.device)
    rows[:, :, reach : reach + frames] = activations.transpose(1, 2)
    # as 0.0 and 1.0 first: on a CPU that is several times as quick as a comparison that writes bools
    above = torch.empty_like(rows)
    for number, threshold in enumerate(rule.thresholds_of(classes)):  # numbers, as the host waits for a tensor to go
        torch.ge(rows[:, number], threshold, out=above[:, number])
    loud = above.bool()
    loud[:, :, : reach + rule.apart_frames].fill_(False)
    loud[:, :, reach + frames :].fill_(False)
    at = true_places(loud.view(-1))  # few in a trained network's activations: only these are looked at
    at = at.index_select(0, true_places(stands_out(rows.view(-1), at, rule)))
    # a row's first frames hold no candidate, so none is close to one in the row before
    at = at.index_select(0, true_places(stay_apart(at, rule.apart_frames)))
    row = torch.div(at, stride, rounding_mode="floor")
    return OnsetFrames(at - row * (2 * reach) - reach, (batch, frames, classes))


def find_peaks(activations: Tensor, rule: PeakRule) -> Tensor:
    """(B, T, K) activations in 0..1 -> (B, T, K) bool, True where an onset is; see pick_peaks."""
    return pick_peaks(activations, rule).marks()


def stands_out(line: Tensor, at: Tensor, rule: PeakRule) -> Tensor:
    """(N,) bool: whether the places (N,) hold the highest of the values around them, ``delta`` above their mean."""
    own = line.index_select(0, at)
    highest, mean = surroundings(line, at, rule.around_frames)
    return (own == highest) & (own >= mean + rule.delta)


def surroundings(line: Tensor, at: Tensor, around_frames: int) -> tuple[Tensor, Tensor]:
    """Highest and mean, (N,) each, of the values of a line (M,) within so many frames of the places (N,)."""
    highest = line.index_select(0, at)
    total = torch.zeros_like(highest)
    for offset in range(-around_frames, around_frames + 1):
        value = line.index_select(0, at + offset)
        highest, total = torch.maximum(highest, value), total + value
    return highest, total / (2 * around_frames + 1)


def stay_apart(candidates: Tensor, apart: int) -> Tensor:
    """(N,) bool: the ascending candidates that stay when, from the left, those too close to a kept one are dropped.

    A candidate that is kept says how many after it are to be skipped, those within ``apart``; each of these says one
    less. So each answers to whatever it is told, 0 to ``apart``: a table. Tables one after another are one table, and
    joining each with as many before it as are joined already takes log2 N rounds. Only candidates with a close
    neighbour take part, mostly few: equal maxima side by side.
    """
    kept = candidates.diff(prepend=candidates[:1] - apart - 1) > apart
    crowded = ~kept
    crowded[:-1] |= ~kept[1:]
    at = true_places(crowded)
    places = candidates.index_select(0, at)
    answers = torch.arange(-1, apart, device=at.device).repeat(len(at), 1)
    answers[:, 0].fill_(0)
    for ahead in range(1, apart + 1):
        answers[:-ahead, 0] += places[ahead:] - places[:-ahead] <= apart
    joined = 1
    while joined < len(at):
        answers[joined:] = answers[joined:].gather(1, answers[:-joined])
        joined *= 2
    return kept.index_copy_(0, at[1:], answers[:-1, 0] == 0)  # the first of all stays
