"""After a sweep: the best checkpoint is tested, goes into its trial's run, and is registered."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import ray

from tuner import registry
from tuner.cluster import is_this_machine
from tuner.tracking import SWEEP_RUN
from tuner.trial import CHECKPOINT_FOLDER

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from ray.tune import Checkpoint

    from tuner.options import SweepOptions
    from tuner.tracking import Tracker


def test(
    checkpoint: "Checkpoint", corpora: Sequence[str], options: "SweepOptions", gpus: float
) -> tuple[dict[str, dict[str, Any]], int]:
    """Scores of the checkpoint on the corpora's test splits (as dictionaries), and its number of parameters.

    In this process where its machine is the whole cluster: that spares the start of another with its imports. Else in
    a process with what a trial had, for this machine may have no GPU. Raises what the scoring raised.
    """
    given = (checkpoint, corpora, options.shards.resolve(), "cuda" if gpus else "cpu", options.cpus_per_trial)
    if is_this_machine():
        return _test(*given)
    task = ray.remote(max_retries=1)(_test).options(num_cpus=options.cpus_per_trial, num_gpus=gpus)
    try:
        return ray.get(task.remote(*given))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _test(
    checkpoint: "Checkpoint", corpora: Sequence[str], shards: Path, device: str, threads: int
) -> tuple[dict[str, dict[str, Any]], int]:
    import torch

    from trainables.checkpoint import Checkpoint as Trained
    from trainables.evaluation import evaluate

    with checkpoint.as_directory() as folder:
        trained = Trained.load(Path(folder) / CHECKPOINT_FOLDER)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scores = {of: evaluate(trained, of, shards, split="test", device=device).to_dict() for of in corpora}
    finally:
        torch.set_num_threads(threads_before)
    return scores, int(trained.parameters)


def publish(
    tracker: "Tracker", trial: str, checkpoint: "Checkpoint", tests: dict[str, dict[str, Any]], facts: dict[str, str]
) -> registry.Registered | None:
    """Put checkpoint and scores into the trial's run and register it; None where the tracking store did not take it.

    ``facts`` become the tags of the registered version; the test score there is the mean over corpora that have one.
    """
    metric = facts["metric"]
    protocols = {corpus: score["protocol"] for corpus, score in tests.items()}
    values = {f"test_{metric}.{corpus}": float(score[metric]) for corpus, score in tests.items()}
    if tests:
        values[f"test_{metric}"] = fmean(values.values())
        facts = {**facts, "test": str(values[f"test_{metric}"]), "tests": json.dumps(tests)}
        facts["protocol"] = "+".join(sorted(set(protocols.values())))

    def write(client: "MlflowClient", runs: dict[str, str]) -> registry.Registered:
        from mlflow.entities import Metric, RunTag

        run_id, now_ms = runs[trial], int(time.time() * 1000)
        rows = [Metric(name, value, now_ms, 0) for name, value in values.items()]
        by = [RunTag(f"test.protocol.{corpus}", protocol) for corpus, protocol in protocols.items()]
        client.log_batch(run_id, metrics=rows, tags=[RunTag("best", "true"), *by])
        rows.append(Metric(f"best_validation_{metric}", float(facts["validation"]), now_ms, 0))
        client.log_batch(runs[SWEEP_RUN], metrics=rows, tags=[RunTag("best.trial", run_id), *by])
        client.log_dict(run_id, tests, "test.json")
        with checkpoint.as_directory() as folder:
            client.log_artifacts(run_id, str(Path(folder) / CHECKPOINT_FOLDER), CHECKPOINT_FOLDER)
        name = registry.model_name(facts["corpora"].split("+"), facts["architecture"])
        return registry.register(client, name, run_id, facts)

    return tracker.ask("the best checkpoint", write)
