"""Evaluate a checkpoint on a folder of your own recordings, each with an annotation of the same name beside it.

    python examples/evaluate_your_recordings.py [FOLDER]

Without a folder six short pieces are made, with a text file of onsets beside each: they stand for yours.
What annotations may look like: docs/corpora.md, "Your own recordings".
"""

import sys
from pathlib import Path

from songs import make_songs, write_annotation

from data_prep.corpora import PrepOptions
from data_prep.job import prepare
from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint
from trainables.evaluation import evaluate

OUT = Path("results/examples/evaluate_your_recordings")


def main(recordings: Path | None) -> None:
    """Prepare the recordings, evaluate on them, print the scores."""
    if recordings is None:
        recordings = OUT / "recordings"
        for song, onsets in make_songs(recordings, 6, seconds=12).items():
            write_annotation(song.with_suffix(".txt"), onsets)

    # The same as `mirtune prep folder --source RECORDINGS --name mine --shards SHARDS --workers 1`.
    manifest = prepare("folder", source=recordings, shards=OUT / "shards", options=PrepOptions(name="mine", workers=1))
    for refused in manifest.refused:
        print(f"left out: {refused['reason']}")

    # Nothing of it was trained on, so all of it may be scored, whatever split it was drawn into.
    score = evaluate(Checkpoint.load(DEFAULT_FOLDER), "mine", OUT / "shards", split="all")
    interval = "" if score.interval is None else f" (95 %: {score.interval[0]:.2f} to {score.interval[1]:.2f})"
    print(f"micro F1 within {score.tolerance_ms} ms: {score.micro_f1:.3f}{interval}, {score.tracks} tracks")
    for name, of in score.classes.items():
        print(f"  {name:8} F1 {of.f1:.3f}  precision {of.precision:.3f}  recall {of.recall:.3f}  {of.onsets} onsets")
    print("hardest first:")
    for track in sorted(score.by_track, key=lambda track: track.micro_f1):
        print(f"  {track.id:16} F1 {track.micro_f1:.3f}, {track.onsets} onsets")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
