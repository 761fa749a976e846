"""How many trials share a GPU: as many as its memory holds with the corpus placed there, four at most."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

    from tuner.options import SweepOptions
    from tuner.plan import Plan

GIB = 2**30
BATCH_ON_GPU, BATCH_ON_CPU = 128, 16
MOST_ON_A_GPU = 4  # a GPU that four trials keep busy has little left for a fifth
# Cost counts what a step must keep. Gradients of activations, kernels' workspaces, and blocks that the allocator holds
# but cannot use come on top.
SLACK = 1.5
PATIENCE_S = 120.0  # for a node's answer, which may have to start a process and CUDA
MAX_CONFIGURATIONS = 200  # that are tried in search of one that builds


@dataclass(frozen=True)
class Packing:
    """How trials share a cluster: GPUs for each, how many run at a time, and why, in a few words or none."""

    gpus: float
    at_once: int
    why: str = ""
    waits: bool = False  # the cluster has no room for a trial yet

    @property
    def share(self) -> float:
        """The part of a GPU's memory that is a trial's; 1 on a processor."""
        return min(self.gpus, 1.0) or 1.0


def default_share(
    *, device_bytes: int | None, corpus_bytes: int, network_bytes: int | None, gpus: float, cpus: float,
    cpus_per_trial: int, trials: int,
) -> tuple[float, str]:  # fmt: skip
    """GPUs for each trial where the user named no number, and why.

    ``device_bytes``: a GPU's memory; ``corpus_bytes``: the frames of training and validation as they lie on it;
    ``network_bytes``: parameters, gradients, optimiser and activations of the space's largest network at the batch in
    use; None where unknown. ``gpus`` and ``cpus``: the cluster's. All need not be positive.

    A trial is a process of its own, so n trials on a GPU place the corpus n times. The most, up to four, whose needs
    (context, network with slack, corpus within the part of a share that frames may take) each fit 1/n of the memory is
    taken. A corpus that not even a whole GPU holds is streamed whatever n is, so the network alone decides. There are
    never more trials than processors for them or than a sweep has for each GPU. Where the network does not fit beside
    others, or a size is unknown, a trial has the whole GPU: its memory guard then halves what goes through at once.
    """
    if gpus < 1:
        return max(gpus, 0.0), ""
    if device_bytes is None or network_bytes is None:
        return 1.0, "the sizes of GPU and network are unknown"
    from trainables.placement import CONTEXT_BYTES, FOR_FRAMES

    resident = corpus_bytes <= FOR_FRAMES * device_bytes
    need = CONTEXT_BYTES + SLACK * network_bytes + (corpus_bytes if resident else 0)
    why = f"{need / GIB:.1f} of {device_bytes / GIB:.0f} GiB each" + ("" if resident else ", the corpus streamed")
    most = min(MOST_ON_A_GPU, int(cpus // cpus_per_trial / gpus), math.ceil(trials / gpus))
    for together in range(most, 1, -1):
        part = device_bytes / together
        if need <= part and (not resident or corpus_bytes <= FOR_FRAMES * part):
            return math.floor(1e4 / together) / 1e4, why  # Ray counts GPUs in ten thousandths
    return 1.0, why


def pack(options: "SweepOptions", resources: Mapping[str, float], default: tuple[float, str]) -> Packing:
    """How the trials run: as the user said, else as ``default`` says (GPUs for each, and why).

    Refused where the cluster cannot hold a single trial and nobody said that it will grow (``at_once``).
    """
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    gpus_per_trial, why = default if options.gpus_per_trial is None else (options.gpus_per_trial, "")
    waits = options.cpus_per_trial > cpus or gpus_per_trial > gpus
    if options.at_once is not None:
        return Packing(gpus_per_trial, min(options.at_once, options.trials), why, waits)
    if waits:
        raise Refused(
            f"a trial wants {options.cpus_per_trial} CPUs and {gpus_per_trial:g} GPUs and the cluster has {cpus:g} and "
            f"{gpus:g}; lower --cpus-per-trial or --gpus-per-trial, or give --at-once where the cluster will grow"
        )
    at_once = cpus // options.cpus_per_trial
    if gpus_per_trial >= 1:
        at_once = min(at_once, gpus // gpus_per_trial)
    elif gpus_per_trial:  # a share lies on one GPU: two halves of different GPUs hold no trial
        at_once = min(at_once, gpus * int(1 / gpus_per_trial + 1e-6))  # 1 / 0.1 is a little less than 10
    return Packing(gpus_per_trial, max(1, min(int(at_once), options.trials)), why)


def packing_of(options: "SweepOptions", plan: "Plan", resources: Mapping[str, float]) -> tuple[Packing, int]:
    """How trials share the cluster, and the windows in a batch; Refused where it cannot hold a single trial."""
    from trainables.config import RECIPES
    from tuner.telling import first_line, warn

    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    on_gpu = gpus > 0 if options.gpus_per_trial is None else options.gpus_per_trial > 0
    batches = {"study": BATCH_ON_GPU if on_gpu else BATCH_ON_CPU}
    batch = options.batch_size or batches.get(options.recipe, RECIPES[options.recipe].batch_size)
    if options.gpus_per_trial is not None or gpus < 1:
        return pack(options, resources, (gpus, "")), batch
    answer = ask_device_bytes()  # which takes seconds: let them pass together
    network = network_bytes(
        options.architecture, plan.space, bands=plan.bands, classes=plan.classes, windows=batch, task=options.task
    )
    try:
        device = answer()
    except Exception as error:
        warn(f"no node says how much memory its GPU has ({first_line(error)}); each trial gets a whole one")
        device = None
    default = default_share(
        device_bytes=device, corpus_bytes=plan.frame_bytes, network_bytes=network, gpus=gpus, cpus=cpus,
        cpus_per_trial=options.cpus_per_trial, trials=options.trials,
    )  # fmt: skip
    return pack(options, resources, default), batch


def network_bytes(
    architecture: str, space: "Mapping[str, Domain]", *, bands: int, classes: int, windows: int, task: str
) -> int | None:
    """Bytes of training with ``windows`` at once a network of the space's largest numbers that go together, or None."""
    from trainables.cost import cost_of

    costs = []
    for configurations in largest(space):
        for hyperparameters in itertools.islice(configurations, MAX_CONFIGURATIONS):
            try:
                cost = cost_of(architecture, hyperparameters, bands=bands, classes=classes, windows=windows, task=task)
            except Refused:  # values that do not go together
                continue
            costs.append(cost.training_bytes)
            break
    return max(costs, default=None)


def largest(space: "Mapping[str, Domain]") -> Iterator[Iterator[dict[str, Any]]]:
    """For each combination of words ("gru", "lstm") in a space, its configurations, those of the largest numbers first.

    Training settings (learning rate, weight decay) do not belong to a configuration and are left out.
    """
    from trainables.config import SETTING_NAMES

    values = {name: _values(of) for name, of in space.items() if name not in SETTING_NAMES}
    words = {name: of for name, of in values.items() if any(isinstance(value, str) for value in of)}
    numbers = {name: sorted(of, reverse=True) for name, of in values.items() if name not in words}
    for chosen in itertools.product(*words.values()):
        fixed = dict(zip(words, chosen, strict=True))
        yield (fixed | dict(zip(numbers, sizes, strict=True)) for sizes in itertools.product(*numbers.values()))


def _values(domain: "Domain") -> Sequence[Any]:
    """What a domain may draw; of a range, its highest and lowest value."""
    from ray.tune.search.sample import Categorical, Integer, Quantized

    if isinstance(domain, Categorical):
        return list(domain.categories)
    lower, upper = domain.lower, domain.upper  # type: ignore[attr-defined]
    if isinstance(domain, Integer) and not isinstance(domain.sampler, Quantized):
        upper -= 1  # Tune's whole numbers end before it, unless in steps
    return [upper, lower]


def ask_device_bytes() -> Callable[[], int]:
    """Ask a node of the cluster how much memory its GPU has; the function that is returned waits for the answer.

    One node's GPU stands for all. That function raises what the node raised, or where none answers in time.
    """
    import ray

    @ray.remote(num_gpus=0.01, num_cpus=0, max_retries=0)
    def ask() -> int:
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)

    asked = ask.remote()

    def answer() -> int:
        try:
            return int(ray.get(asked, timeout=PATIENCE_S))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(asked)  # else it would take a part of a GPU from a trial later
            raise

    return answer
