"""Scores of a study's best checkpoints: those that their sweeps took, and others that are taken here and kept."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.finite import is_finite
from tuner.study_cells import Cell, Entry, Known
from tuner.telling import first_line, say, warn

if TYPE_CHECKING:
    from data_prep.storage import Storage

OF = "corpus_checksum"  # of the preparation that a score was taken on
MARKS = ("zero_shot", "best", "best_zero_shot")  # of scores in a study's JSON, which hold for that time


def is_score(score: Any, metric: str) -> bool:
    """Whether it can stand in a study: what a file holds may have been written by others."""
    if not isinstance(score, dict) or not all(isinstance(score.get(of), str) for of in ("corpus", "split", "protocol")):
        return False
    interval = score.get("interval")
    numbers = [score.get(metric), score.get("tracks"), *(interval if isinstance(interval, list) else [])]
    if not (interval is None or (isinstance(interval, list) and len(interval) == 2)):
        return False
    return all(map(is_finite, numbers))


def kept_scores(path: Path) -> list[dict[str, Any]]:
    """The cells in a study's JSON, whatever they hold; none where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [of for of in content["cells"] if isinstance(of, dict) and isinstance(of.get("scores"), dict)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def fill_in(
    cell: Cell, entry: Entry, wanted: Mapping[str, tuple[str, str]], kept: Sequence[Mapping[str, Any]], metric: str,
    checksums: Mapping[str, str],
) -> dict[str, tuple[str, str]]:  # fmt: skip
    """Fill in the cell's scores on ``wanted``: corpus -> split and protocol; what is missing of it, if it has a model.

    Scores are those that the sweep took, or that ``kept`` has of the same checkpoint and preparation.
    """
    result = Known.of(cell).result
    if result is None:
        return {}
    earlier = {
        corpus: score
        for of in kept
        if of.get("checkpoint") == entry.checkpoint
        for corpus, score in of["scores"].items()
        if is_score(score, metric) and score.get(OF) == checksums.get(corpus)
    }
    missing = {}
    for corpus, (split, protocol) in wanted.items():
        for score in (result.tests.get(corpus), earlier.get(corpus)):
            if is_score(score, metric) and (score["split"], score["protocol"]) == (split, protocol):  # type: ignore[index]
                plain = {key: of for key, of in score.items() if key not in MARKS}  # type: ignore[union-attr]
                entry.scores[corpus] = {**plain, OF: checksums[corpus]}
                break
        else:
            missing[corpus] = (split, protocol)
    return missing


def score_cell(cell: Cell, entry: Entry, missing: Mapping[str, tuple[str, str]], checksums: Mapping[str, str]) -> None:
    """Score the cell's best checkpoint on ``missing``: corpus -> split and protocol."""
    result = Known.of(cell).result
    if result is None or not missing:
        return
    say(f"{cell.name}: scoring its best checkpoint on {', '.join(missing)}")
    checkpoint = cell.folder / result.trial / result.checkpoint
    for corpus, score in _scored(checkpoint, missing, cell, result.gpus_per_trial).items():
        entry.scores[corpus] = {**score, OF: checksums[corpus]}


def _scored(
    checkpoint: "Storage", wanted: Mapping[str, tuple[str, str]], cell: Cell, gpus: float
) -> dict[str, dict[str, Any]]:
    """In this process; in one with what a trial had where others than this machine are in the cluster."""
    import ray

    from tuner.cluster import is_this_machine
    from tuner.options import location_of

    given = (checkpoint, dict(wanted), location_of(cell.options.shards), cell.options.cpus_per_trial)
    if not ray.is_initialized() or is_this_machine():
        return _score(*given)
    task = ray.remote(max_retries=1)(_score).options(num_cpus=cell.options.cpus_per_trial, num_gpus=gpus)
    try:
        return ray.get(task.remote(*given))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _score(
    checkpoint: "Storage", wanted: Mapping[str, tuple[str, str]], shards: str, threads: int
) -> dict[str, dict[str, Any]]:
    import torch

    from data_prep.remote_corpora import at_hand
    from trainables.checkpoint import Checkpoint
    from trainables.evaluation import evaluate

    with checkpoint.local() as folder:
        trained = Checkpoint.load(folder)
    here = at_hand(shards, list(wanted))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return {
            corpus: evaluate(trained, corpus, here, split=split, protocol=protocol).to_dict()
            for corpus, (split, protocol) in wanted.items()
        }
    finally:
        torch.set_num_threads(before)


def record_zero_shot(cell: Cell, entry: Entry, zero_shot: Collection[str]) -> bool:
    """Keep the cell's scores on corpora that it never trained on with its registered version, unless they are there.

    False, and told, where the store does not take them.
    """
    from tuner.model_versions import answering, model_name, versions
    from tuner.zero_shot import record, scores_of

    scores = {of: entry.scores[of] for of in zero_shot if of in entry.scores}
    if not scores:
        return True
    name, uri = model_name(entry.corpora, entry.architecture), cell.options.tracking_uri
    try:
        with answering(uri) as client:
            mine = [
                version
                for version in versions(client, name)
                if version.tags.get("sweep.id") == entry.checkpoint.partition("/")[0]
                and version.tags.get("epoch") == str(entry.best_epoch)
                and version.tags.get("validation") == str(entry.validation)
            ]
        for version in mine[:1]:
            there = scores_of(version.tags)
            for corpus, score in scores.items():
                kept = {key: of for key, of in there.get(corpus, {}).items() if key != "when"}
                if not kept or any(score.get(key) != of for key, of in kept.items()):
                    record(name, score, uri, version, cell.options.shards)
    except Exception as error:  # what the store does not take must not end a study
        warn(f"{cell.name}: the tracking store did not take its zero-shot scores ({first_line(error)})")
        return False
    return True
