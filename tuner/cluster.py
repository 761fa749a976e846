"""Ray: a quiet local one, or the cluster that RAY_ADDRESS names."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_LEN_IDENTIFIER": "60",
}


def quiet_environment() -> None:
    """Set what Ray reads from the environment; before Ray is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def ray_running() -> Iterator[dict[str, float]]:
    """Yield the resources of a running Ray; start a local one, and stop it afterwards, where there is none."""
    quiet_environment()
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **local)
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
