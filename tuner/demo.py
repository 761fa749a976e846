"""The demonstration: everything mirtune does, small, on grooves that it generates and renders itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.corpora import CORPORA, PrepOptions
from tuner import store
from tuner.options import SweepOptions

CORPUS, UNSEEN = "demo", "demo_unseen"
# Sizes that a processor trains in minutes; `mirtune sweep` searches the whole spaces.
SWEEPS: dict[str, dict[str, Any]] = {
    "vit": {
        "max_epochs": 10,
        "narrow": {"layers": (2,), "width": (72,), "heads": (2, 4), "learning_rate": (1e-3, 2e-3)},
    },
    "crnn": {
        "max_epochs": 3,
        "narrow": {"layers": (2,), "hidden": (72,), "unit": ("lstm",), "learning_rate": (2e-3, 3e-3, 4e-3)},
    },
}
TRIALS, BATCH_SIZE = 3, 8


@dataclass(frozen=True)
class Demonstration:
    """Where the demonstration left its files, and how the best checkpoint did on the corpus it never saw."""

    checkpoint: Path
    clip: Path
    midi: Path
    picture: Path
    score: dict[str, Any]
    seconds: float


def demo(
    *,
    shards: Path = Path("shards"),
    results: Path = Path("results"),
    tracking_uri: str = store.DEFAULT_TRACKING_URI,
    hours: float | None = None,
    recordings: Path | None = None,
    say: Callable[[str], None] = print,
) -> Demonstration:
    """Prepare, search, rank, pull, evaluate and transcribe; ``say`` is told what happens.

    ``recordings``: the folder of the corpus mdb, to evaluate on real recordings as well. Raises what its steps raise.
    """
    from data_prep.job import prepare
    from trainables.checkpoint import Checkpoint
    from trainables.evaluation import evaluate
    from trainables.transcription import Transcriber, plot, write_midi
    from tuner.leaderboard import leaderboard, table
    from tuner.registry import pull
    from tuner.sweep import sweep
    from tuner.telling import safe

    began = time.monotonic()

    def headline(text: str) -> None:
        say(f"\n== {text} ({time.monotonic() - began:.0f} s)")

    options = PrepOptions(hours=hours)
    headline("Preparing: grooves are generated, rendered with kits and accompaniment, and turned into frames")
    sources = {CORPUS: None, UNSEEN: None} | ({"mdb": recordings} if recordings else {})
    for corpus, source in sources.items():
        manifest = prepare(corpus, source=source, shards=shards, options=options)
        held = [f"{split} {of.seconds / 60:.0f} min" for split, of in manifest.splits.items() if of.tracks]
        say(f"{corpus} ({CORPORA[corpus].title}): {', '.join(held)}")

    for architecture, chosen in SWEEPS.items():
        headline(f"Searching {architecture}: {TRIALS} trials of {chosen['max_epochs']} epochs")
        sweep(
            SweepOptions(
                corpora=(CORPUS,), architecture=architecture, trials=TRIALS, batch_size=BATCH_SIZE, shards=shards,
                tracking_uri=tracking_uri, storage=str(results / "sweeps"), **chosen,
            )
        )  # fmt: skip

    headline("The leaderboard")
    rows = [row for row in leaderboard(tracking_uri, [CORPUS]) if row.corpus == CORPUS]
    say(rendered(table(rows)))
    best = max(rows, key=lambda row: row.validation)
    checkpoint_folder = pull(f"{CORPUS}/{best.architecture}", results / "demo" / "best", tracking_uri)
    say(f"pulled {CORPUS}/{best.architecture} into {checkpoint_folder}")

    headline("Evaluating it on what it never saw")
    checkpoint = Checkpoint.load(checkpoint_folder)
    scores = [evaluate(checkpoint, corpus, shards, split="all") for corpus in sources if corpus != CORPUS]
    for score in scores:
        classes = ", ".join(f"{name} {of.f1:.2f}" for name, of in score.classes.items())
        say(f"{score.corpus}: micro F1 {score.micro_f1:.3f} ({classes}; {score.tracks} tracks, 50 ms)")

    headline("Transcribing a clip")
    clip = write_clip(results / "demo" / "clip.wav")
    transcription = Transcriber(checkpoint).transcribe(clip)
    midi, picture = clip.with_suffix(".mid"), clip.with_suffix(".png")
    write_midi(transcription, midi)
    plot(transcription, picture, title="A groove the network never heard: what it made of it", seconds=12)
    say(f"{len(transcription.onsets)} onsets in {transcription.seconds:.0f} s")
    say(f"  audio    {clip}\n  MIDI     {midi}\n  picture  {picture}\n  weights  {checkpoint_folder}")
    seconds = time.monotonic() - began
    say(f"\nDone in {seconds:.0f} s. Look at every trial:  mlflow ui --backend-store-uri {safe(tracking_uri)}")
    return Demonstration(checkpoint_folder, clip, midi, picture, scores[0].to_dict(), seconds)


def write_clip(path: Path) -> Path:
    """Render the first groove of the unseen styles to a WAV file."""
    import numpy as np
    import soundfile

    from data_prep.corpora.track import Heard
    from data_prep.files import write_atomically
    from data_prep.rates import SAMPLE_RATE_HZ

    track = next(iter(CORPORA[UNSEEN].tracks(None, PrepOptions())))
    heard = track.recording.read()
    assert isinstance(heard, Heard)
    samples = np.concatenate(list(heard.blocks))
    with write_atomically(path) as temporary:
        soundfile.write(temporary, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return path


def rendered(table: Any) -> str:
    """A rich table as plain text."""
    from io import StringIO

    from rich.console import Console

    text = StringIO()
    Console(file=text, width=120).print(table)
    return text.getvalue().rstrip()
