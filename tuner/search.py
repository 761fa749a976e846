"""The search of a sweep: Ray Tune runs the trials; what they leave in the sweep's folder is the only record."""

import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ray import tune

from data_prep.refused import Refused
from data_prep.storage import Storage
from tuner.cluster import let_trials_use_idle_processes
from tuner.options import SweepOptions, location_of
from tuner.plan import Plan
from tuner.profile import SweepProfile
from tuner.records import TrialRecord
from tuner.scheduler import SCHEDULERS
from tuner.searcher import SweepSearch
from tuner.telling import say, warn
from tuner.tracking import Tracker
from tuner.trial import Job, Trial
from tuner.watch import Watcher

if TYPE_CHECKING:
    from trainables.tasks import Task
    from tuner.packing import Packing


@dataclass(frozen=True)
class Searched:
    """The trials of a sweep by number, the best of them (None where none came to an epoch), and how many are undone."""

    records: tuple[TrialRecord, ...]
    best: TrialRecord | None
    undone: int
    words: str  # the searched metric, as people read it


def search(
    options: SweepOptions, plan: Plan, task: "Task", packing: "Packing", batch: int, tracker: Tracker,
    profile: SweepProfile, records: Sequence[TrialRecord], is_held: Callable[[], bool], began: float,
) -> Searched:  # fmt: skip
    """Run the trials that are not done; KeyboardInterrupt where the user stopped them, Refused where the disk is full.

    ``records``: trials of an earlier run. ``is_held``: whether the sweep is still this process's. ``began``: when the
    sweep did, on the monotonic clock.
    """
    scheduler = SCHEDULERS[options.scheduler](options.max_epochs, options.grace_epochs, _ended(records))
    searcher = SweepSearch(
        metric=f"validation_{task.metric}", mode=task.mode, seed=options.seed, trials=options.trials,
        points=plan.points, records=records, stopped=scheduler.stopped,
    )  # fmt: skip
    watcher = Watcher(
        metric=f"validation_{task.metric}", mode=task.mode, trials=options.trials, max_epochs=options.max_epochs,
        batch_size=batch, max_failures=options.max_failures, folder=plan.folder, tracker=tracker, profile=profile,
        searcher=searcher, scheduler=scheduler, records=records, is_held=is_held,
    )  # fmt: skip
    settings: dict[str, Any] = {
        "trials": options.trials,
        "max_epochs": options.max_epochs,
        "batch_size": batch,
        "seed": options.seed,
        "corpus_power": options.corpus_power,
    }
    settings |= {"recipe": options.recipe, "scheduler": options.scheduler, "gpus_per_trial": packing.gpus}
    tracker.start_sweep({**settings, "cpus_per_trial": options.cpus_per_trial, "command": options.command})
    _announce(options, plan, packing, batch, records)
    watcher.tell_past()
    limits = _Limits(watcher, is_held, began + (options.time_budget_s or float("inf")))
    profile.before_s = time.monotonic() - began
    try:
        if watcher.undone:
            _run(options, plan, task, packing, batch, watcher, limits)
    finally:
        profile.search_s = time.monotonic() - began - profile.before_s
    _say_what_is_left(options, plan, watcher, limits)
    by_number = tuple(sorted(watcher.records.values(), key=lambda record: record.number))
    return Searched(by_number, watcher.best, watcher.undone, watcher.words)


def _ended(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.ended]


def _announce(
    options: SweepOptions, plan: Plan, packing: "Packing", batch: int, records: Sequence[TrialRecord]
) -> None:  # fmt: skip
    held = f"{packing.gpus:g} GPU" if packing.gpus else f"{options.cpus_per_trial} CPU"
    why = f" ({packing.why})" if packing.why else ""
    trials = f"{options.trials} trial{'s' * (options.trials != 1)}"
    what = f"{trials} of {options.architecture} on {'+'.join(sorted(options.corpora))}"
    say(f"sweep {plan.name}: {what}, {packing.at_once} at a time with {held} each{why}, batches of {batch} windows")
    if records:
        ended = len(_ended(records))
        say(f"it goes on: {ended} trials have ended, {len(records) - ended} go on where they were")
    if options.time_budget_s is not None:
        from tuner.forecast import in_time

        say(f"the time budget is {in_time(options.time_budget_s)}")
    if packing.waits:
        say("the cluster has no room for a trial yet: waiting for its machines")


def _say_what_is_left(options: SweepOptions, plan: Plan, watcher: Watcher, limits: "_Limits") -> None:
    """Why trials are undone, and the command that goes on with them; raises where that ends the sweep."""
    if not watcher.undone:
        return
    again = resume_command(options, plan.name)
    if watcher.full:
        raise no_space(options, plan, watcher.full)
    if not limits.is_held():
        raise Refused(f"sweep {plan.name!r} was taken over by another process while this one stood still; look there")
    done = f"{options.trials - watcher.undone} of {options.trials} trials are done; `{again}` goes on"
    lost = sum(record.state == "lost" for record in watcher.records.values())
    if limits.out_of_time:
        say(f"the time budget is used up: {done}")
    elif limits.interrupted:
        raise KeyboardInterrupt
    else:
        warn(f"{lost} trials were lost too often, {watcher.undone - lost} have not begun: {done}")


def no_space(options: SweepOptions, plan: Plan, why: str) -> Refused:
    """What to raise where nothing more can be written."""
    return Refused(
        f"no space left for {plan.folder.location} ({why}); what is there is good: free some and go on with "
        f"`{resume_command(options, plan.name)}`"
    )


def resume_command(options: SweepOptions, name: str) -> str:
    """What to type so that a sweep goes on."""
    storage = shlex.quote(options.storage if "://" in options.storage else Storage.at(options.storage).location)
    where = f" --storage {storage}" if options.storage != SweepOptions.storage else ""
    return f"mirtune sweep --name {name}{where} --resume"


class _Limits(tune.Stopper):
    """Ends the search when its time is used up, its storage is full, or another process has taken the sweep."""

    def __init__(self, watcher: Watcher, is_held: Callable[[], bool], deadline: float) -> None:
        self.watcher, self.is_held, self.deadline = watcher, is_held, deadline
        self.out_of_time = self.interrupted = self.told = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A trial alone is never stopped here."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials have to stop now."""
        self.out_of_time = self.out_of_time or time.monotonic() > self.deadline
        if self.interrupted and not self.told:  # not in the signal's handler, which may break into another line
            self.told = True
            say("stopping: what trials have reached is kept; Ctrl-C again stops at once")
        return self.interrupted or self.out_of_time or bool(self.watcher.full) or not self.is_held()

    @contextmanager
    def heed_interrupts(self) -> Iterator[None]:
        """Within, a first SIGINT ends the search in order, a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}

        def interrupt(number: int, frame: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles it, and nothing is restored from that."""
        return {}


def _run(
    options: SweepOptions, plan: Plan, task: "Task", packing: "Packing", batch: int, watcher: Watcher,
    limits: _Limits,
) -> None:  # fmt: skip
    from trainables.config import RECIPES, TrainingConfig

    settings = replace(
        RECIPES[options.recipe], batch_size=batch, max_epochs=options.max_epochs, seed=options.seed,
        precision=options.precision, corpus_power=options.corpus_power,
    )  # fmt: skip
    config = TrainingConfig(
        corpora=tuple(sorted(options.corpora)), architecture=options.architecture, hyperparameters={},
        settings=settings, task=options.task,
    )  # fmt: skip
    job = Job(
        config, plan.folder, location_of(options.shards), options.cpus_per_trial, "cuda" if packing.gpus else "cpu",
        watcher.metric, packing.share, options.profile, plan.checksums,
    )  # fmt: skip
    resources = {"cpu": options.cpus_per_trial, "gpu": packing.gpus}
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    let_trials_use_idle_processes()
    # Tune's own record of the search, pickled, serves nobody: it lies here until the search ends.
    with TemporaryDirectory(prefix="mirtune-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Trial, job=job), resources),
            param_space=plan.space,
            tune_config=tune.TuneConfig(
                search_alg=watcher.searcher,
                scheduler=watcher.scheduler,
                num_samples=-1,  # the searcher counts: a trial that goes on elsewhere is begun once more
                max_concurrent_trials=packing.at_once,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name=plan.name,
                storage_path=scratch,
                callbacks=[watcher],
                stop=limits,
                failure_config=tune.FailureConfig(max_failures=0),  # the watcher lets trials go on
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # of that record
        with limits.heed_interrupts():
            tuner.fit()
