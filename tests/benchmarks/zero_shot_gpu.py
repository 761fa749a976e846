"""A whole run on a machine with a GPU and little else: render, search, train, calibrate, score, within its minutes.

It needs torch, numpy and pyarrow there (OpenCV, where it is installed, halves the time of the rendering). Three steps:

1. Here, with everything installed, once; corpora are prepared with `mirtune prep` first: groove with kits and
   accompaniment; music; mdb, and as mdb_stems (`--name`) a copy of its folder whose full_mix are the stems of the drums
   under the names of the mixes. Scored corpora are looked at once, when everything is decided:

       echo /.zero/ >> .git/info/exclude
       python tests/benchmarks/zero_shot_gpu.py pack .zero --groove DIR --kits DIR ... --shards DIR \\
           --validation groove --scored mdb mdb_stems --music music

   It prints the folders part-1, part-2, ..., each small enough for one call.

2. On that machine, one call a part, one after another without a pause, as it is held for 30 s; the last one runs:

       run(carry=[".zero/part-1"], command="mkdir -p /tmp/zero && cp .zero/part-1/* /tmp/zero/")
       run(carry=[".zero/part-2"], command="mkdir -p /tmp/zero && cp .zero/part-2/* /tmp/zero/")
       run(carry=[".zero/part-3"], command="cp .zero/part-3/* /tmp/zero/ && PYTHONUNBUFFERED=1 PYTHONPATH=.
           python3 tests/benchmarks/zero_shot_gpu.py run /tmp/zero --out $OUT --minutes 9", timeout_s=600)

   Where a part is left out, the kits and tracks in it are; part-1 has to be there. A second run on the same machine,
   such as `--architecture conv_transformer --seed 1`, needs no part again.

3. Here, with the files that came back:

       python tests/benchmarks/zero_shot_gpu.py load FILES_AT CHECKPOINT
       mirtune evaluate CHECKPOINT --on groove mdb
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy comes: a worker a processor renders already

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from zero_shot_pack import AROUND, SCORED, VALIDATION, pack, unpack_corpora
from zero_shot_render import render_stems_corpus

from data_prep.refused import Refused

RENDERED_BY, TRAINED_BY = 0.25, 0.92  # of the minutes, at the latest
SEARCH = 0.2  # of what is left for training goes to the choice of what is trained
HYPERPARAMETERS: dict[str, list[dict[str, Any]]] = {
    "crnn": [{"layers": 3, "hidden": 144}, {"layers": 3, "hidden": 288}],
    "rnn": [{"layers": 4, "hidden": 288}],
    "cnn": [{"convolutions": 3}],
    "conv_transformer": [{"layers": 6, "heads": 4, "width": 288}],
    "vit": [{"layers": 6, "heads": 4, "width": 288}],
}
RATES = (1e-3, 2e-3)


@dataclass
class Clock:
    """When things have to be done, and how long they took."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def by(self, share: float) -> float:
        """The moment at which a share of the minutes is over."""
        return self.began + 60 * self.minutes * share

    def within(self, part: float, share: float) -> float:
        """The moment at which a part of the time is over that is left until a share of the minutes is."""
        return time.monotonic() + part * (self.by(share) - time.monotonic())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self.say(f"{name}: {self.seconds[name]:.1f} s")

    def say(self, text: str) -> None:
        """A line with the time since the beginning."""
        print(f"{time.monotonic() - self.began:6.1f} {text}", flush=True)


def run(options: argparse.Namespace) -> None:
    """Everything on that machine; what is found lies in ``options.out``, after every better epoch."""
    clock = Clock(options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        with clock.phase("rendering"):
            stems = render_stems_corpus(
                options.folder, Path(name), options.hours, options.processes, clock.by(RENDERED_BY)
            )
        with clock.phase("unpacking"):
            packed = unpack_corpora(options.folder, Path(name))
        train(options, clock, stems, packed)


def train(options: argparse.Namespace, clock: Clock, stems: Any, packed: dict[str, list[Any]]) -> None:
    """From frames to scores."""
    import torch  # here: processes were forked before
    from zero_shot_train import (
        VALIDATION_SCORE,
        Candidate,
        Corpora,
        Training,
        calibrated,
        score_of,
        scores,
        write_checkpoint,
    )

    from trainables.config import MIRTUNE
    from trainables.network import best_device

    corpora = Corpora(stems, packed[AROUND], packed[VALIDATION], packed[SCORED])
    device = torch.device(options.device) if options.device else best_device()
    for corpus in [stems, *chain.from_iterable(packed.values())]:
        hours = {name: f"{of.seconds / 3600:.2f} h" for name, of in corpus.manifest.splits.items() if of.tracks}
        clock.say(f"{corpus.manifest.corpus}: {hours}")
    settings = MIRTUNE.with_values(
        {"batch_size": options.batch_size, "epoch_windows": options.epoch_windows, **options.settings}
    )
    training = Training(corpora.data(), options.architecture, settings, device, options.epochs, clock.say)
    sizes = options.hyperparameters or HYPERPARAMETERS[options.architecture]
    with clock.phase("search"):
        candidates = [Candidate(size, rate) for rate in options.rates for size in sizes]
        chosen, epoch_s, tried = training.search(candidates, clock.within(SEARCH, TRAINED_BY))
        clock.say(f"chosen: {chosen}")
    best, curve = None, []
    report = {"chosen": str(chosen), "tried": tried, "curve": curve, "settings": settings.to_dict()}
    with clock.phase("training"):
        for number in range(options.seeds):
            until = clock.within(1 / (options.seeds - number), TRAINED_BY)
            for epoch, checkpoint in training.train(chosen, epoch_s, until, options.seed + number):
                curve.append({"epoch": epoch.number, "seed": options.seed + number, **epoch.metrics})
                if best is None or score_of(epoch) > best.metrics[VALIDATION_SCORE]:
                    best = checkpoint
                    write_checkpoint(best, options.out)
                write_report(report, options.out)
    if best is None:
        raise Refused(f"no epoch of {chosen} ended with a finite loss; try lower --rates")
    with clock.phase("calibration and scores"):
        best = calibrated(best, corpora, device)
        write_checkpoint(best, options.out)
        rows = scores(best, corpora, device)
    write_report(report | {"scores": rows, "seconds": clock.seconds, "device": str(device)}, options.out)
    table = table_of(rows, best.classes)
    (options.out / "scores.txt").write_text(table, encoding="utf-8")
    print(table, end="", flush=True)


def write_report(report: dict[str, Any], folder: Path) -> None:
    """What was found so far."""
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def table_of(rows: dict[str, dict[str, float]], classes: tuple[str, ...]) -> str:
    """F1 of whole tracks within 50 ms."""
    columns = {"micro": "micro_f1", "macro": "macro_f1", **{name: f"f1_{name}" for name in classes}}
    lines = [f"{'F1, tracks, 50 ms':24}" + "".join(f"{name:>9}" for name in columns)]
    lines += [f"{name:24}" + "".join(f"{of[key]:9.3f}" for key in columns.values()) for name, of in rows.items()]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    packing = steps.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--groove", type=Path, required=True, help="the Groove MIDI Dataset")
    packing.add_argument("--kits", type=Path, nargs="+", required=True)
    packing.add_argument("--shards", type=Path, required=True, help="where the corpora are prepared")
    for role in ("validation", "scored", "music"):
        packing.add_argument(f"--{role}", nargs="*", default=[], metavar="CORPUS")
    packing.add_argument("--recordings-mib", type=float, default=90, help="of the kits, in 16 bits (90)")
    packing.add_argument("--music-hours", type=float, default=4, help="of all music (4)")
    running = steps.add_parser("run")
    running.add_argument("folder", type=Path, help="where the packed files lie")
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--minutes", type=float, default=9)
    running.add_argument("--hours", type=float, default=10, help="of stems to render (10)")
    running.add_argument("--processes", type=int, default=os.cpu_count())
    running.add_argument("--device")
    running.add_argument("--architecture", choices=sorted(HYPERPARAMETERS), default="crnn")
    running.add_argument("--hyperparameters", type=json.loads, nargs="+", metavar="JSON", help="of each candidate")
    running.add_argument("--rates", type=float, nargs="+", default=RATES, help="learning rates to try with each")
    running.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="others than the recipe's")
    running.add_argument("--batch-size", type=int, default=256)
    running.add_argument("--epoch-windows", type=int, default=16_384)
    running.add_argument("--epochs", type=int, default=10_000, help="at most")
    running.add_argument("--seeds", type=int, default=1, help="trainings that share the time; the best is kept")
    running.add_argument("--seed", type=int, default=0, help="of the first")
    loading = steps.add_parser("load")
    loading.add_argument("folder", type=Path, help="with the files that came back")
    loading.add_argument("into", type=Path, help="the checkpoint's folder")
    return parser.parse_args()


def main() -> int:
    """One of the three steps."""
    options = vars(parse())
    step = options.pop("step")
    if step == "pack":
        for part in pack(**options):
            size = sum(file.stat().st_size for file in part.iterdir())
            print(f"{part}: {size / 2**20:.1f} MiB, {', '.join(sorted(file.name for file in part.iterdir()))}")
    elif step == "run":
        run(argparse.Namespace(**options))
    else:
        from zero_shot_train import read_checkpoint

        checkpoint = read_checkpoint(options["folder"], options["into"])
        print(f"{options['into']}: {checkpoint.parameters:,} parameters, epoch {checkpoint.epoch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
