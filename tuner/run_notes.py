"""What people read of a run in MLflow: its name, and its description in Markdown (the tag `mlflow.note.content`)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from data_prep.refused import printable
from tuner.telling import in_words, markdown, safe

if TYPE_CHECKING:
    from tuner.records import TrialRecord

NOTE = "mlflow.note.content"
LONGEST_NOTE = 7500  # a tag's text; MLflow takes 8000
MOST_SHOWN, MOST_TRIALS = 4, 15  # hyperparameters in a name, trials in a table
SHORT = {"learning_rate": "lr", "weight_decay": "wd"}


@dataclass(frozen=True)
class Published:
    """What became of the best checkpoint: its trial and run, and the version it was registered as."""

    trial: "TrialRecord"
    experiment_id: str
    run_id: str
    model: str
    version: int


def shown(text: Any) -> str:
    """A text as it is, on one line of Markdown, which MLflow's pages take, and HTML in it."""
    return markdown(safe(str(text)))


def code(command: str) -> str:
    """A command as a block of its own."""
    return f"    {printable(safe(command))}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the cells are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run_name(record: "TrialRecord", fixed: Collection[str] = ()) -> str:
    """ "trial 7: layers 3, hidden 144, unit gru, lr 0.004": what is not ``fixed``, the network's first, as it fits."""
    from trainables.config import SETTING_NAMES

    chosen = {name: value for name, value in record.hyperparameters.items() if name not in fixed}
    network = [name for name in chosen if name not in SETTING_NAMES]
    searched = [*network[:MOST_SHOWN], *(name for name in ("learning_rate",) if name in chosen)]
    gist = ", ".join(f"{SHORT.get(name, name)} {_number(chosen[name])}" for name in searched)
    return printable(f"{record.name}: {gist}" if gist else record.name)[:120]


def sweep_begun(parameters: Mapping[str, Any], tags: Mapping[str, str], go_on: str) -> str:
    """The description of a sweep's run until it has a result."""
    what = f"Searching **{shown(tags.get('architecture', '?'))}** on **{shown(tags.get('corpora', '?'))}**"
    size = f": {parameters['trials']} trials" if "trials" in parameters else ""
    command = code(str(parameters.get("command", go_on)))
    return "\n\n".join((f"{what}{size}.", command, "If it is stopped, it goes on with", code(go_on)))[:LONGEST_NOTE]


def trial_ended(record: "TrialRecord", metric: str, sweep: str, command: str) -> str:
    """The description of a trial's run: how far it came, how good it was, or why it failed."""
    took = f"{record.epochs} epochs, {_duration(record.seconds)}"
    score = ""
    if record.best is not None:
        score = f": {shown(in_words(metric))} **{record.best:.3f}** in epoch {record.best_epoch}"
    parts = [f"{record.name.capitalize()} of sweep **{shown(sweep)}**, {record.state} after {took}{score}."]
    if record.attempts > 1:
        parts.append(f"It was begun {record.attempts} times: processes or machines were lost.")
    if record.error:
        parts.append(f"> {shown(record.error)}")
    return "\n\n".join((*parts, *([code(command)] if command else [])))[:LONGEST_NOTE]


def sweep_ended(
    facts: Mapping[str, str], tests: Mapping[str, Mapping[str, Any]], records: Sequence["TrialRecord"],
    best: Published,
) -> str:  # fmt: skip
    """The description of a sweep's run with its result; ``facts`` as `publish.publish` has them."""
    sign = -1 if facts["mode"] == "max" else 1
    scored = (of for of in records if of.best is not None)
    ranked = sorted(scored, key=lambda of: (of.state == "failed", sign * (of.best or 0.0)))[:MOST_TRIALS]
    metric = in_words(facts["metric"])
    run = f"[{best.trial.name}](#/experiments/{best.experiment_id}/runs/{best.run_id})"
    page = f"#/models/{quote(best.model, safe='+')}/versions/{best.version}"
    model = f"[{shown(best.model)}, version {best.version}]({page})"
    took = f"{float(facts['trial_hours']):.2f} hours of trials" if "trial_hours" in facts else ""
    gpu = f", {float(facts['gpu_hours']):.2f} GPU hours" if float(facts.get("gpu_hours", 0)) else ""
    parts = [
        f"**{shown(facts['architecture'])}** on **{shown(facts['corpora'])}**: {len(records)} trials, {took}{gpu}.",
        code(facts["command"]),
        f"Best: {run}, validation {metric} **{float(facts['validation']):.3f}** in epoch {facts.get('epoch', '?')}, "
        f"{int(facts['parameters']):,} parameters. Registered as {model}.",
        *([scores(tests, facts["metric"])] if tests else []),
        ranking(ranked, metric),
    ]
    if left := [of for of in records if of not in ranked]:
        parts.append(f"and {len(left)} more, of which {sum(of.state == 'failed' for of in left)} failed.")
    return "\n\n".join(parts)[:LONGEST_NOTE]


def f1_of(score: Mapping[str, Any] | None) -> float | None:
    """The F1 of a class in a score; None where the class does not occur: no F1 can be had of it, not even 0."""
    if not score or score.get("onsets") == 0:
        return None
    found: float | None = score.get("f1")
    return found


def scores(tests: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Test scores, a row a corpus, with each class where the task has classes."""
    classes = list(dict.fromkeys(name for score in tests.values() for name in score.get("classes", {})))
    rows = []
    for corpus, score in tests.items():
        interval = score.get("interval")
        sure = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        of_classes = (f1_of(score.get("classes", {}).get(name)) for name in classes)
        f1s = ("" if f1 is None else f"{f1:.3f}" for f1 in of_classes)
        rows.append([shown(corpus), f"**{score[metric]:.3f}**", sure, shown(score["protocol"]), *f1s])
    return table(("test corpus", in_words(metric), "95 %", "protocol", *map(shown, classes)), rows)


def ranking(records: Sequence["TrialRecord"], metric: str) -> str:
    """The trials by their score, with what was searched where they differ."""
    names = list(dict.fromkeys(name for of in records for name in of.hyperparameters))
    differ = [name for name in names if len({str(of.hyperparameters.get(name)) for of in records}) > 1]
    rows = [
        [of.name, f"{of.best:.3f}", str(of.best_epoch), of.state, _duration(of.seconds)]
        + [shown(_number(of.hyperparameters.get(name, ""))) for name in differ]
        for of in records
    ]
    return table(("trial", f"validation {metric}", "epoch", "state", "took", *map(shown, differ)), rows)


def model_note(name: str, task: str, corpora: str, architecture: str) -> str:
    """The description of a registered model: what its versions are, and how they are used."""
    slashed = f"{printable(corpora)}/{printable(architecture)}"
    return "\n\n".join(
        (
            f"Checkpoints of **{shown(architecture)}** (task {shown(task)}) trained on **{shown(corpora)}**, the best "
            "of a sweep each. The alias `best` is at the one with the best validation score.",
            code(f"mirtune pull {slashed} --out best") + "\n" + code("mirtune transcribe AUDIO --checkpoint best"),
            "or by MLflow's own means, where mirtune is installed: a table of path, time_s, class and strength",
            code(f'mlflow.pyfunc.load_model("models:/{printable(name)}@best").predict(["song.wav"])')
            + "\n"
            + code(f'mlflow models serve -m "models:/{printable(name)}@best" --env-manager local'),
        )
    )


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
