"""Ray: a quiet local one, or the cluster that RAY_ADDRESS names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output tells of failed trials however quiet it should be
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the tracking store and the checkpoints are the record
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that says why it failed has no metric to tell
}


@contextmanager
def ray_running() -> Iterator[dict[str, float]]:
    """Yield the resources of a running Ray; where there is none, one is started and stopped afterwards."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    from data_prep.workers import start_ray

    was_running = ray.is_initialized()
    start_ray()
    try:
        yield ray.cluster_resources()
    finally:
        if not was_running:
            ray.shutdown()


def let_trials_use_idle_processes() -> None:
    """Have Ray Tune put trials into processes that Ray has started already, which spares each a second.

    Tune asks for processes with a variable of their own, which PyTorch Lightning alone reads, so none of those fits.
    """
    try:
        from ray.tune.execution.class_cache import DEFAULT_ENV_VARS

        DEFAULT_ENV_VARS.pop("PL_DISABLE_FORK", None)
    except (ImportError, AttributeError, TypeError):  # another Ray keeps it elsewhere: the second is lost, no more
        return


def is_this_machine() -> bool:
    """Whether the running Ray has no node but the one that this process is on."""
    import ray

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return nodes == [ray.get_runtime_context().get_node_id()]
