"""Ray: a quiet one on this machine, or a cluster, whose nodes must see what a sweep needs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data_prep.refused import Refused
from tuner.telling import first_line

ANSWER_S = 180  # a node's new process imports pyarrow first, from a slow disk perhaps

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output tells of failed trials however quiet it should be
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the tracking store and the checkpoints are the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the sweep has its own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that says why it failed has no metric to tell
}


@contextmanager
def ray_running() -> Iterator[dict[str, float]]:
    """Yield the resources of a running Ray; where there is none, one is started and stopped afterwards."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    from data_prep.workers import start_ray
    from tuner.telling import say

    was_running = ray.is_initialized()
    if not was_running:
        say("starting Ray, or joining the one there is")
    start_ray()
    try:
        yield ray.cluster_resources()
    finally:
        if not was_running:
            ray.shutdown()


def let_trials_use_idle_processes() -> None:
    """Have Ray Tune put trials into processes that Ray has started already, which spares each a second.

    Tune asks for processes with variables of their own, so none of those fits: one that PyTorch Lightning alone reads,
    and an object store's secrets, which Ray then writes into a log. Every node has these in its own environment.
    """
    try:
        from ray.tune.execution.class_cache import DEFAULT_ENV_VARS, ENV_VARS_TO_PROPAGATE

        DEFAULT_ENV_VARS.pop("PL_DISABLE_FORK", None)
        ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])
    except (ImportError, AttributeError, TypeError):  # another Ray keeps it elsewhere: the second is lost, no more
        return


def is_this_machine() -> bool:
    """Whether the running Ray has no node but the one that this process is on."""
    import ray

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return nodes == [ray.get_runtime_context().get_node_id()]


def refuse_unshared(folder: str, marker: str, shards: str, corpora: Mapping[str, str]) -> None:
    """Refuse a cluster with a node that does not see the file ``marker`` in ``folder``, or the corpora in ``shards``.

    ``folder`` and ``shards`` are paths or URIs, ``corpora`` names and checksums of manifests. Every node that trials
    may run on is asked, none where this machine is the whole cluster; shards in an object store are asked of nobody, as
    each node fetches them. Refused too where a node does not answer; one that is lost meanwhile will hold no trial.
    """
    if is_this_machine():
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    shards = shards if "://" in shards else str(Path(shards).resolve())
    here = ray.get_runtime_context().get_node_id()
    ask = ray.remote(num_cpus=0, max_retries=0)(_unseen)
    asked = {}
    for node in ray.nodes():
        works = node["Resources"].get("CPU", 0) or node["Resources"].get("GPU", 0)
        if node["Alive"] and works and node["NodeID"] != here:
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = ask.options(scheduling_strategy=pinned).remote(folder, marker, shards, dict(corpora))
            asked[answer] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    for answer, name in asked.items():
        try:
            unseen = ray.get(answer, timeout=ANSWER_S)
        except ray.exceptions.RayTaskError as error:
            raise Refused(
                f"node {name} of the cluster cannot look for the sweep's files ({first_line(error.cause)}); install "
                "this version of mirtune there"
            ) from error
        except ray.exceptions.GetTimeoutError as error:
            raise Refused(
                f"node {name} of the cluster did not say within {ANSWER_S} s whether it sees {folder} and {shards}; "
                "free it, or take it out of the cluster"
            ) from error
        except ray.exceptions.RayError:
            continue
        if unseen:
            raise Refused(f"node {name} of the cluster {unseen}, or an s3://BUCKET/FOLDER")


def _unseen(folder: str, marker: str, shards: str, corpora: dict[str, str]) -> str:
    """What the node that this runs on does not see, and which option to give; empty where it sees everything."""
    from data_prep.manifest import Manifest
    from data_prep.storage import Storage

    to_do = "give --{} a folder that all nodes share under the same path"
    try:
        seen = Storage.at(folder).exists(marker)
    except (OSError, Refused) as error:
        return f"cannot read {folder} ({first_line(error)}); {to_do.format('storage')}"
    if not seen:
        return f"does not see {marker} in {folder}; {to_do.format('storage')}"
    for name, checksum in corpora.items() if "://" not in shards else ():
        try:
            manifest = Manifest.load(Path(shards) / name)
        except (OSError, Refused):
            return f"does not see corpus {name} in {shards}; {to_do.format('shards')}"
        if manifest.checksum != checksum:
            return f"has another preparation of corpus {name} in {shards}; {to_do.format('shards')}"
    return ""
