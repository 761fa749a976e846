"""What a sweep will take, told before it begins: its trials and epochs at most, and the time that those need.

When a training ends by itself, or is stopped, nobody knows before: so the time is at most that.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, printable
from tuner.options import SweepOptions, check_beginning, folder_of, location_of, made_name
from tuner.pace import Pace, Triple, measured, recorded
from tuner.packing import Packing, default_share, network_bytes, packing_of
from tuner.plan import Plan, check
from tuner.records import load_records
from tuner.sweep_folder import SweepFile

if TYPE_CHECKING:
    from trainables.config import TrainingConfig


@dataclass(frozen=True)
class Forecast:
    """What a sweep takes at most; ``trials`` and ``epochs`` (of all trials) are those that are left to do.

    ``seconds``: with configurations that are all fast, middling, slow; None where the pace is not known.
    """

    trials: int
    epochs: int
    max_epochs: int
    windows: int  # in an epoch
    validation_windows: int
    batch_size: int
    at_once: int
    gpus_per_trial: float
    cpus_per_trial: int
    pace: Pace | None
    seconds: Triple | None
    time_budget_s: float | None = None

    @property
    def trial_seconds(self) -> Triple | None:
        """Seconds of all trials, one behind the other."""
        if self.pace is None:
            return None
        return _triple(self.epochs * self.epoch_s(of) + self.trials * self.pace.besides_s for of in (2, 1, 0))

    def epoch_s(self, which: int) -> float:
        """Seconds of an epoch of a slow (0), a middling (1) or a fast (2) configuration."""
        assert self.pace is not None
        return self.windows / self.pace.training[which] + self.validation_windows / self.pace.validation[which]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "trial_seconds": self.trial_seconds}


def forecast(options: SweepOptions, plan: Plan) -> Forecast:
    """What the checked sweep will take; nothing is started or written, but a cluster that RAY_ADDRESS names is asked.

    Refused where there is no room for a trial.
    """
    import torch

    from data_prep.remote_corpora import at_hand
    from trainables.data import TrainingData
    from trainables.mixing import as_heard
    from trainables.tasks import find_task

    packing, batch = _packing(options, plan)
    file = SweepFile.load(plan.folder)
    records = {record.number: record for record in load_records(plan.folder)} if file is not None else {}
    if file is not None:
        batch = file.options.get("batch_size") or batch
    options = replace(options, batch_size=batch)
    left = [
        options.max_epochs - (records[number].epochs if number in records else 0)
        for number in range(1, options.trials + 1)
        if number not in records or not records[number].ended
    ]
    config = _config(options, batch)
    task, device = find_task(options.task), torch.device("cuda" if packing.gpus else "cpu")
    shards = at_hand(location_of(options.shards), options.corpora)
    data = TrainingData.open(tuple(sorted(options.corpora)), shards, task.targets)
    windows = config.settings.epoch_windows or sum(map(len, data.sources))
    found = Forecast(
        trials=len(left), epochs=sum(left), max_epochs=options.max_epochs, batch_size=batch, windows=windows,
        validation_windows=len(data.validation), at_once=min(packing.at_once, max(len(left), 1)),
        gpus_per_trial=packing.gpus, cpus_per_trial=options.cpus_per_trial, pace=None, seconds=None,
        time_budget_s=options.time_budget_s,
    )  # fmt: skip
    pace = recorded(options, packing.gpus)
    if pace is None and (device.type == "cpu" or torch.cuda.is_available()):
        heard = as_heard(data, config.settings, device, packing.share)
        pace = measured(config, plan, packing, heard, options.cpus_per_trial)
    if pace is None:
        return found
    known = replace(found, pace=pace)
    assert known.trial_seconds is not None
    # The last round of trials may leave places empty.
    rounds = -(-known.trials // known.at_once) / max(known.trials, 1)
    return replace(known, seconds=_triple(of * rounds for of in known.trial_seconds))


def _packing(options: SweepOptions, plan: Plan) -> tuple[Packing, int]:
    """How trials would share the cluster that RAY_ADDRESS names, else this machine; and the windows in a batch."""
    import torch

    if (os.environ.get("RAY_ADDRESS") or "local") != "local":
        from tuner.cluster import ray_running

        with ray_running() as resources:
            return packing_of(options, plan, resources)
    gpus = torch.cuda.device_count()
    resources = {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(gpus)}
    if options.gpus_per_trial is not None or not gpus:
        return packing_of(options, plan, resources)
    _, batch = packing_of(replace(options, gpus_per_trial=1.0), plan, resources)
    network = network_bytes(
        options.architecture, plan.space, bands=plan.bands, classes=plan.classes, windows=batch, task=options.task
    )
    share, why = default_share(
        device_bytes=torch.cuda.get_device_properties(0).total_memory, corpus_bytes=plan.frame_bytes,
        network_bytes=network, gpus=gpus, cpus=resources["CPU"], cpus_per_trial=options.cpus_per_trial,
        trials=options.trials,
    )  # fmt: skip
    packing, _ = packing_of(replace(options, gpus_per_trial=share), plan, resources)
    return replace(packing, why=why), batch


def _config(options: SweepOptions, batch: int) -> "TrainingConfig":
    """What the trials share, without hyperparameters."""
    from trainables.config import RECIPES, TrainingConfig

    settings = replace(
        RECIPES[options.recipe], batch_size=batch, max_epochs=options.max_epochs, seed=options.seed,
        precision=options.precision, corpus_power=options.corpus_power,
    )  # fmt: skip
    return TrainingConfig(
        corpora=tuple(sorted(options.corpora)), architecture=options.architecture, hyperparameters={},
        settings=settings, task=options.task,
    )  # fmt: skip


def to_begin(options: SweepOptions) -> Plan:
    """The sweep, checked as it would be where it began or went on; Refused where it could not, and nothing written."""
    options = replace(options, name=options.name or made_name(options))
    file = SweepFile.load(folder_of(options.storage, options.name))
    if file is not None and not options.resume:
        raise Refused(
            f"there is a sweep named {options.name!r} in {options.storage}; go on with it by --resume, or choose "
            "another --name"
        )
    plan = check(options, file)
    if file is not None:
        check_beginning(file, options, plan.checksums)
    return plan


def lines(options: SweepOptions, plan: Plan, found: Forecast) -> list[str]:
    """A forecast for people."""
    corpora = ", ".join(sorted(options.corpora))
    held = f"{found.gpus_per_trial:g} GPU" if found.gpus_per_trial else f"{found.cpus_per_trial} CPU"
    said = [
        f"sweep {plan.name} would search {options.architecture} on {corpora} (recipe {options.recipe})",
        f"  trials    {found.trials:,} to do, {found.at_once} at once with {held} each",
        f"  epochs    {found.epochs:,} at most ({found.max_epochs} a trial)",
        f"  windows   {found.windows:,} an epoch in batches of {found.batch_size}, "
        f"{found.validation_windows:,} for validation",
    ]
    if found.pace is None or found.seconds is None:
        said.append("  time      not known: no sweep like it is in the storage, and this machine has no GPU to try")
    else:
        slow, middle, fast = (f"{of:,.3g}" for of in found.pace.training)
        quick, middling, long = map(in_time, found.seconds)
        said += [
            f"  pace      {middle} windows/s a trial ({slow} to {fast})",
            f"            from {found.pace.source}",
            f"  time      about {middling} ({quick} to {long}, were all trials as fast or as slow as these)",
            "            if no trial stops early; besides half a minute for Ray's start and the test at the end",
        ]
    if found.time_budget_s is not None:
        said.append(f"  budget    ends after {in_time(found.time_budget_s)} in any case")
    return [*map(printable, said), "nothing was started; leave out --dry-run to begin"]


def in_time(seconds: float) -> str:
    """A duration in two units: "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _triple(values: Iterable[float]) -> Triple:
    low, middle, high = values
    return low, middle, high
