"""After a sweep: the best checkpoint is tested, goes into its trial's run, and is registered.

Publishing the same checkpoint again, as after a driver that was killed here, completes what is missing and makes
nothing twice.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import ray

from data_prep.files import checksum
from tuner import registry
from tuner.cluster import is_this_machine
from tuner.download import CHECKPOINT_FILES, CHECKPOINT_FOLDER, CHECKSUMS
from tuner.tracking import SWEEP_RUN, log_new

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from data_prep.storage import Storage
    from tuner.options import SweepOptions
    from tuner.tracking import Tracker


def test(
    checkpoint: "Storage", corpora: Sequence[str], options: "SweepOptions", gpus: float
) -> tuple[dict[str, dict[str, Any]], int]:
    """Scores of the checkpoint on the corpora's test splits (as dictionaries), and its number of parameters.

    In this process where its machine is the whole cluster: that spares the start of another with its imports. Else in
    a process with what a trial had, for this machine may have no GPU. Raises what the scoring raised.
    """
    shards = str(options.shards) if "://" in str(options.shards) else str(Path(options.shards).resolve())
    given = (checkpoint, corpora, shards, "cuda" if gpus else "cpu", options.cpus_per_trial)
    if is_this_machine():
        return _test(*given)
    task = ray.remote(max_retries=1)(_test).options(num_cpus=options.cpus_per_trial, num_gpus=gpus)
    try:
        return ray.get(task.remote(*given))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _test(
    checkpoint: "Storage", corpora: Sequence[str], shards: str, device: str, threads: int
) -> tuple[dict[str, dict[str, Any]], int]:
    import torch

    from data_prep.remote_corpora import at_hand
    from trainables.checkpoint import Checkpoint
    from trainables.evaluation import evaluate

    with checkpoint.local() as folder:
        trained = Checkpoint.load(folder)
    here = at_hand(shards, corpora)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scores = {of: evaluate(trained, of, here, split="test", device=device).to_dict() for of in corpora}
    finally:
        torch.set_num_threads(threads_before)
    return scores, int(trained.parameters)


def publish(
    tracker: "Tracker", trial: str, checkpoint: "Storage", tests: dict[str, dict[str, Any]], facts: dict[str, str]
) -> registry.Registered | None:
    """Put checkpoint and scores into the trial's run and register it; None where the tracking store did not take it.

    ``checkpoint``: the folder of model.safetensors and config.json. ``facts`` become the tags of the registered
    version, `epoch` (of the checkpoint), `sweep.id` and `hyperparameters` (as JSON) among them; the test score there is
    the mean over corpora that have one.
    """
    metric = facts["metric"]
    protocols = {corpus: score["protocol"] for corpus, score in tests.items()}
    values = {f"test_{metric}.{corpus}": float(score[metric]) for corpus, score in tests.items()}
    if tests:
        values[f"test_{metric}"] = fmean(values.values())
        facts = {**facts, "test": str(values[f"test_{metric}"]), "tests": json.dumps(tests)}
        facts["protocol"] = "+".join(sorted(set(protocols.values())))
    name = registry.model_name(facts["corpora"].split("+"), facts["architecture"])
    # An epoch's own folder: that of a version which is registered is never written again.
    folder = f"{CHECKPOINT_FOLDER}/epoch-{int(facts['epoch']):04d}" if "epoch" in facts else CHECKPOINT_FOLDER

    def write(client: "MlflowClient", runs: dict[str, str]) -> registry.Registered:
        run, of_sweep, now_ms = client.get_run(runs[trial]), client.get_run(runs[SWEEP_RUN]), int(time.time() * 1000)
        run_id, before = run.info.run_id, of_sweep.data.tags.get("best.trial", "")
        by = [(f"test.protocol.{corpus}", protocol) for corpus, protocol in protocols.items()]
        log_new(client, run_id, run.data.metrics, values, now_ms, [("best", "true"), *by])
        if before in runs.values() and before != run_id:  # another trial was the best when the sweep ended before
            client.set_tag(before, "best", "false")
        summary = {**values, f"best_validation_{metric}": float(facts["validation"])}
        log_new(client, of_sweep.info.run_id, of_sweep.data.metrics, summary, now_ms, [("best.trial", run_id), *by])
        client.log_dict(run_id, tests, "test.json")
        with checkpoint.local() as local:
            sums = json.dumps({file: checksum(local / file) for file in CHECKPOINT_FILES})
            tags = {**facts, CHECKSUMS: sums}
            if registry.registered(client, name, run_id, tags) is None:
                for file in CHECKPOINT_FILES:
                    client.log_artifact(run_id, str(local / file), folder)
        return registry.register(client, name, run_id, tags, folder)

    return tracker.ask("the best checkpoint", write)
