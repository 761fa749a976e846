"""After a sweep: the best checkpoint is tested, goes into its trial's run, and is registered.

Publishing the same checkpoint again, as after a driver that was killed here, completes what is missing and makes
nothing twice.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ray

from data_prep.files import checksum
from data_prep.versions import version_of
from tuner import registry
from tuner.class_picture import FILE as CLASSES
from tuner.cluster import is_this_machine
from tuner.download import CHECKPOINT_FILES, CHECKPOINT_FOLDER, CHECKSUMS
from tuner.learning_curves import FILE as CURVES
from tuner.run_notes import NOTE, Published, f1_of, scores, sweep_ended
from tuner.served_model import EXTRA_FILES, write_served_model
from tuner.sweep_folder import ResultFile
from tuner.telling import first_line, warn
from tuner.tracked_run import log_new, texts
from tuner.tracking import SWEEP_RUN

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from data_prep.storage import Storage
    from tuner.options import SweepOptions
    from tuner.records import TrialRecord
    from tuner.tracking import Tracker

SPEED = "windows_per_s"  # a metric of epochs, and the tag with its median


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
    tracker: "Tracker", trial: str, checkpoint: "Storage", tests: dict[str, dict[str, Any]], facts: dict[str, str],
    folder: "Storage | None" = None, records: "Sequence[TrialRecord]" = (),
) -> registry.Registered | None:  # fmt: skip
    """Put checkpoint and scores into the trial's run and register it; None where the tracking store did not take it.

    ``checkpoint``: the folder of model.safetensors and config.json. ``facts`` become the tags of the registered
    version, `epoch` (of the checkpoint), `sweep.id` and `hyperparameters` (as JSON) among them; the test score there is
    the mean over corpora that have one. ``folder``: the sweep's, whose learning curves go into its run; ``records``: of
    its trials, for what is said of it there.
    """
    metric = facts["metric"]
    protocols = {corpus: score["protocol"] for corpus, score in tests.items()}
    values = {f"test_{metric}.{corpus}": float(score[metric]) for corpus, score in tests.items()}
    if tests:
        values[f"test_{metric}"] = fmean(values.values())
        facts = {**facts, "test": str(values[f"test_{metric}"]), "tests": json.dumps(tests)}
        facts["protocol"] = "+".join(sorted(set(protocols.values())))
    values |= _beside(tests, metric)
    scored = ""
    with _extra("the test scores are not in the trial's description"):
        scored = f"\n\n{scores(tests, metric)}" if tests else ""
    facts = {**facts, **_cost(trial, facts, folder, records)}
    name = registry.model_name(facts["corpora"].split("+"), facts["architecture"])
    pictures = _pictures(tests, facts, folder)
    # An epoch's own folder: that of a version which is registered is never written again.
    below = f"{CHECKPOINT_FOLDER}/epoch-{int(facts['epoch']):04d}" if "epoch" in facts else CHECKPOINT_FOLDER

    def write(client: "MlflowClient", runs: dict[str, str]) -> registry.Registered:
        run, of_sweep, now_ms = client.get_run(runs[trial]), client.get_run(runs[SWEEP_RUN]), int(time.time() * 1000)
        run_id, before = run.info.run_id, of_sweep.data.tags.get("best.trial", "")
        by = {f"test.protocol.{corpus}": protocol for corpus, protocol in protocols.items()}
        note = {NOTE: f"{_own_note(run)}{scored}"} if scored else {}
        log_new(client, run_id, run.data.metrics, values, now_ms, {"best": "true", **by, **note})
        if before in runs.values() and before != run_id:  # another trial was the best when the sweep ended before
            client.set_tag(before, "best", "false")
        summary = {**values, f"best_validation_{metric}": float(facts["validation"])}
        of_run = {"best.trial": run_id, **by}
        log_new(client, of_sweep.info.run_id, of_sweep.data.metrics, summary, now_ms, of_run)
        client.log_dict(run_id, tests, "test.json")
        for of, picture in pictures.items():
            with TemporaryDirectory() as temporary:
                (Path(temporary) / of).write_bytes(picture)
                client.log_artifacts(of_sweep.info.run_id, temporary)
                if of == CLASSES:
                    client.log_artifacts(run_id, temporary)
        return _register(client, run_id, checkpoint, name, facts, below)

    registered: registry.Registered | None = tracker.ask("the best checkpoint", write)
    published = next((record for record in records if record.id == trial), None)
    if registered is not None and published is not None:
        version = registered.version

        def describe(client: "MlflowClient", runs: dict[str, str]) -> None:
            run = client.get_run(runs[trial]).info
            became, note = Published(published, run.experiment_id, run.run_id, name, version), ""
            with _extra("the description of the sweep's run in the tracking store is that of its beginning"):
                note = sweep_ended(facts, tests, records, became)
            if note:
                client.set_tag(runs[SWEEP_RUN], NOTE, texts({NOTE: note})[NOTE])

        # By itself: what is registered stays so, whatever becomes of its description.
        tracker.ask("the description of the sweep", describe)
    return registered


def _register(
    client: "MlflowClient", run_id: str, checkpoint: "Storage", name: str, facts: dict[str, str], below: str
) -> registry.Registered:
    """Register the checkpoint, after its files, and what MLflow needs to load it, lie ``below`` its run's artifacts."""
    with checkpoint.local() as local:
        tags = {**facts, CHECKSUMS: json.dumps({file: checksum(local / file) for file in CHECKPOINT_FILES})}
        if registry.registered(client, name, run_id, tags) is None:
            with TemporaryDirectory() as temporary:
                for file in CHECKPOINT_FILES:
                    shutil.copyfile(local / file, Path(temporary) / file)
                try:
                    write_served_model(Path(temporary), run_id=run_id, artifact_path=below)
                except Exception as error:  # mirtune's own commands need none of that
                    for file in EXTRA_FILES:
                        (Path(temporary) / file).unlink(missing_ok=True)
                    warn(f"MLflow's own tools cannot load what is registered ({first_line(error)}); mirtune can")
                client.log_artifacts(run_id, temporary, below)
    return registry.register(client, name, run_id, tags, below)


def _own_note(run: "Run") -> str:
    """What was said of a run before its test scores were."""
    return str(run.data.tags.get(NOTE, "")).partition("\n\n| test corpus")[0]


def _beside(tests: Mapping[str, Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Metrics of a run beside the one that was searched for: the other scores of each corpus, and each class's F1."""
    values: dict[str, float] = {}
    for corpus, score in tests.items():
        others = [name for name in ("micro_f1", "macro_f1", "precision", "recall") if name in score and name != metric]
        values |= {f"test_{name}.{corpus}": float(score[name]) for name in others}
        classes = score.get("classes", {})
        values |= {f"test_f1_{name}.{corpus}": f1 for name, of in classes.items() if (f1 := f1_of(of)) is not None}
    return values


def _cost(
    trial: str, facts: Mapping[str, str], folder: "Storage | None", records: "Sequence[TrialRecord]"
) -> dict[str, str]:
    """Tags that say what the sweep took, how fast the best trial trained, and by which mirtune."""
    found = {"mirtune_version": version_of("mirtune")}
    result = None
    with suppress(OSError):  # a storage that is away for a moment takes two tags from the version, and no more
        result = None if folder is None else ResultFile.load(folder, facts.get("sweep.id", ""))
    if result is not None:
        found |= {"trial_hours": f"{result.trial_hours:.6g}", "gpu_hours": f"{result.gpu_hours:.6g}"}
    history = next((record.history for record in records if record.id == trial), [])
    speeds = [entry["metrics"][SPEED] for entry in history if SPEED in entry["metrics"]]
    return found | ({SPEED: f"{median(speeds):.6g}"} if speeds else {})


def _pictures(tests: dict[str, dict[str, Any]], facts: Mapping[str, str], folder: "Storage | None") -> dict[str, bytes]:
    """Pictures of the sweep by name: what cannot be drawn or read is left out, and told."""
    from tuner.class_picture import draw_classes

    found: dict[str, bytes] = {}
    with _extra("the learning curves are not in the tracking store"):
        if folder is not None and folder.exists(CURVES):
            found[CURVES] = folder.read(CURVES)
    with _extra("the picture of the classes is not in the tracking store"):
        if tests and all(score.get("classes") for score in tests.values()):
            found[CLASSES] = draw_classes(tests, f"{facts['sweep']}: the best checkpoint, class by class")
    return found


@contextmanager
def _extra(without: str) -> Iterator[None]:
    """Tell of an error in what comes on top: it must not keep a checkpoint from being registered."""
    try:
        yield
    except Exception as error:
        warn(f"{without} ({first_line(error)}); the checkpoint is not concerned")
