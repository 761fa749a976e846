"""A sweep's hyperparameters: where they come from, how they are drawn, and how much each mattered."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner.reporting.gather import Gathered, scalar, text
from tuner.telling import first_line

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from tuner.records import TrialRecord

FEWEST = 8  # finished trials that importances are taken from
SURE = 30  # fewer say little
MOST_FANOVA = 1000  # its forest takes seconds from there on
TREES, SPARED_FROM = 64, 200  # of its forest, and the number of trials from which half of them do
LOG_FROM = 50.0  # of a hyperparameter whose domain is not known: highest over lowest value
SEED = 0


@dataclass(frozen=True)
class Importances:
    """Shares that add up to 1, highest first, or a ``note`` why there are none."""

    method: str = ""
    trials: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    note: str = ""


def distributions_of(sweep: Gathered) -> "dict[str, BaseDistribution]":
    """What each hyperparameter was drawn from, as Optuna has it; what its values tell where that is not known."""
    known = _searched(sweep.file.options)
    names = dict.fromkeys(name for record in sweep.records for name in record.hyperparameters)
    return {name: _fitting(known.get(name), _values(sweep.records, name)) for name in names}


def _searched(options: Mapping[str, Any]) -> "dict[str, BaseDistribution]":
    """The space that the sweep's options name; nothing where this version has none such."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from search_spaces import space_of

    try:
        space = space_of(options["architecture"], options.get("recipe", "study"))
        narrowed = {name: tune.choice(list(values)) for name, values in options.get("narrow", {}).items()}
        return OptunaSearch.convert_search_space({**space, **narrowed})
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _values(records: "Sequence[TrialRecord]", name: str) -> list[Any]:
    return [scalar(record.hyperparameters[name]) for record in records if name in record.hyperparameters]


def _fitting(known: "BaseDistribution | None", values: Sequence[Any]) -> "BaseDistribution":
    """``known`` where it holds all values, else one that does."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if known is not None and _holds(known, values):
        return known
    if any(isinstance(value, bool | str) for value in values):
        return CategoricalDistribution(_distinct(values))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= LOG_FROM
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _holds(known: "BaseDistribution", values: Sequence[Any]) -> bool:
    from optuna.distributions import CategoricalDistribution

    if not isinstance(known, CategoricalDistribution) and any(isinstance(value, bool | str) for value in values):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of values that it takes all the same
        try:
            return all(known._contains(known.to_internal_repr(value)) for value in values)
        except (ValueError, TypeError, UserWarning):
            return False


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Each once: numbers by size, then words; 1 and True are two, and 72 and 72.0 one."""
    found = {(isinstance(value, bool), value): value for value in values}
    return sorted(found.values(), key=lambda of: (isinstance(of, str), isinstance(of, bool), of))


def axes_of(
    sweep: Gathered, distributions: "Mapping[str, BaseDistribution]", shares: Mapping[str, float]
) -> list[dict[str, Any]]:
    """How each hyperparameter is drawn, the most important first: kind ("log", "linear", "words") and its range.

    ``fixed``: whether all trials had the same value. ``categories``: what was to choose from, in order.
    """
    from optuna.distributions import CategoricalDistribution

    axes = []
    for name, of in distributions.items():
        values = _values(sweep.records, name)
        found = _distinct(values)
        axis: dict[str, Any] = {"name": text(name), "fixed": len(found) < 2, "share": shares.get(name)}
        if isinstance(of, CategoricalDistribution):
            held = _distinct([scalar(value) for value in of.choices])
            axes.append(axis | {"kind": "words", "categories": held})
        else:
            low, high = float(of.low), float(of.high)  # type: ignore[attr-defined]
            log = bool(of.log)  # type: ignore[attr-defined]
            whole = all(isinstance(value, int) for value in values)
            axes.append(axis | {"kind": "log" if log else "linear", "low": low, "high": high, "whole": whole})
    return sorted(axes, key=lambda axis: (axis["fixed"], -(axis["share"] or 0.0)))


def importances_of(sweep: Gathered, distributions: "Mapping[str, BaseDistribution]") -> Importances:
    """How much of the searched metric's spread each varied hyperparameter explains, by Optuna's own evaluator.

    fANOVA, or PED-ANOVA where there are more than `MOST_FANOVA` trials; trials that did not finish tell nothing.
    """
    varied = [name for name in distributions if len(_distinct(_values(sweep.records, name))) > 1]
    used = [
        record for record in sweep.records
        if record.state == "finished" and record.best is not None and set(varied) <= set(record.hyperparameters)
    ]  # fmt: skip
    if len(varied) < 2:
        what = f"only {text(varied[0])} was varied" if varied else "no hyperparameter was varied"
        return Importances(note=f"Nothing to compare: {what}.")
    if len(used) < FEWEST:
        return Importances(
            note=f"Too few trials: {len(used)} finished, and importances need {FEWEST} at least ({SURE} to be of use)."
        )
    if len({record.best for record in used}) < 2:
        return Importances(note=f"Nothing to explain: all {len(used)} finished trials reached the same score.")
    return _evaluated(sweep, used, {name: distributions[name] for name in varied})


def _evaluated(
    sweep: Gathered, used: "Sequence[TrialRecord]", distributions: "Mapping[str, BaseDistribution]"
) -> Importances:
    import optuna
    from optuna import importance

    study = _study(used, distributions, sweep.mode == "max")
    few = len(used) <= MOST_FANOVA
    trees = TREES if len(used) <= SPARED_FROM else TREES // 2
    method = "fANOVA" if few else "PED-ANOVA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = (
            importance.FanovaImportanceEvaluator(n_trees=trees, seed=SEED)
            if few
            else importance.PedAnovaImportanceEvaluator()
        )
        try:
            found = importance.get_param_importances(study, evaluator=evaluator, params=list(distributions))
        except (RuntimeError, ValueError) as error:
            return Importances(note=f"Optuna could not tell them ({first_line(error)}).")
    shares = {name: float(share) for name, share in found.items() if math.isfinite(share)}
    if not shares:
        return Importances(note="Optuna found none.")
    return Importances(method, len(used), dict(sorted(shares.items(), key=lambda of: -of[1])))


def _study(
    used: "Sequence[TrialRecord]", distributions: "Mapping[str, BaseDistribution]", highest: bool
) -> "optuna.Study":
    """An Optuna study of the trials, in memory."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize" if highest else "minimize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: scalar(record.hyperparameters[name]) for name in distributions},
                    distributions=dict(distributions),
                    value=record.best,
                )
                for record in used
            ]
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study
