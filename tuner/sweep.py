"""A sweep: the search for one architecture's best hyperparameters on one or more corpora, which loses nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data_prep.files import is_disk_full
from data_prep.refused import Refused
from data_prep.versions import version_of
from tuner.claim import held
from tuner.cluster import ray_running, refuse_unshared
from tuner.options import SweepOptions, check_beginning, folder_of, made_name
from tuner.plan import Plan, check
from tuner.profile import SweepProfile
from tuner.records import TrialRecord, load_records
from tuner.registry import Registered
from tuner.sweep_folder import SWEEP, ResultFile, SweepFile

if TYPE_CHECKING:
    from trainables.tasks import Task
    from tuner.search import Searched
    from tuner.tracking import Tracker


class SweepFailed(RuntimeError):
    """No trial of a sweep came through."""


@dataclass(frozen=True)
class SweepResult:
    """What came out: the trials, the best one, its scores on the test split, and where its checkpoint lies."""

    name: str
    metric: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord
    checkpoint: str
    tests: dict[str, dict[str, Any]]  # corpus -> score, as `mirtune evaluate --json` shows it
    registered: Registered | None  # None where the tracking store did not take it
    undone: int  # trials that a time budget left, which can go on
    warning: str  # what the tracking store did not take
    profile: SweepProfile | None  # None where it was not asked for
    seconds: float


def sweep(options: SweepOptions) -> SweepResult:
    """Search, or go on searching, then test and register the best checkpoint.

    Raises Refused where the options (before Ray starts) or the cluster cannot work, where there is a sweep of the name
    that another process runs or that was not asked to go on, and where the storage is full; SweepFailed where every
    trial failed, and KeyboardInterrupt, after the runs are closed, where the user stopped it. A profile that was asked
    for is written however the trials end.
    """
    began = time.monotonic()
    options = replace(options, name=options.name or made_name(options))
    plan = check(options, SweepFile.load(folder_of(options.storage, options.name)) if options.resume else None)
    what = f"sweep {plan.name!r} in {options.storage} is run by another process"
    with held(plan.folder, what) as is_held:
        file = SweepFile.load(plan.folder)
        if file is not None and not options.resume:
            raise Refused(
                f"there is a sweep named {plan.name!r} in {options.storage}; go on with it by --resume, or choose "
                "another --name"
            )
        if file is not None:
            check_beginning(file, options, plan.checksums)
        plan.folder.sweep_away(0)
        try:
            return _sweep(options, plan, file, is_held, began)
        except BaseException as error:
            if isinstance(error, OSError) and is_disk_full(error) and file is not None:
                from tuner.search import no_space

                raise no_space(options, plan, str(error)) from error
            if not isinstance(error, Refused | SweepFailed):  # which say themselves what to do
                _say_how_to_go_on(options, plan)
            raise


def _say_how_to_go_on(options: SweepOptions, plan: Plan) -> None:
    from tuner.search import resume_command
    from tuner.telling import warn

    with suppress(OSError, Refused):  # it must not hide why the sweep ended
        if plan.folder.exists(SWEEP):
            done = sum(record.ended for record in load_records(plan.folder))
            again = resume_command(options, plan.name)
            warn(f"stopped: {done} of {options.trials} trials are done; `{again}` goes on")


def _sweep(options: SweepOptions, plan: Plan, file: SweepFile | None, is_held: Any, began: float) -> SweepResult:
    from trainables.tasks import TASKS
    from tuner.packing import packing_of
    from tuner.search import resume_command, search
    from tuner.store import refuse_taken
    from tuner.telling import warn
    from tuner.tracking import Tracker, say

    records = [] if file is None else load_records(plan.folder)
    if records and options.trials < records[-1].number:
        raise Refused(
            f"sweep {plan.name!r} has begun {records[-1].number} trials and cannot go on with {options.trials}; give "
            "--trials that many or more"
        )
    new = SweepFile(options.beginning, plan.checksums, plan.points)
    file_id = file.id if file is not None else new.id
    tags = {"corpora": "+".join(sorted(options.corpora)), "architecture": options.architecture, "task": options.task}
    tags |= {f"manifest.{corpus}": checksum for corpus, checksum in plan.checksums.items()}
    profile, task = SweepProfile(plan.name), TASKS[options.task]
    go_on = resume_command(options, plan.name)
    # Opens its store while Ray starts.
    tracker = Tracker(options.tracking_uri, plan.name, tags, sweep_id=file_id, go_on=go_on)
    result: dict[str, Any] = {}
    try:
        with ray_running() as resources:
            packing, batch = packing_of(options, plan, resources)
            refuse_taken(options.tracking_uri, plan.name, file_id)  # here, as the store's client takes a while to load
            if file is not None:
                batch = file.options["batch_size"]
            decided = {"batch_size": batch, "gpus_per_trial": packing.gpus}
            now = replace(new, id=file_id, options={**new.options, **decided})
            if file is None:
                now.save(plan.folder)
            try:
                refuse_unshared(plan.folder.location, SWEEP, str(options.shards), plan.checksums)
            except Refused:
                if file is None:  # it has not begun
                    plan.folder.remove(SWEEP)
                raise
            now.save(plan.folder)
            profile.at_once = packing.at_once
            with _run_of(tracker):
                searched = search(options, plan, task, packing, batch, tracker, profile, records, is_held, began)
                result = _finish(options, plan, task, packing.gpus, tracker, tags, searched, file_id)
    finally:
        warning = tracker.close()
        if warning:
            warn(warning)
        if options.profile and profile.trials:
            profile.after_s = time.monotonic() - began - profile.before_s - profile.search_s
            with _extra("the profile could not be written beside the trials"):
                say(f"profile: {profile.write(plan.folder)}")
    profiled = profile if options.profile else None
    return SweepResult(**result, warning=warning, profile=profiled, seconds=time.monotonic() - began)


@contextmanager
def _run_of(tracker: "Tracker") -> Iterator[None]:
    """Close the sweep's own run as the block ends."""
    from tuner.tracking import SWEEP_RUN

    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except (KeyboardInterrupt, Refused):  # it can go on
        status = "KILLED"
        raise
    finally:
        tracker.end(SWEEP_RUN, status)


def _finish(
    options: SweepOptions, plan: Plan, task: "Task", gpus: float, tracker: "Tracker", tags: dict[str, str],
    searched: "Searched", sweep_id: str,
) -> dict[str, Any]:  # fmt: skip
    """Test and register the best checkpoint; the fields of the result that are known by then."""
    import json

    from tuner.publish import publish, test
    from tuner.search import resume_command
    from tuner.tracking import first_line, say

    records, best = searched.records, searched.best
    if best is None and searched.undone:
        raise SweepFailed(
            f"no trial of sweep {plan.name} has come to the end of an epoch; "
            f"`{resume_command(options, plan.name)}` goes on"
        )
    if best is None:
        reason = next((record.error for record in records if record.error), "it reported no epoch")
        raise SweepFailed(f"all {len(records)} trials of sweep {plan.name} failed; the first said: {reason}")
    assert best.best is not None
    checkpoint = plan.folder / best.id / best.checkpoint
    untested = sorted(set(options.corpora) - set(plan.tested))
    has, gives = ("has", "gives") if len(untested) == 1 else ("have", "give")
    note = f"; {', '.join(untested)} {has} no test tracks and {gives} no test score" if untested else ""
    say(f"testing {best.name}, the best, with {searched.words} {best.best:.3f}{note}")
    try:
        tests, parameters = test(checkpoint, plan.tested, options, gpus)
    except Exception as error:
        raise SweepFailed(
            f"the best checkpoint, {checkpoint.location}, could not be tested: {first_line(error)}"
        ) from error
    facts = {"mode": task.mode, "metric": task.metric, "validation": str(best.best), "parameters": str(parameters)}
    facts |= {"sweep": plan.name, "sweep.id": sweep_id, "trials": str(len(records)), "epochs": str(best.epochs)}
    facts |= {"epoch": str(best.best_epoch), "hyperparameters": json.dumps(best.hyperparameters)}
    facts |= {"command": options.command}
    with _extra("the learning curves could not be drawn"):
        from tuner.learning_curves import FILE, draw_learning_curves

        plan.folder.write(FILE, draw_learning_curves(records, best, task.metric, f"{plan.name}: learning curves"))
    result = ResultFile(
        sweep_id=sweep_id, metric=task.metric, mode=task.mode, trial=best.id, checkpoint=best.checkpoint,
        epoch=best.best_epoch, validation=best.best, tests=tests, parameters=parameters, trials=len(records),
        undone=searched.undone, trial_seconds=sum(record.seconds for record in records),
        cpus_per_trial=options.cpus_per_trial, gpus_per_trial=gpus, version=version_of("mirtune"),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    result.save(plan.folder)
    registered = publish(tracker, best.id, checkpoint, tests, {**tags, **facts}, plan.folder, records)
    if registered is not None:
        replace(result, registered=True).save(plan.folder)
    return {
        "name": plan.name,
        "metric": task.metric,
        "trials": records,
        "best": best,
        "checkpoint": checkpoint.location,
        "tests": tests,
        "registered": registered,
        "undone": searched.undone,
    }


@contextmanager
def _extra(failed: str) -> Iterator[None]:
    """Tell of an error in what comes on top: it must neither end a sweep nor hide how it ended."""
    from tuner.telling import first_line, warn

    try:
        yield
    except Exception as error:
        warn(f"{failed} ({first_line(error)}); the sweep stands")
