"""A sweep: the search for one architecture's best hyperparameters on one or more corpora."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from tuner.cluster import ray_running
from tuner.options import Plan, SweepOptions, check
from tuner.registry import Registered

if TYPE_CHECKING:
    from trainables.config import TrainingConfig
    from trainables.tasks import Task
    from tuner.tracking import Tracker
    from tuner.watch import TrialRecord, Watcher

BATCH_ON_GPU, BATCH_ON_CPU = 128, 16


class SweepFailed(RuntimeError):
    """No trial of a sweep came through."""


@dataclass(frozen=True)
class SweepResult:
    """What came out: the trials, the best one, its scores on the test split, and where its checkpoint lies."""

    name: str
    metric: str
    trials: "tuple[TrialRecord, ...]"
    best: "TrialRecord"
    checkpoint: str
    tests: dict[str, dict[str, Any]]  # corpus -> score, as `mirtune evaluate --json` shows it
    registered: Registered | None  # None where the tracking store did not take it
    warning: str  # what the tracking store did not take
    seconds: float


def sweep(options: SweepOptions) -> SweepResult:
    """Search, then test and register the best checkpoint.

    Raises Refused before Ray starts where the options cannot work, SweepFailed where every trial failed, and
    KeyboardInterrupt, after the runs are closed, where the user stopped it.
    """
    began, plan = time.time(), check(options)
    from trainables.tasks import TASKS
    from tuner.tracking import SWEEP_RUN, Tracker, say

    tags = {"corpora": "+".join(sorted(options.corpora)), "architecture": options.architecture, "task": options.task}
    tags |= {f"manifest.{corpus}": checksum for corpus, checksum in plan.checksums.items()}
    with ray_running() as resources:
        tracker = Tracker(options.tracking_uri, plan.name, tags)
        status, result, warning = "FAILED", None, ""
        try:
            result = _run(options, plan, TASKS[options.task], resources, tracker, tags)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            tracker.end(SWEEP_RUN, status)
            warning = tracker.close()
            if warning:
                say(warning)
    return SweepResult(**result, warning=warning, seconds=time.time() - began)


def _run(
    options: SweepOptions,
    plan: Plan,
    task: "Task",
    resources: Mapping[str, float],
    tracker: "Tracker",
    tags: dict[str, str],
) -> dict[str, Any]:
    """Everything between the opening and the closing of the sweep's run; the fields of the result that it knows."""
    from trainables.config import Settings, TrainingConfig
    from tuner.publish import publish, test
    from tuner.tracking import first_line, say
    from tuner.trial import CHECKPOINT_FOLDER
    from tuner.watch import Watcher

    gpus, at_once = share(options, resources)
    batch = options.batch_size or (BATCH_ON_GPU if gpus else BATCH_ON_CPU)
    held = f"{gpus:g} GPU" if gpus else f"{options.cpus_per_trial} CPU"
    what = f"{options.trials} trials of {options.architecture} on {tags['corpora']}"
    say(f"sweep {plan.name}: {what}, {at_once} at a time with {held} each, batches of {batch} windows")
    settings: dict[str, Any] = {
        "trials": options.trials,
        "max_epochs": options.max_epochs,
        "batch_size": batch,
        "seed": options.seed,
    }
    settings |= {"scheduler": options.scheduler, "gpus_per_trial": gpus, "cpus_per_trial": options.cpus_per_trial}
    tracker.start_sweep({**settings, "command": options.command})
    config = TrainingConfig(
        corpora=tuple(sorted(options.corpora)),
        architecture=options.architecture,
        hyperparameters={},
        settings=Settings(
            batch_size=batch, max_epochs=options.max_epochs, seed=options.seed, precision=options.precision
        ),
        task=options.task,
    )
    watcher = Watcher(
        metric=f"validation_{task.metric}",
        mode=task.mode,
        trials=options.trials,
        max_epochs=options.max_epochs,
        tracker=tracker,
    )
    _search(options, plan, config, watcher, gpus, at_once)
    best = watcher.best
    if best is None:
        reason = next((record.error for record in watcher.records.values() if record.error), "it reported no epoch")
        raise SweepFailed(f"all {len(watcher.records)} trials of sweep {plan.name} failed; the first said: {reason}")
    checkpoint = best.checkpoint
    assert checkpoint is not None
    assert best.best is not None
    untested = ", ".join(sorted(set(options.corpora) - set(plan.tested)))
    note = f"; {untested} has no test tracks and gives no test score" if untested else ""
    say(f"testing {best.name}, the best, with {watcher.words} {best.best:.3f}{note}")
    try:
        tests, parameters = test(checkpoint, plan.tested, options, gpus)
    except Exception as error:
        where = f"{checkpoint.path}/{CHECKPOINT_FOLDER}"
        raise SweepFailed(f"the best checkpoint, {where}, could not be tested: {first_line(error)}") from error
    facts = {"mode": task.mode, "metric": task.metric, "validation": str(best.best), "parameters": str(parameters)}
    facts |= {
        "sweep": plan.name,
        "trials": str(len(watcher.records)),
        "epochs": str(best.epochs),
        "command": options.command,
    }
    registered = publish(tracker, best.id, checkpoint, tests, {**tags, **facts})
    return {
        "name": plan.name,
        "metric": task.metric,
        "trials": tuple(watcher.records.values()),
        "best": best,
        "checkpoint": f"{checkpoint.path}/{CHECKPOINT_FOLDER}",
        "tests": tests,
        "registered": registered,
    }


def share(options: SweepOptions, resources: Mapping[str, float]) -> tuple[float, int]:
    """GPUs for each trial, and how many trials run at a time; Refused where the cluster cannot hold a single one."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    gpus_per_trial = min(1.0, gpus) if options.gpus_per_trial is None else options.gpus_per_trial
    if options.cpus_per_trial > cpus or gpus_per_trial > gpus:
        raise Refused(
            f"a trial wants {options.cpus_per_trial} CPUs and {gpus_per_trial:g} GPUs and the cluster has {cpus:g} and "
            f"{gpus:g}; lower --cpus-per-trial or --gpus-per-trial"
        )
    at_once = cpus // options.cpus_per_trial
    if gpus_per_trial:
        at_once = min(at_once, int(gpus / gpus_per_trial + 1e-6))  # 1 / 0.1 is a little less than 10
    return gpus_per_trial, max(1, min(int(at_once), options.trials))


def _search(
    options: SweepOptions, plan: Plan, config: "TrainingConfig", watcher: "Watcher", gpus: float, at_once: int
) -> None:
    """Run the trials; KeyboardInterrupt where the user stopped them."""
    from ray import tune

    from tuner.scheduler import SCHEDULERS
    from tuner.searcher import SeededSearch
    from tuner.trial import Job, Trial

    job = Job(config, options.shards.resolve(), options.cpus_per_trial, "cuda" if gpus else "cpu", watcher.metric)
    resources = {"cpu": options.cpus_per_trial, "gpu": gpus}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, job=job), resources),
        param_space=plan.space,
        tune_config=tune.TuneConfig(
            search_alg=SeededSearch(metric=watcher.metric, mode=watcher.mode, seed=options.seed),
            scheduler=SCHEDULERS[options.scheduler](watcher.metric, watcher.mode, options.max_epochs),
            num_samples=options.trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=plan.name,
            storage_path=plan.storage,
            callbacks=[watcher],
            # Trials report a checkpoint where an epoch is their best so far, so the last one is the best.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    tuner.fit()
    if watcher.interrupted:
        raise KeyboardInterrupt
