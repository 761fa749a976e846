"""The leaderboard: the best model of each corpus and architecture, every version of them, or every trial."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import leaderboard_store, store
from tuner.leaderboard_entries import BEST_OF, PROTOCOL, TEST, Run, Version, moment, number, point, scalar, whole
from tuner.tracking import SWEEP_RUN
from tuner.zero_shot import scores_of

if TYPE_CHECKING:
    from rich.table import Table

MS_AN_HOUR = 3_600_000


@dataclass(frozen=True)
class Row:
    """One registered version; `validation` and `test` are values of `metric`, `test` the mean over corpora if several.

    What older versions of mirtune did not write is None or empty.
    """

    corpus: str  # several joined by "+"
    architecture: str
    metric: str
    validation: float
    test: float | None
    protocol: str  # of the test score; several joined by "+"
    parameters: int
    trials: int  # of the sweep that made it
    sweep: str
    version: int
    when: str  # ISO 8601, UTC
    mode: str = "max"  # "min" where less is better
    task: str = ""
    epoch: int | None = None  # of the checkpoint
    trial_hours: float | None = None  # of the sweep's trials, added up
    gpu_hours: float | None = None
    windows_per_s: float | None = None  # while training
    mirtune_version: str = ""
    best: bool = True  # the one that is pulled
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    zero_shot: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # corpus -> score, as `zero_shot.scores_of` has it
    run: str = ""  # id of the best trial's run
    link: str = ""  # to its page, where the store is a server

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the scores under the metric's name."""
        return _named(asdict(self))


@dataclass(frozen=True)
class TrialRow:
    """One trial's run; `validation` is the metric's best value, None until the trial has ended."""

    corpus: str
    architecture: str
    metric: str
    validation: float | None
    test: float | None  # of the sweep's best alone
    protocol: str
    sweep: str
    trial: str
    state: str  # as MLflow has it: running, finished, failed or killed
    when: str  # of its beginning
    mode: str = "max"
    task: str = ""
    epoch: int | None = None  # with the best value
    trial_hours: float | None = None  # from its beginning to its end, pauses included
    gpu_hours: float | None = None  # those hours times the trial's share of a GPU
    windows_per_s: float | None = None  # of the last epoch
    mirtune_version: str = ""
    best: bool = False  # of its sweep
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    link: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the scores under the metric's name."""
        return _named(asdict(self))


def leaderboard(
    tracking_uri: str | None = None, corpora: Sequence[str] = (), *, all_versions: bool = False
) -> list[Row]:
    """A row per registered best model, each corpus's best first; with ``corpora`` only those trained on one of them.

    With ``all_versions`` a row per version. Without ``tracking_uri`` the store is `store.default_uri`. Models that
    other programs registered are left out.
    """
    uri = tracking_uri or store.default_uri()
    found = leaderboard_store.versions(uri, every=all_versions)
    link = leaderboard_store.links(uri) if found else str
    rows = []
    for version in found:
        tags = version.tags
        row = Row(
            corpus=tags["corpora"],
            architecture=tags["architecture"],
            metric=tags["metric"],
            validation=float(tags["validation"]),
            test=float(tags["test"]) if "test" in tags else None,
            protocol=tags.get("protocol", ""),
            parameters=int(tags["parameters"]),
            trials=int(tags["trials"]),
            sweep=tags["sweep"],
            version=version.version,
            when=moment(version.created_ms),
            mode=tags["mode"],
            task=tags["task"],
            epoch=whole(tags.get("epoch")),
            trial_hours=number(tags.get("trial_hours")),
            gpu_hours=number(tags.get("gpu_hours")),
            windows_per_s=number(tags.get("windows_per_s")),
            mirtune_version=tags.get("mirtune_version", ""),
            best=version.best,
            hyperparameters=point(tags.get("hyperparameters", "")),
            zero_shot=scores_of(tags),
            run=version.run_id,
            link=link(version.run_id),
        )
        if not corpora or set(corpora) & set(row.corpus.split("+")):
            rows.append(row)
    return sorted(rows, key=lambda row: (row.corpus, _behind(row), row.architecture, row.version))


def trials(tracking_uri: str | None = None, corpora: Sequence[str] = ()) -> list[TrialRow]:
    """A row per trial's run, each corpus's best first; with ``corpora`` only those trained on one of them."""
    uri = tracking_uri or store.default_uri()
    found = leaderboard_store.runs(uri)
    if not found:
        return []
    modes = _modes(found, leaderboard_store.versions(uri))
    link = leaderboard_store.links(uri)
    sweeps = {run.tags.get(store.SWEEP_ID): run for run in found if run.tags.get("trial") == SWEEP_RUN}
    rows = [
        _trial(run, sweeps.get(run.tags.get(store.SWEEP_ID)), modes, link(run.id))
        for run in found
        if run.tags.get("trial", SWEEP_RUN) != SWEEP_RUN and {"corpora", "architecture", "sweep"} <= run.tags.keys()
    ]
    rows = [row for row in rows if not corpora or set(corpora) & set(row.corpus.split("+"))]
    return sorted(rows, key=lambda row: (row.corpus, _behind(row), row.when))


def _modes(runs: Sequence[Run], versions: Sequence[Version]) -> dict[str, str]:
    """Metric -> "max" or "min", as registered versions have it; of metrics that none has, as the runs' tasks do."""
    modes = {version.tags["metric"]: version.tags["mode"] for version in versions}
    chosen_by = {name.removeprefix(BEST_OF) for run in runs for name in run.metrics if name.startswith(BEST_OF)}
    if chosen_by <= modes.keys():  # tasks take longer to load than the rest
        return modes
    from trainables.tasks import TASKS

    of_tasks = {run.tags.get("task") for run in runs} & TASKS.keys()
    return {TASKS[name].metric: TASKS[name].mode for name in of_tasks if name} | modes


def _trial(run: Run, of_sweep: Run | None, modes: Mapping[str, str], link: str) -> TrialRow:
    tags, metrics = run.tags, run.metrics
    metric = next((name.removeprefix(BEST_OF) for name in sorted(metrics) if name.startswith(BEST_OF)), "")
    took_ms = max(0, run.ended_ms - run.started_ms)  # a store's clock may be another machine's
    hours = took_ms / MS_AN_HOUR if run.ended_ms > 0 and run.started_ms > 0 else None
    gpus = number(of_sweep.parameters.get("gpus_per_trial")) if of_sweep else None
    best_epoch = metrics.get("best_epoch")
    return TrialRow(
        corpus=tags["corpora"],
        architecture=tags["architecture"],
        metric=metric,
        validation=metrics.get(f"{BEST_OF}{metric}"),
        test=metrics.get(f"{TEST}{metric}"),
        protocol="+".join(sorted({text for key, text in tags.items() if key.startswith(PROTOCOL)})),
        sweep=tags["sweep"],
        trial=tags.get("mlflow.runName", tags["trial"]),
        state=run.status.lower(),
        when=moment(run.started_ms),
        mode=modes.get(metric, "max"),
        task=tags.get("task", ""),
        epoch=None if best_epoch is None else int(best_epoch),
        trial_hours=hours,
        gpu_hours=None if hours is None or gpus is None else hours * gpus,
        windows_per_s=metrics.get("windows_per_s"),
        mirtune_version=tags.get("version.mirtune", ""),
        best=tags.get("best") == "true",
        hyperparameters={name: scalar(text) for name, text in sorted(run.parameters.items())},
        run=run.id,
        link=link,
    )


def table(rows: Sequence[Row | TrialRow]) -> "Table":
    """The rows for people, in all the columns that say something; as wide as it has to be."""
    from tuner.leaderboard_tables import tables

    return tables(rows)[0][0]


def _behind(row: Row | TrialRow) -> float:
    """What sorts the best first; those without a score come last."""
    if row.validation is None:
        return math.inf
    return -row.validation if row.mode == "max" else row.validation


def _named(content: dict[str, Any]) -> dict[str, Any]:
    metric = content.pop("metric") or "score"
    content[f"validation_{metric}"] = content.pop("validation")
    content[f"test_{metric}"] = content.pop("test")
    return content
