"""In which order the measures of a score are played: repeats, endings, da capo, dal segno, coda, fine."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PLAYED = 100_000  # measures; a day has some 43,000
MAX_TIMES = 100


class EndlessError(ValueError):
    """More measures are to be played than fit into a day."""


@dataclass
class Marks:
    """What a measure says about where to go on; jumps happen at its end, whatever their place within it."""

    forward: bool = False  # a repeat begins here
    times: int = 1  # how often what ends here is played
    ending: frozenset[int] = frozenset()  # the passes that play it; empty for all
    segno: bool = False
    coda: bool = False
    to_coda: bool = False
    fine: bool = False
    da_capo: bool = False
    dal_segno: bool = False


def playing_order(marks: Sequence[Marks]) -> list[int]:
    """Indices of the measures as they are played.

    After da capo or dal segno repeats are not taken again, of endings the last is played, and fine and to coda count.
    Raises EndlessError.
    """
    lasts, codas = _lasts_and_codas(marks)
    order: list[int] = []
    at, start, passes, leapt = 0, 0, 1, False
    while at < len(marks):
        here = marks[at]
        if here.forward and at != start:
            start, passes = at, 1
        elif not here.ending and at > start and marks[at - 1].ending:
            start, passes = at, 1  # the endings are over
        if here.ending and (not lasts[at] if leapt else passes not in here.ending):
            at += 1
            continue
        order.append(at)
        if len(order) > MAX_PLAYED:
            raise EndlessError(f"its repeats come to more than {MAX_PLAYED:,} measures")
        if leapt and here.fine:
            break
        if here.times > 1 and not leapt and _goes_back(here, passes, lasts[at]):
            at, passes = start, passes + 1
            continue
        if here.times > 1 and not here.ending:
            start, passes = at + 1, 1
        after = at + 1
        if leapt and here.to_coda:
            after = codas[after]
        elif not leapt and (here.da_capo or here.dal_segno):
            leapt = True
            after = next((index for index in range(at, -1, -1) if marks[index].segno), 0) if here.dal_segno else 0
        at = after
    return order


def _goes_back(here: Marks, passes: int, is_last: bool) -> bool:
    """Whether the repeat that ends here is taken in this pass."""
    if not here.ending:
        return passes < here.times
    return passes == 1 or passes < max(here.ending) or not is_last


def _lasts_and_codas(marks: Sequence[Marks]) -> tuple[list[bool], list[int]]:
    """Of each measure whether no other ending follows its own, and where a coda is from there on: itself if nowhere."""
    lasts, codas = [True] * len(marks), list(range(len(marks) + 1))
    coda = None
    for at in range(len(marks) - 1, -1, -1):
        if at + 1 < len(marks):
            after = marks[at + 1].ending
            lasts[at] = lasts[at + 1] if after == marks[at].ending else not after
        coda = at if marks[at].coda else coda
        codas[at] = at if coda is None else coda
    return lasts, codas
