"""The same work on many things at once: in this process for one worker, else on Ray, on this machine or a cluster."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from data_prep.refused import Refused

RETRIES = 2  # of what a worker did when it died
Item = TypeVar("Item")
Result = TypeVar("Result")


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray quietly on this machine; does nothing if that is done."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
        )


def run_on_workers(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None, name: Callable[[Item], str] = str
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what ``work`` makes of it, as it is done; a worker that dies has its item done again.

    Raises what ``work`` raises, and Refused, with the ``name`` of the item, where its workers die again and again.
    """
    if workers == 1 or not items:
        yield from ((item, work(item)) for item in items)
        return
    import ray

    start_ray()

    @ray.remote(num_cpus=1, max_retries=RETRIES)
    def task(item: Item) -> Result:
        return work(item)

    waiting = list(reversed(items))
    running: dict[Any, Item] = {}
    at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    while waiting or running:
        while waiting and len(running) < at_once:
            item = waiting.pop()
            running[task.remote(item)] = item
        done, _ = ray.wait(list(running))
        for reference in done:
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # what the worker said, without its traceback
            except ray.exceptions.RayError as error:
                why = str(error).partition("\n")[0][:100]
                raise Refused(
                    f"Ray lost its workers over {name(running[reference])} ({why}); memory may have run out, or one of "
                    "their files crashes its decoder: give fewer --workers or take that file away, and run the same "
                    "command again"
                ) from error
            yield running.pop(reference), result
