"""Transcribe a song with the checkpoint that comes with mirtune, write a MIDI file and draw what was heard.

    python examples/transcribe_a_song.py [SONG]

Without a song one is made. The results go to results/examples/transcribe_a_song.
"""

import sys
from pathlib import Path

import numpy as np
from songs import make_songs

from trainables.checkpoint import DEFAULT_FOLDER, Checkpoint
from trainables.transcription import Transcriber, plot, write_midi

OUT = Path("results/examples/transcribe_a_song")


def main(song: Path | None) -> None:
    """Transcribe, print, write, draw."""
    OUT.mkdir(parents=True, exist_ok=True)
    song = song or next(iter(make_songs(OUT, 1)))

    # Loaded once, used for any number of songs.
    transcriber = Transcriber(Checkpoint.load(DEFAULT_FOLDER))
    transcription = transcriber.transcribe(song)

    onsets = transcription.onsets  # columns: times_s, classes, velocities
    print(f"{song.name}: {len(onsets)} onsets in {transcription.seconds:.1f} s")
    counts = np.bincount(onsets.classes, minlength=len(transcription.classes))
    for name, count in zip(transcription.classes, counts, strict=True):
        print(f"  {name:8} {count:4}")
    for time_s, index, strength in list(zip(onsets.times_s, onsets.classes, onsets.velocities, strict=True))[:5]:
        print(f"  {time_s:6.2f} s  {transcription.classes[index]} ({strength:.2f})")

    midi, picture = OUT / f"{song.stem}.mid", OUT / f"{song.stem}.png"
    write_midi(transcription, midi)
    plot(transcription, picture, title=song.name, seconds=12)
    print(f"{midi}, {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
