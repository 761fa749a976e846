"""How the learning rate goes: down where the loss stands still (by epoch), or along a cosine (by step)."""

import math

from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainables.config import Settings

WARM_UP = 0.02  # of all steps
LOWEST = 0.01  # of the learning rate, at the last step


def cosine_factor(step: int, steps: int) -> float:
    """The part of the learning rate at a step, numbered from 0, of so many: up in a line, then down along a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    done = min(1.0, (step + 1 - warm) / max(1, steps - warm))
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2


def plateau_of(optimiser: AdamW, settings: Settings) -> ReduceLROnPlateau | None:
    """What lowers the learning rate between epochs; None where it goes by steps."""
    if settings.schedule != "plateau":
        return None
    return ReduceLROnPlateau(optimiser, factor=settings.plateau_factor, patience=settings.plateau_patience_epochs)
