"""A sweep: the search for one architecture's best hyperparameters on one or more corpora."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.cluster import let_trials_use_idle_processes, ray_running
from tuner.options import Plan, SweepOptions, check
from tuner.packing import Packing, ask_device_bytes, default_share, network_bytes, pack
from tuner.profile import SweepProfile
from tuner.registry import Registered

if TYPE_CHECKING:
    from trainables.config import TrainingConfig
    from trainables.tasks import Task
    from tuner.searcher import SeededSearch
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
    profile: SweepProfile | None  # None where it was not asked for
    seconds: float


def sweep(options: SweepOptions) -> SweepResult:
    """Search, then test and register the best checkpoint.

    Raises Refused where the options (before Ray starts) or the cluster cannot work, SweepFailed where every trial
    failed, and KeyboardInterrupt, after the runs are closed, where the user stopped it. A profile that was asked for is
    written however the trials end.
    """
    began, plan = time.monotonic(), check(options)
    from trainables.tasks import TASKS
    from tuner.tracking import SWEEP_RUN, Tracker, first_line, say

    tags = {"corpora": "+".join(sorted(options.corpora)), "architecture": options.architecture, "task": options.task}
    tags |= {f"manifest.{corpus}": checksum for corpus, checksum in plan.checksums.items()}
    profile = SweepProfile(plan.name)
    tracker = Tracker(options.tracking_uri, plan.name, tags)  # opens its store while Ray starts
    try:
        with ray_running() as resources:
            packing, batch = _packing(options, plan, resources)
            profile.at_once, status = packing.at_once, "FAILED"
            try:
                result = _run(options, plan, TASKS[options.task], packing, batch, tracker, tags, profile, began)
                status = "FINISHED"
            except KeyboardInterrupt:
                status = "KILLED"
                raise
            finally:
                tracker.end(SWEEP_RUN, status)
    finally:
        warning = tracker.close()
        if warning:
            say(warning)
        if options.profile and profile.trials:
            profile.after_s = time.monotonic() - began - profile.before_s - profile.search_s
            try:
                say(f"profile: {profile.write(plan.storage)}")
            except Exception as error:  # it must not hide how the sweep ended
                say(f"the profile could not be written beside the trials ({first_line(error)}); the sweep stands")
    profiled = profile if options.profile else None
    return SweepResult(**result, warning=warning, profile=profiled, seconds=time.monotonic() - began)


def _run(
    options: SweepOptions, plan: Plan, task: "Task", packing: Packing, batch: int, tracker: "Tracker",
    tags: dict[str, str], profile: SweepProfile, began: float,
) -> dict[str, Any]:  # fmt: skip
    """Everything between the opening and the closing of the sweep's run; the fields of the result that it knows."""
    from trainables.config import Settings, TrainingConfig
    from tuner.publish import publish, test
    from tuner.searcher import SeededSearch
    from tuner.tracking import first_line, say
    from tuner.trial import CHECKPOINT_FOLDER
    from tuner.watch import Watcher

    held = f"{packing.gpus:g} GPU" if packing.gpus else f"{options.cpus_per_trial} CPU"
    why = f" ({packing.why})" if packing.why else ""
    what = f"{options.trials} trials of {options.architecture} on {tags['corpora']}"
    say(f"sweep {plan.name}: {what}, {packing.at_once} at a time with {held} each{why}, batches of {batch} windows")
    settings: dict[str, Any] = {
        "trials": options.trials,
        "max_epochs": options.max_epochs,
        "batch_size": batch,
        "seed": options.seed,
    }
    settings |= {"scheduler": options.scheduler, "gpus_per_trial": packing.gpus}
    settings |= {"cpus_per_trial": options.cpus_per_trial}
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
    searcher = SeededSearch(metric=f"validation_{task.metric}", mode=task.mode, seed=options.seed)
    watcher = Watcher(
        metric=f"validation_{task.metric}",
        mode=task.mode,
        trials=options.trials,
        max_epochs=options.max_epochs,
        batch_size=batch,
        tracker=tracker,
        profile=profile,
        launched=searcher.launched,
    )
    profile.before_s = time.monotonic() - began
    try:
        _search(options, plan, config, searcher, watcher, packing)
    finally:
        profile.search_s = time.monotonic() - began - profile.before_s
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
        tests, parameters = test(checkpoint, plan.tested, options, packing.gpus)
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


def _packing(options: SweepOptions, plan: Plan, resources: Mapping[str, float]) -> tuple[Packing, int]:
    """How trials share the cluster, and the windows in a batch; Refused where it cannot hold a single trial."""
    from tuner.tracking import first_line, say

    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    on_gpu = gpus > 0 if options.gpus_per_trial is None else options.gpus_per_trial > 0
    batch = options.batch_size or (BATCH_ON_GPU if on_gpu else BATCH_ON_CPU)
    if options.gpus_per_trial is not None or gpus < 1:
        return pack(options, resources, (gpus, "")), batch
    answer = ask_device_bytes()  # which takes seconds: let them pass together
    network = network_bytes(
        options.architecture, plan.space, bands=plan.bands, classes=plan.classes, windows=batch, task=options.task
    )
    try:
        device = answer()
    except Exception as error:
        say(f"no node says how much memory its GPU has ({first_line(error)}); each trial gets a whole one")
        device = None
    default = default_share(
        device_bytes=device, corpus_bytes=plan.frame_bytes, network_bytes=network, gpus=gpus, cpus=cpus,
        cpus_per_trial=options.cpus_per_trial, trials=options.trials,
    )  # fmt: skip
    return pack(options, resources, default), batch


def _search(
    options: SweepOptions, plan: Plan, config: "TrainingConfig", searcher: "SeededSearch", watcher: "Watcher",
    packing: Packing,
) -> None:  # fmt: skip
    """Run the trials; KeyboardInterrupt where the user stopped them."""
    from ray import tune

    from tuner.scheduler import SCHEDULERS
    from tuner.trial import Job, Trial

    device, shards = "cuda" if packing.gpus else "cpu", options.shards.resolve()
    job = Job(config, shards, options.cpus_per_trial, device, watcher.metric, packing.share, options.profile)
    resources = {"cpu": options.cpus_per_trial, "gpu": packing.gpus}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, job=job), resources),
        param_space=plan.space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=SCHEDULERS[options.scheduler](watcher.metric, watcher.mode, options.max_epochs),
            num_samples=options.trials,
            max_concurrent_trials=packing.at_once,
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
    let_trials_use_idle_processes()
    tuner.fit()
    if watcher.interrupted:
        raise KeyboardInterrupt
