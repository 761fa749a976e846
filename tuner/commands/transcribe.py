"""`mirtune transcribe`."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from tuner.commands.common import (
    CHECKPOINT,
    add_gains,
    add_json,
    add_thresholds,
    add_tracking,
    gains_of,
    print_json,
    rule_of,
)

SUMMARY = "transcribe audio: one General MIDI file per input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("audio", nargs="+", type=Path, metavar="AUDIO", help="wav, flac, ogg or mp3")
    parser.add_argument("--checkpoint", default="default", metavar="CHECKPOINT", help=f"{CHECKPOINT} (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the MIDI files")
    parser.add_argument("--plot", action="store_true", help="also a PNG of spectrogram, activations and onsets")
    add_thresholds(parser)
    add_gains(parser)
    add_tracking(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Transcribe every input; Refused, before anything is written, where two would be written to one file."""
    from data_prep.refused import Refused, printable
    from trainables.transcription import Transcriber, plot, write_midi
    from tuner.registry import resolve

    twice = [stem for stem, times in Counter(path.stem for path in arguments.audio).items() if times > 1]
    if twice:
        raise Refused(
            f"two inputs are named {twice[0]!r} and would overwrite each other; transcribe them into two folders"
        )
    gains_db = gains_of(arguments)
    checkpoint = resolve(arguments.checkpoint, arguments.tracking_uri)
    transcriber = Transcriber(checkpoint, rule_of(checkpoint, arguments), gains_db)
    arguments.out.mkdir(parents=True, exist_ok=True)
    shown: list[dict[str, Any]] = []
    refused: list[Refused] = []
    for audio in arguments.audio:
        try:
            transcription = transcriber.transcribe(audio)
        except Refused as reason:  # the others are transcribed all the same
            refused.append(reason)
            continue
        midi, picture = (arguments.out / f"{audio.stem}{ending}" for ending in (".mid", ".png"))
        write_midi(transcription, midi)
        files = {"audio": str(audio), "midi": str(midi)}
        if arguments.plot:
            plot(transcription, picture, title=audio.name)
            files["plot"] = str(picture)
        shown.append({**files, "seconds": transcription.seconds, "onsets": len(transcription.onsets)})
        if not arguments.json:
            plotted = f", plotted in {picture}" if arguments.plot else ""
            print(printable(f"{audio}: {shown[-1]['onsets']} onsets in {midi}{plotted}"))
    if arguments.json:
        print_json(shown)
    if refused:
        others = f"; {len(refused) - 1} more could not be transcribed either" if len(refused) > 1 else ""
        raise Refused(f"{refused[0]}{others}")
