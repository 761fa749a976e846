"""Test scores for the page, and the F1 of each class on validation, out of whatever a sweep's folder holds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.reporting.gather import Gathered, number, text
from tuner.run_notes import f1_of

BY_CLASS = "f1_"


def tests_of(sweep: Gathered) -> list[dict[str, Any]]:
    """The best checkpoint's score on each test split; without what is no score.

    ``before``: of a sweep that goes on, whose score it is; else empty.
    """
    before = "" if sweep.ended or sweep.result is None else f"of {_name_of(sweep.result.trial)}, before it went on"
    found = sweep.result.tests if sweep.result is not None and isinstance(sweep.result.tests, Mapping) else {}
    scores = []
    for corpus, score in found.items():
        if not isinstance(score, Mapping) or number(score.get(sweep.metric)) is None:
            continue
        classes = score.get("classes")
        about = {name: text(score.get(name, "")) for name in ("split", "protocol", "tolerance_ms", "tracks")}
        rows = classes.items() if isinstance(classes, Mapping) else ()
        by_class = {text(name): _rates(of, f1_of(of)) for name, of in rows if isinstance(of, Mapping)}
        rates = _rates(score, score.get(sweep.metric))
        scores.append({"corpus": text(corpus), "before": before, **about, **rates, "classes": by_class})
    return scores


def _name_of(trial: str) -> str:
    """ "trial 7" for "trial-0007"."""
    number = trial.removeprefix("trial-")
    return f"trial {int(number)}" if number.isascii() and number.isdigit() and len(number) < 10 else text(trial)


def _rates(score: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Numbers of a score whose ``value`` is given; of a class that does not occur there are none but its onsets."""
    if value is None:
        nothing = dict.fromkeys(("value", "low", "high", "precision", "recall"))
        return {**nothing, "onsets": number(score.get("onsets"))}
    interval = score.get("interval")
    ends: Sequence[Any] = interval if isinstance(interval, list | tuple) and len(interval) == 2 else (None, None)
    low, high = map(number, ends)
    rates = {name: number(score.get(name)) for name in ("precision", "recall")}
    return {
        "value": number(value),
        "low": low,
        "high": high,
        **rates,
        "onsets": number(score.get("onsets")),
    }


def classes_of(sweep: Gathered, tests: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """The classes and the best trial's F1 of each on validation, in its best epoch; none where the task has none."""
    best, prefix = sweep.best, f"validation_{BY_CLASS}"
    entries = [] if best is None else [of["metrics"] for of in best.history if of["epoch"] == best.best_epoch]
    known = {text(key.removeprefix(prefix)): number(of) for key, of in (entries[0] if entries else {}).items()
             if key.startswith(prefix)}  # fmt: skip
    return known | {name: None for test in tests for name in test["classes"] if name not in known}
