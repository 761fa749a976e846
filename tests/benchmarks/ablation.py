"""What each part of the recipe `mirtune` is worth: the recipe without it, everything else and the seed the same.

    python tests/benchmarks/ablation.py --shards DIR --corpora groove groove_stems music --out results/ablation

Each row is one short training, which with `--start CHECKPOINT` goes on from there: what is left out of a young
network's data makes learning easier, whatever it does later. Choices are to be made by the rendered columns alone. With
`--real` corpora that nothing is chosen by are scored as well, once a row. Rows that OUT.json has already are not
trained again; it belongs to one start, architecture and length.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from data_prep.files import write_atomically
from trainables.checkpoint import Checkpoint
from trainables.config import MIRTUNE, Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.evaluation import evaluate
from trainables.loop import fit
from trainables.mixing import as_heard
from trainables.network import Network, best_device
from trainables.peaks import STUDY_RULE
from trainables.tasks import find_task

HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "crnn": {"layers": 2, "hidden": 72, "unit": "gru"},
    "rnn": {"layers": 2, "hidden": 144},
}
WHOLE = "nothing"
WITHOUT: dict[str, dict[str, Any]] = {  # the thing, and how it is switched off
    WHOLE: {},
    "each class's own level": {"class_gain_db": 0},
    "each class's own equaliser": {"class_equaliser_db": 0},
    "each class's own pitch": {"class_pitch_semitones": 0},
    "gain": {"gain_db": 0},
    "equaliser": {"equaliser_db": 0},
    "music": {"music_share": 0, "bleed_share": 0},
    "rooms": {"room_share": 0},
    "dynamics": {"compression_share": 0},
    "pitch": {"pitch_semitones": 0},
    "stretch": {"stretch": 0},
    "noise": {"noise_share": 0},
    "windows of music alone, and of silence": {"bleed_share": 0, "silence_share": 0},
    "each band's level (the window's alone)": {"level": "window"},
    "the window's level": {"level": "as_recorded"},
    "averaged weights": {"average_decay": 0},
    "weights of classes (of frames instead)": {"weigh": "frames"},
    "class weights scaled to 0.3 (0.1 instead)": {"weight_scale": 0.1},
    "each band's mean and deviation (one for all instead)": {"standardise": "all"},
    "labels of what can be heard alone": {"audible_rise": 0},
    "strict onsets (shifts of a frame allowed instead)": {"shift_frames": 1},
}
CORPORA_WITHOUT = {"stems (recordings alone)": "stems"}


def settings_of(changes: dict[str, Any], arguments: argparse.Namespace) -> Settings:
    """The recipe, short, with changes."""
    short = {"epoch_windows": arguments.windows, "max_epochs": arguments.epochs, "learning_rate": arguments.rate}
    return MIRTUNE.with_values({**short, "average_decay": 0.99, **changes})


def row_of(name: str, corpora: tuple[str, ...], settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train once and score the best epoch: F1 by the tuned rule and by the study's, and each class's."""
    config = TrainingConfig(corpora, arguments.architecture, HYPERPARAMETERS[arguments.architecture], settings)
    began, task, device = time.monotonic(), find_task(config.task), best_device()
    torch.manual_seed(settings.seed)
    data = as_heard(TrainingData.open(corpora, arguments.shards, task.targets), settings, device)
    network = Network.fitting(data, task, config.architecture, config.hyperparameters, settings.level).to(device)
    if arguments.start:
        start = Checkpoint.load(arguments.start)
        own = (
            {}
            if start.config.settings.level == settings.level
            else {"mean": network.mean, "deviation": network.deviation}
        )
        network.load_state_dict({**start.weights, **own})
    curve: list[float] = []
    best: Checkpoint | None = None
    for epoch in fit(network, task, data, settings):
        curve.append(epoch.metrics["validation_micro_f1"])
        if epoch.is_best:
            best = Checkpoint(
                config, data.classes, data.features, data.bands, epoch.weights, peak_rule=epoch.rule, epoch=epoch.number
            )
    assert best is not None
    scores = {}
    for corpus, split in [(corpora[0], "validation"), (corpora[0], "test"), *((of, "all") for of in arguments.real)]:
        scores[f"{corpus} {split}"] = scored(best, corpus, split, arguments.shards)
    return {"without": name, "scores": scores, "curve": curve, "seconds": time.monotonic() - began}


def scored(checkpoint: Checkpoint, corpus: str, split: str, shards: Path) -> dict[str, Any]:
    """Micro F1, each class's, and micro F1 by the study's rule."""
    tuned = evaluate(checkpoint, corpus, shards, split=split)
    plain = evaluate(checkpoint, corpus, shards, split=split, rule=STUDY_RULE)
    classes = {name: of.f1 for name, of in tuned.classes.items()}
    return {"f1": tuned.micro_f1, "plain_f1": plain.micro_f1, "interval": tuned.interval, "classes": classes}


def table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Markdown, with the change against the whole recipe in brackets where that has been measured."""
    columns = list(rows[0]["scores"])
    whole = next((row["scores"] for row in rows if row["without"] == WHOLE), None)
    lines = [
        f"# What each part of the recipe is worth ({arguments.architecture}, {arguments.epochs} epochs of "
        f"{arguments.windows} windows a row, one seed)",
        "",
        "Micro F1 within 50 ms by the rule tuned on validation; in brackets the change. One seed each: changes of less "
        "than about 0.01 say nothing."
        + (f" Each row goes on from {arguments.start}, trained by the whole recipe." if arguments.start else ""),
        "",
        "| without | " + " | ".join(columns) + " | test by the study's rule |",
        "| --- |" + " --- |" * (len(columns) + 1),
    ]
    for row in rows:
        compared = whole is not None and row["without"] != WHOLE
        cells = [
            f"{of['f1']:.3f}" + (f" ({of['f1'] - whole[name]['f1']:+.3f})" if whole and compared else "")
            for name, of in row["scores"].items()
        ]
        lines.append(f"| {row['without']} | " + " | ".join(cells) + f" | {row['scores'][columns[1]]['plain_f1']:.3f} |")
    return "\n".join(lines) + "\n"


def measured_with(arguments: argparse.Namespace) -> dict[str, Any]:
    """What all rows of a table have in common."""
    names = ("architecture", "corpora", "epochs", "windows", "rate", "real", "start")
    values = {name: getattr(arguments, name) for name in names}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def rows_of_earlier(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows that are there already; exits where they were measured otherwise."""
    path = arguments.out.with_suffix(".json")
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    if content["measured_with"] != measured_with(arguments):
        sys.exit(f"{path} was measured with {content['measured_with']}; give the same, or another --out")
    return list(content["rows"])


def main() -> None:
    """Train what is not there yet; write the table after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=["groove", "groove_stems", "music"])
    parser.add_argument("--real", nargs="*", default=[], help="prepared corpora to score, whole; nothing is chosen by")
    parser.add_argument("--out", type=Path, default=Path("results/ablation"))
    parser.add_argument("--architecture", default="crnn", choices=sorted(HYPERPARAMETERS))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--windows", type=int, default=1600)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="of the same architecture")
    parser.add_argument("--only", nargs="*", help="rows whose name begins so")
    arguments = parser.parse_args()
    rows, corpora = rows_of_earlier(arguments), tuple(arguments.corpora)
    planned = [(name, corpora, changes) for name, changes in WITHOUT.items()]
    planned += [(name, tuple(c for c in corpora if word not in c), {}) for name, word in CORPORA_WITHOUT.items()]
    for name, of, changes in planned:
        if any(row["without"] == name for row in rows):
            continue
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        rows.append(row_of(name, of, settings_of(changes, arguments), arguments))
        content = json.dumps({"measured_with": measured_with(arguments), "rows": rows}, indent=1) + "\n"
        for suffix, text in ((".json", content), (".md", table(rows, arguments))):
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(arguments.out.with_suffix(suffix)) as temporary:
                temporary.write_text(text)
        print(table(rows, arguments).splitlines()[-1], f"{rows[-1]['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
