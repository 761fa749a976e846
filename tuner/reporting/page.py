"""The page itself: one HTML file that needs nothing else and asks no network for anything.

Text from a sweep's folder reaches it in two ways: through the template, which escapes it, and as JSON that no script
tag can end, whose texts the scripts set as text and never as HTML. A content policy lets the browser run the page's own
scripts alone and fetch nothing.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from data_prep.colours import colours_of
from data_prep.versions import version_of
from tuner.reporting.examples import Examples
from tuner.reporting.gather import (
    Gathered,
    command_of,
    curves_of,
    number,
    scalar,
    states_of,
    text,
    trials_of,
)
from tuner.reporting.hyperparameters import SURE, Importances
from tuner.reporting.scores import classes_of, tests_of
from tuner.telling import in_words

SCRIPTS = ("base.js", "trials.js", "hyperparameters.js", "table.js", "rest.js")
STYLE, TEMPLATE = "page.css", "page.html"
MANY_STATES = {"finished": "finished", "stopped": "stopped early", "failed": "failed", "lost": "lost"}
RULED = ("scheduler", "max_epochs", "batch_size", "seed", "precision", "task")


def facts_of(sweep: Gathered) -> dict[str, Any]:
    """The headline, for people and for --json: what was searched, how far it came, and what came of it."""
    options, best, result = sweep.file.options, sweep.best, sweep.result if sweep.ended else None
    hours = sum(number(record.seconds) or 0.0 for record in sweep.records) / 3600
    gpus = number(options.get("gpus_per_trial")) or 0.0
    corpora = options.get("corpora")
    return {
        "sweep": text(sweep.name),
        "corpora": [text(of) for of in corpora] if isinstance(corpora, list) else [],
        "architecture": text(options.get("architecture", "")),
        "recipe": text(options.get("recipe", "study")),
        "metric": text(sweep.key),
        "mode": sweep.mode,
        "best": None if best is None else number(best.best),
        "best_trial": None if best is None else best.number,
        "best_epoch": None if best is None else int(number(best.best_epoch) or 0),
        "best_hyperparameters": {} if best is None else {text(n): scalar(of) for n, of in best.hyperparameters.items()},
        "tests": [{name: of for name, of in score.items() if name != "classes"} for score in tests_of(sweep)],
        "trials": len(sweep.records),
        "planned": int(number(options.get("trials")) or len(sweep.records)),
        "states": states_of(sweep),
        "epochs": sum(record.epochs for record in sweep.records),
        "trial_hours": round(hours, 4),
        "gpu_hours": round(hours * gpus, 4),
        "parameters": None if result is None else number(result.parameters),
        "ended": None if result is None else _moment(result.when),
        "version": text(result.version) if result is not None else None,
        "command": command_of(sweep),
    }


def _moment(when: Any) -> str:
    """ISO 8601 as people read it."""
    try:
        return f"{datetime.fromisoformat(str(when)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return text(when)


def page(sweep: Gathered, axes: list[dict[str, Any]], importances: Importances, examples: Examples) -> str:
    """The whole HTML document."""
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    facts, tests = facts_of(sweep), tests_of(sweep)
    classes = classes_of(sweep, tests)
    data = {
        "key": text(sweep.key),
        "metric": text(in_words(sweep.key)),
        "mode": sweep.mode,
        "best": facts["best_trial"],
        "trials": trials_of(sweep),
        "curves": curves_of(sweep),
        "axes": axes,
        "importances": {"method": importances.method, "shares": {text(n): s for n, s in importances.shares.items()}},
        "tests": tests,
        "classes": [
            {"name": name, "validation": value, "colour": colour}
            for (name, value), colour in zip(classes.items(), colours_of(list(classes)), strict=True)
        ],
        "examples": examples.shown,
        "profile": sweep.profile,
    }
    data["words"] = {name: in_words(name) for name in [data["key"], *data["curves"]["metrics"]]}
    scripts = [_for_script(get_plotlyjs()), _for_script("\n".join(map(_asset, SCRIPTS)))]
    environment = Environment(loader=PackageLoader("tuner", "reporting"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        facts=facts, data_json=embedded(data), style=_asset(STYLE), scripts=scripts, policy=policy(scripts),
        classes=classes, tests=tests, importances=importances, examples=examples, sure=SURE, profile=sweep.profile,
        metric=data["metric"], plain_metric=text(in_words(sweep.metric)), fixed=_fixed(axes, sweep),
        varied=[axis for axis in axes if not axis["fixed"]], troubled=[of for of in data["trials"] if _troubled(of)],
        ruled=_ruled(sweep), state_words=MANY_STATES, version=version_of("mirtune"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", scores=_score_rows(classes, tests),
    )  # fmt: skip


def embedded(data: Any) -> str:
    """JSON in which nothing can end the script element that holds it; NaN is refused with ValueError."""
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def policy(scripts: list[str]) -> str:
    """What the browser may do with the page: run these scripts, and show what is in it."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    run = " ".join(f"'sha256-{of}'" for of in hashes)
    return f"default-src 'none'; script-src {run}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _asset(name: str) -> str:
    return (resources.files("tuner.reporting") / name).read_text(encoding="utf-8")


def _for_script(code: str) -> str:
    """Code as it may stand in a script element: whatever would end the element, or begin a comment, is escaped."""
    code = code.replace("\r\n", "\n").replace("</script", "<\\/script")
    assert "<!--" not in code
    return code


def _fixed(axes: list[dict[str, Any]], sweep: Gathered) -> dict[str, Any]:
    """Hyperparameters that all trials share, and their value."""
    first = {text(name): scalar(of) for record in sweep.records for name, of in record.hyperparameters.items()}
    return {axis["name"]: first[axis["name"]] for axis in axes if axis["fixed"]}


def _ruled(sweep: Gathered) -> dict[str, str]:
    """What the user decided beside the space."""
    options = sweep.file.options
    return {name.replace("_", " "): text(options[name]) for name in RULED if options.get(name) not in (None, "")}


def _troubled(trial: Mapping[str, Any]) -> bool:
    return trial["state"] in ("failed", "lost", "interrupted") or trial["attempts"] > 1 or trial["reduced"]


def _score_rows(classes: Mapping[str, float | None], tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a class: its F1 on validation, and on each test split F1, interval, precision, recall and onsets."""
    nothing = {"value": None, "low": None, "high": None, "precision": None, "recall": None, "onsets": None}
    return [
        {"name": name, "validation": value, "tests": [test["classes"].get(name, nothing) for test in tests]}
        for name, value in classes.items()
    ]
