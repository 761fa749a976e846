"""Scores of registered models on corpora that they were not trained on: tags of the version, one a corpus.

`zero_shot.CORPUS` is a JSON object: the score under its metric's name, `split`, `protocol`, `tracks`, `interval` (95 %,
or null) and `when` (ISO 8601, UTC). What a store holds was written by others: what is no such object is left out.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.finite import is_finite
from data_prep.material import material_of
from data_prep.refused import Refused
from tuner.model_versions import answering

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PREFIX = "zero_shot."
DEFAULT_METRIC = "micro_f1"


def is_zero_shot(trained_on: Iterable[str], corpus: str, shards: str | Path | None = None) -> bool:
    """Whether nothing of ``corpus`` is among the corpora that a model was trained on, under whatever name.

    ``shards``: where corpora lie prepared, whose manifests say what they are made of; their names say it otherwise.
    """
    material = material_of(corpus, shards)
    return not any(material & material_of(name, shards) for name in trained_on)


def record(
    name: str, score: Mapping[str, Any], tracking_uri: str, version: "ModelVersion | None" = None,
    shards: str | Path | None = None,
) -> None:  # fmt: skip
    """Keep a score on the registered version that it is of: of CORPUS/ARCHITECTURE the best one, unless one is given.

    ``score``: as `mirtune evaluate --json` shows it; the corpus's earlier score is replaced. Refused where there is no
    such model, the store does not take it, or the model was trained on that corpus (see ``is_zero_shot``).
    """
    from tuner.registry import described, find

    version = version or find(name, tracking_uri)
    corpus, metric = str(score["corpus"]), version.tags.get("metric", DEFAULT_METRIC)
    trained_on = version.tags["corpora"].split("+")
    if not is_zero_shot(trained_on, corpus, shards):
        raise Refused(f"{name} was trained on {'+'.join(trained_on)}: its score on {corpus} is not zero-shot")
    if metric not in score:
        raise Refused(f"the score on {corpus} lacks {metric}, by which {name} was chosen")
    kept = {key: score[key] for key in (metric, "split", "protocol", "tracks")}
    kept |= {"interval": score.get("interval"), "when": datetime.now(UTC).isoformat(timespec="seconds")}
    with answering(tracking_uri) as client:
        client.set_model_version_tag(version.name, str(version.version), f"{PREFIX}{corpus}", json.dumps(kept))
        if version.description == described(version):  # else somebody wrote another
            now = client.get_model_version(version.name, str(version.version))
            client.update_model_version(version.name, str(version.version), described(now))


def scores_of(tags: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Corpus -> what ``record`` kept, of a registered version with these tags; none for versions without."""
    metric = tags.get("metric", DEFAULT_METRIC)
    found = {key.removeprefix(PREFIX): _parsed(text, metric) for key, text in tags.items() if key.startswith(PREFIX)}
    return {corpus: score for corpus, score in sorted(found.items()) if score is not None}


def _parsed(text: str, metric: str) -> dict[str, Any] | None:
    """The score in a tag, its kinds checked; None where it is something else."""
    try:
        content = json.loads(text)
        value, when, given = float(content[metric]), str(content["when"]), content["interval"]
        interval = None if given is None else [float(bound) for bound in given]
        numbers = [value, *(interval or ())]
        if len(numbers) not in (1, 3) or not all(map(is_finite, numbers)) or not datetime.fromisoformat(when).tzinfo:
            return None
        return {
            metric: value,
            "split": str(content["split"]),
            "protocol": str(content["protocol"]),
            "tracks": int(content["tracks"]),
            "interval": interval,
            "when": when,
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
