"""The same work on many things at once: in this process for one worker, else on Ray, on this machine or a cluster."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from data_prep.refused import Refused

RETRIES = 2  # of what a worker did when it died
Item = TypeVar("Item")
Result = TypeVar("Result")


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, else one that was started on this machine, else start Ray here.

    RAY_ADDRESS=local starts one in any case. What is started is quiet, reached from this machine only, and ends with
    this process. Nothing is done where this process has joined or started one already.
    """
    import ray

    from data_prep.local_ray import end_with_this_process, on_loopback

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of workers that nobody waits for any more
    if ray.is_initialized():
        return
    with _signals_kept():
        if (os.environ.get("RAY_ADDRESS") or "local") != "local":
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
            return
        with on_loopback():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    end_with_this_process()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of whatever a program does at SIGTERM; put that back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def run_on_workers(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    name: Callable[[Item], str] = str,
    here: bool = False,
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what ``work`` makes of it, as it is done; a worker that dies has its item done again.

    With ``here`` the workers are processes of this machine, whatever cluster it is in: for work on files that no other
    machine sees. Raises what ``work`` raises, and Refused, with the ``name`` of the item, where its workers die again
    and again.
    """
    if workers == 1 or not items:
        yield from ((item, work(item)) for item in items)
        return
    import ray

    start_ray()
    options: dict[str, Any] = {"num_cpus": 1}
    cpus = int(ray.cluster_resources().get("CPU", 1))
    if here:
        options, cpus = _this_machine()

    @ray.remote(max_retries=RETRIES, **options)
    def task(item: Item) -> Result:
        return work(item)

    waiting = list(reversed(items))
    running: dict[Any, Item] = {}
    at_once = workers or max(1, cpus)
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


def _this_machine() -> tuple[dict[str, Any], int]:
    """Options of a task that stays on this machine, and how many processors it has.

    The head of a cluster may offer none to trials; work that has to be done there is done all the same.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    offered = next(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here)
    strategy = NodeAffinitySchedulingStrategy(here, soft=False)
    return {"num_cpus": min(1, offered), "scheduling_strategy": strategy}, int(offered) or os.cpu_count() or 1
