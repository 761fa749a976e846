"""The README.md beside a pulled checkpoint."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.telling import in_words

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def card(version: "ModelVersion", folder: str) -> str:
    """What the checkpoint is, how good, where from, and how to use it, in Markdown; each text on its line."""
    tags = {key: printable(value) for key, value in version.tags.items()}
    corpora = " and ".join(tags["corpora"].split("+"))
    metric = in_words(tags["metric"])
    rows = [f"| {corpora} | validation | {float(tags['validation']):.3f} |"]
    rows += [
        f"| {printable(corpus)} | test, protocol {protocol} | {value:.3f} |"
        for corpus, protocol, value in _tests(version.tags)
    ]
    made = "\n".join(f"- {key}: {tags[key]}" for key in ("sweep", "parameters", "trials", "epochs") if key in tags)
    return f"""# {tags["corpora"]}/{tags["architecture"]}, version {version.version}

A mirtune checkpoint: `{tags["architecture"]}`, task `{tags["task"]}`, trained on {corpora}.

| corpus | split | {metric} |
| --- | --- | --- |
{chr(10).join(rows)}

{made}

Made by

    {tags["command"]}

Use it

    mirtune evaluate {folder} --on {tags["corpora"].split("+")[0]}
    mirtune transcribe AUDIO --checkpoint {folder} --out midi

`config.json` says how it was trained; `model.safetensors` holds the weights.
"""


def _tests(tags: Mapping[str, str]) -> list[tuple[str, str, float]]:
    """Corpus, protocol and score of the tests; none where the store holds something else."""
    try:
        tests: Mapping[str, Mapping[str, Any]] = json.loads(tags.get("tests", "{}"))
        return [
            (corpus, printable(str(score["protocol"])), float(score[tags["metric"]])) for corpus, score in tests.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
