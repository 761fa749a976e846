"""The README.md beside a checkpoint: one that was pulled, and one that is handed on to others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.refused import printable
from tuner.run_notes import f1_of, table
from tuner.telling import in_words, markdown
from tuner.zero_shot import scores_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainables.checkpoint import Checkpoint


def card(version: "ModelVersion", folder: str) -> str:
    """What the checkpoint is, how good, where from, and how to use it, in Markdown; each text on its line, as it is."""
    tags, said = version.tags, {key: markdown(value) for key, value in version.tags.items()}
    names, tests = tags["corpora"].split("+"), _tests(tags)
    corpora, scored = markdown(" and ".join(names)), {corpus for corpus, *_ in tests}
    tested = next((name for name in names if name in scored), names[0])  # those that are only mixed are not scored
    rows = [(corpora, "validation", f"{float(tags['validation']):.3f}")]
    rows += [(markdown(corpus), f"test, protocol {markdown(by)}", f"{value:.3f}") for corpus, by, value in tests]
    rows += [
        (markdown(corpus), f"{markdown(of['split'])}, protocol {markdown(of['protocol'])}, zero-shot",
         f"{of[tags['metric']]:.3f}")
        for corpus, of in scores_of(tags).items()
    ]  # fmt: skip
    made = "\n".join(f"- {key}: {said[key]}" for key in ("sweep", "parameters", "trials", "epochs") if key in said)
    return f"""# {said["corpora"]}/{said["architecture"]}, version {version.version}

A mirtune checkpoint: **{said["architecture"]}**, task {said["task"]}, trained on {corpora}.

{table(("corpus", "split", markdown(in_words(tags["metric"]))), rows)}

{made}

Made by

    {printable(tags["command"])}

Use it

    mirtune evaluate {folder} --on {printable(tested)}
    mirtune transcribe AUDIO --checkpoint {folder} --out midi

`config.json` says how it was trained; `model.safetensors` holds the weights.
"""


def _tests(tags: Mapping[str, str]) -> list[tuple[str, str, float]]:
    """Corpus, protocol and score of the tests; none where the store holds something else."""
    try:
        tests: Mapping[str, Mapping[str, Any]] = json.loads(tags.get("tests", "{}"))
        return [(corpus, str(score["protocol"]), float(score[tags["metric"]])) for corpus, score in tests.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


@dataclass(frozen=True)
class Source:
    """What a checkpoint was trained on: a thing's name, what it gave, its licence, and whom to credit."""

    name: str
    gave: str
    licence: str
    credit: str = ""


def shared_card(
    checkpoint: "Checkpoint", scores: Sequence[Mapping[str, Any]], sources: Sequence[Source], *,
    title: str, made_by: str, limits: Sequence[str] = (),
) -> str:  # fmt: skip
    """A model card in Markdown for a checkpoint that is handed on.

    scores: the objects of `mirtune evaluate --json`, in the order to show. made_by: the command that trained it.
    limits: sentences about what it does badly.
    """
    config, classes = checkpoint.config, checkpoint.classes
    searched = ", ".join(f"{name} {value}" for name, value in config.hyperparameters.items())
    thresholds = zip(classes, checkpoint.peak_rule.thresholds_of(len(classes)), strict=True)
    shown = ("corpus", "split", "tracks", "micro F1", "95 %", "macro F1", *classes)
    used = [(of.name, of.gave, of.licence, of.credit) for of in sources]
    sections = [
        f"# {title}",
        f"A mirtune checkpoint: `{config.architecture}` ({searched}), {checkpoint.parameters:,} parameters, task "
        f"`{config.task}`, epoch {checkpoint.epoch}, features `{checkpoint.features}`.",
        "## How good",
        _escaped(shown, [_scored(score, classes) for score in scores]),
        "F1 within 50 ms of the annotation, by class on the right; intervals by bootstrap over performances. "
        f"Thresholds: {', '.join(f'{name} {threshold:g}' for name, threshold in thresholds)}.",
        "## Trained on",
        _escaped(("source", "what it gave", "licence", "credit"), used),
        *(("## Limits", "\n".join(f"- {limit}" for limit in limits)) if limits else ()),
        f"Made by\n\n    {made_by}",
        "`config.json` says how it was trained; `model.safetensors` holds the weights.",
    ]
    return "\n\n".join(sections) + "\n"


def _scored(score: Mapping[str, Any], classes: Sequence[str]) -> tuple[str, ...]:
    """A row of the table of scores; empty where a class does not occur or there is no interval."""
    interval = score.get("interval")
    of_classes = (score["classes"][name] for name in classes)
    f1s = ("" if f1 is None else f"{f1:.3f}" for f1 in map(f1_of, of_classes))
    sure = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
    means = f"{score['micro_f1']:.3f}", sure, f"{score['macro_f1']:.3f}"
    return score["corpus"], score["split"], str(score["tracks"]), *means, *f1s


def _escaped(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, each row on its line whatever its texts hold."""
    return table([markdown(title) for title in titles], [[markdown(cell) for cell in row] for row in rows])
