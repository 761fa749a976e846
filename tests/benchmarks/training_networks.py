"""How fast every architecture is trained and validated, what bounds it, and how far it is from that bound."""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from timing import print_table
from training_machine import Bounds, HostMemory, Machine, bounds, sequential_steps
from training_shards import training_data

from data_prep.shards import Corpus
from trainables.config import Settings
from trainables.cost import Cost, cost_of
from trainables.data import TrainingData
from trainables.loop import fit
from trainables.network import Network
from trainables.placement import frame_bytes, place
from trainables.stopwatch import Stopwatch
from trainables.tasks import find_task

TASK = find_task("drum_onsets")


@dataclass(frozen=True)
class Case:
    """A network to be timed, and the training windows a second asked of it on an H200, if any."""

    architecture: str
    size: str
    hyperparameters: dict[str, Any]
    asked: float | None = None
    streamed: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """As the table calls it."""
        marks = [word for word in ("streamed", "compiled") if getattr(self, word)]
        return " ".join((self.architecture, self.size, *marks))


CASES = (
    Case("rnn", "2 x 72 gru", {"layers": 2, "hidden": 72}),
    Case("rnn", "3 x 288 gru", {"layers": 3, "hidden": 288}),
    Case("cnn", "2 blocks, 2 x 288", {}, asked=15_000),
    Case("cnn", "3 blocks, 4 x 288", {"convolutions": 3, "layers": 4}),
    Case("crnn", "3 x 144 gru", {"layers": 3, "hidden": 144}, asked=3_000),
    Case("crnn", "3 x 288 lstm", {"layers": 3, "hidden": 288, "unit": "lstm"}),
    Case("conv_transformer", "2 x 72", {"layers": 2, "width": 72}),
    Case("conv_transformer", "4 x 288", {"layers": 4, "width": 288}, asked=5_000),
    Case("vit", "2 x 72", {"layers": 2, "width": 72, "heads": 4}),
    Case("vit", "4 x 288", {"layers": 4, "width": 288, "heads": 4}, asked=5_000),
)
STREAMED = {"cnn 2 blocks, 2 x 288", "crnn 3 x 144 gru"}  # on a GPU also from host memory, as a larger corpus would
HEADINGS = (
    "network", "parameters", "GFLOP", "train", "valid", "of peak", "data", "frames", "GPU GB", "host GB", "step us",
    "bound", "asked",
)  # fmt: skip
ASKED_VALIDATION = 20_000  # windows a second on an H200
ASKED_DATA_SHARE = 0.03
NO_SHARE = 1e-9  # of the GPU for frames: they have to stream


@dataclass(frozen=True)
class Plan:
    """How much is run: windows of the corpus, windows a step, measured epochs at most, and seconds for them."""

    train_windows: int
    validation_windows: int
    batch: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """A row of the table. Rates are windows a second; ``share_of_peak`` that of the machine's products."""

    case: Case
    cost: Cost
    batch: int
    precision: str
    frames_lie: str
    training: float
    validation: float
    share_of_peak: float
    data_share: float
    stages_s: dict[str, float]
    first_epoch_s: float  # with whatever is done once: choice of kernels, compilation
    seconds: float  # of a later one
    micro_batch: int
    device_bytes: int | None
    frames_bytes: int
    host_bytes: int | None
    sequential_steps: int
    step_s: float  # of one of these, for a single window
    bounds: Bounds
    bound: str
    times_bound: float


def compare_networks(
    machine: Machine, plan: Plan, corpus: Corpus, only: list[str], compiled: bool, quick: bool
) -> list[dict[str, Any]]:
    """Time the cases and print their table; the rows for JSON."""
    cases = [case for case in CASES if not only or {case.architecture, case.name} & set(only)]
    if quick:
        cases = list({case.architecture: case for case in reversed(cases)}.values())[::-1]
    if machine.device.type == "cuda":
        cases += [replace(case, streamed=True) for case in cases if case.name in STREAMED]
    if compiled:
        cases += [replace(case, compiled=True) for case in cases]
    data = training_data(corpus)
    rows, failed = [], []
    for case in cases:
        try:
            rows.append(timed(case, data, corpus, machine, plan))
            print(f"  {case.name}: {rows[-1].training:,.1f} windows/s", flush=True)
        except (RuntimeError, FloatingPointError) as error:  # the others are worth having
            failed.append({"name": case.name, "error": str(error)})
            print(f"  {case.name} FAILED: {error}", flush=True)
    print()
    on_gpu = machine.device.type == "cuda"
    print_table(
        f"Batch {plan.batch}, {plan.train_windows:,} training and {plan.validation_windows:,} validation windows, "
        f"{machine.precision}\n"
        "  train, valid: windows a second; of peak: FLOP/s of products against the peak; data: its share of an epoch;\n"
        "  host GB: the process's own memory, which holds what the networks before have left\n"
        "  step: of a recurrent layer, one window; bound: what takes longest at the least, and training's time over it",
        HEADINGS if on_gpu else HEADINGS[:-1],
        [_cells(row)[: len(HEADINGS) if on_gpu else -1] for row in rows],
    )
    return [{"name": row.case.name, **asdict(row)} for row in rows] + failed


def _cells(row: Measured) -> tuple[str, ...]:
    asked = row.case.asked
    missed = [
        what
        for what, is_missed in (
            ("train", asked is not None and row.training < asked),
            ("valid", row.validation < ASKED_VALIDATION),
            ("data", row.data_share > ASKED_DATA_SHARE),
        )
        if is_missed
    ]
    return (
        row.case.name,
        f"{row.cost.parameters:,}",
        f"{row.cost.training_flop / 1e9:.2f}",
        f"{row.training:,.1f}",
        f"{row.validation:,.1f}",
        f"{row.share_of_peak:.1%}",
        f"{row.data_share:.1%}",
        row.frames_lie,
        "-" if row.device_bytes is None else f"{row.device_bytes / 1e9:.2f}",
        "-" if row.host_bytes is None else f"{row.host_bytes / 1e9:.2f}",
        f"{row.step_s * 1e6:.1f}" if row.step_s else "-",
        f"{row.bound} {row.times_bound:.1f}x",
        ("-" if asked is None else f"{asked:,.0f}") + (f" MISSED {', '.join(missed)}" if missed else ""),
    )


def timed(case: Case, data: TrainingData, corpus: Corpus, machine: Machine, plan: Plan) -> Measured:
    """Train a case for some epochs after one that warms up; medians of those."""
    device = machine.device
    torch.manual_seed(0)
    network = Network.fitting(data, TASK, case.architecture, case.hyperparameters).to(device)
    cost = cost_of(
        case.architecture, case.hyperparameters, bands=data.bands, classes=len(data.classes), windows=plan.batch
    )
    limits = bounds(machine, cost, network, plan.batch, len(data.classes))
    if case.streamed:
        data = training_data(elsewhere(corpus))
    if case.compiled:
        network.model.compile()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    settings = Settings(batch_size=plan.batch, max_epochs=1 + plan.epochs, learning_rate=1e-4)
    epochs: list[dict[str, float]] = []
    with HostMemory() as host:
        share = NO_SHARE if case.streamed else 1.0
        going = fit(network, TASK, data, settings, share=share, stopwatch=Stopwatch(device))
        first = next(going)
        began = time.perf_counter()
        for epoch in going:
            epochs.append(epoch.metrics)
            if time.perf_counter() - began > plan.seconds:
                break
    median = {name: statistics.median(epoch[name] for epoch in epochs) for name in epochs[0]}
    steps = sequential_steps(network)
    bound, times = limits.highest(1 / median["windows_per_s"])
    splits = [place(split, device, share) for split in (data.train, data.validation)]
    return Measured(
        case=case,
        cost=cost,
        batch=plan.batch,
        precision=machine.precision,
        frames_lie=splits[0].kind,
        training=median["windows_per_s"],
        validation=median["validation_windows_per_s"],
        share_of_peak=cost.training_flop * median["windows_per_s"] / machine.peak_flop_per_s,
        data_share=median["data_s"] / median["seconds"],
        stages_s={name: value for name, value in median.items() if name.endswith("_s") and "windows" not in name},
        first_epoch_s=first.metrics["seconds"],
        seconds=median["seconds"],
        micro_batch=int(median["micro_batch"]),
        device_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        frames_bytes=sum(map(frame_bytes, (data.train, data.validation))),
        host_bytes=host.peak_bytes,
        sequential_steps=steps,
        step_s=limits.steps_s * plan.batch / steps if steps else 0.0,
        bounds=limits,
        bound=bound,
        times_bound=times,
    )


def elsewhere(corpus: Corpus) -> Corpus:
    """The same corpus by another path, so that frames which a GPU holds by the first are not used."""
    path = corpus.folder / "streamed"
    if not path.exists():
        path.symlink_to(".")
    return Corpus(path, corpus.manifest, corpus.table)
