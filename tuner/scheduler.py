"""When a trial is stopped early: `none` runs every trial to its own end, `asha` keeps the better half at each rung."""

from collections.abc import Callable

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

GRACE_EPOCHS = 5  # early ranks hardly predict the final ones


def _none(metric: str, mode: str, max_epochs: int) -> TrialScheduler:
    return FIFOScheduler()


def _asha(metric: str, mode: str, max_epochs: int) -> TrialScheduler:
    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric=metric,
        mode=mode,
        max_t=max_epochs + 1,  # a trial that reaches its last epoch has ended by itself and was not stopped
        grace_period=min(GRACE_EPOCHS, max_epochs),
        reduction_factor=2,
    )


SCHEDULERS: dict[str, Callable[[str, str, int], TrialScheduler]] = {"none": _none, "asha": _asha}
"""Name -> function of the metric's name, its mode ("max" or "min") and the epochs a trial has at most."""
