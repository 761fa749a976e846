"""Around the hooks that Ray Tune calls: what they are told, and what becomes of their errors."""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.result import AUTO_RESULT_KEYS, DEBUG_METRICS, DONE, EXPERIMENT_TAG

from data_prep.files import is_disk_full
from tuner.profile import EPOCH_METRICS
from tuner.reports import BEGINS_AFTER, EPOCH, SAVING_S
from tuner.telling import first_line, warn

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

    from tuner.watch import Watcher

_NOT_METRICS = {*AUTO_RESULT_KEYS, *DEBUG_METRICS, DONE, EXPERIMENT_TAG, EPOCH, SAVING_S, BEGINS_AFTER, *EPOCH_METRICS}
logger = logging.getLogger(__name__)


def harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """An exception in a callback would end the sweep without a word; a disk that is full ends it with one."""

    @functools.wraps(hook)
    def guarded(self: "Watcher", *arguments: Any, **named: Any) -> None:
        if not self.is_held():  # the files are another process's
            return
        try:
            hook(self, *arguments, **named)
        except Exception as error:
            if is_disk_full(error):
                self.full = self.full or str(error)
            elif isinstance(error, OSError):  # what could not be written is written with the next
                warn(f"the sweep's folder does not answer ({first_line(error)}); trials go on")
            else:
                logger.exception("the sweep's watcher failed in %s", hook.__name__)

    return guarded


def flat_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that the trial reported, without what Ray Tune adds."""
    return {
        name: value
        for name, value in result.items()
        if name not in _NOT_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    }


def what_was_lost(trial: "TuneTrial") -> str:
    """Why Ray gave a trial's process up, in one line."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).is_file() else ""
    lines = text.rpartition("Failure # ")[2].splitlines()[1:]
    told = [line.strip() for line in lines if line.strip() and not line.startswith("\t")]
    if not told:
        return "Ray did not say why"
    return told[-1 if "ray::" in told[0] else 0][:200]  # an exception stands below its traceback
