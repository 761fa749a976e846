"""`mirtune transcribe`."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from tuner.transcribing import PLOT, as_json, in_short, tell_refused, transcribe_all

if TYPE_CHECKING:
    from trainables.notation import NotationOptions
    from trainables.transcribing_files import Recording

SUMMARY = "transcribe audio files: MIDI, tables, scores, pictures"
EXAMPLES = (
    ("a song, as a MIDI file in this folder", "mirtune transcribe song.wav"),
    ("a folder and those in it, as MIDI files and tables", "mirtune transcribe songs --out out --format midi csv"),
    ("go on after a stop, or with what was added since", "mirtune transcribe songs --out out --skip-existing"),
    ("by a pattern, in quotes, for this program to expand", "mirtune transcribe 'albums/**/*.flac' --out out"),
    ("in time: a tempo map, bars from a downbeat", "mirtune transcribe song.mp3 --tempo estimate --align-downbeat"),
    ("for an electronic kit, every note as loud", "mirtune transcribe song.mp3 --note-map roland --velocity fixed:100"),
    ("a score and a picture of it", "mirtune transcribe song.mp3 --format musicxml staff --meter 3/4"),
)  # fmt: skip
STOPPED = "the same command with --skip-existing goes on"
FORMATS = ("midi", "csv", "jams", "musicxml", "roll", "staff")  # of trainables.notation, which takes long to import
PLOT_ENDING = ".png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    text = "files (wav, flac, ogg, mp3, opus, aiff), folders with such files, patterns in quotes"
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help=text)
    parser.add_argument("--checkpoint", default="default", metavar="CHECKPOINT", help=f"{CHECKPOINT} (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR",
        help="folder of what is written, in folders as the audio is (the current folder)",
    )  # fmt: skip
    parser.add_argument(
        "--format", nargs="+", default=["midi"], choices=FORMATS, metavar="FORMAT",
        help=f"one or more of {', '.join(FORMATS)} (midi)",
    )  # fmt: skip
    parser.add_argument("--plot", action="store_true", help="also a PNG of spectrogram, activations and onsets, 20 s")
    text = "leave out recordings whose outputs are all there and not older than the audio, whatever made them"
    parser.add_argument("--skip-existing", action="store_true", help=text)
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")
    add_thresholds(parser)
    add_gains(parser)
    _add_notation(parser)
    add_tracking(parser)
    add_json(parser)


def _add_notation(parser: argparse.ArgumentParser) -> None:
    notation = parser.add_argument_group("how it is written down")
    text = "gm (General MIDI), roland (their electronic kits), or a JSON file of pitches by class (%(default)s)"
    notation.add_argument("--note-map", default="gm", metavar="MAP", help=text)
    text = "beats a minute, or estimate: found in the onsets, each beat with its own tempo (none: 120, unaligned)"
    notation.add_argument("--tempo", metavar="BPM|estimate", help=text)
    notation.add_argument("--meter", default="4/4", metavar="N/4", help="quarter notes in a bar (%(default)s)")
    text = "let bars begin at what is taken for a downbeat, not at the beginning of the recording; needs --tempo"
    notation.add_argument("--align-downbeat", action="store_true", help=text)
    text = "steps a beat in scores: 1, 2, 3, 4, 6 or 8 (what fits each beat best)"
    notation.add_argument("--grid", type=int, metavar="STEPS", help=text)
    text = "strength: louder where the network is surer; fixed:N: 1 to 127 for every note (%(default)s)"
    notation.add_argument("--velocity", default="strength", metavar="strength|fixed:N", help=text)


def run(arguments: argparse.Namespace) -> None:
    """Transcribe every input; Refused, before anything is written, where two would be written to one file."""
    from data_prep.refused import printable
    from trainables.transcribing_files import find_recordings

    found = find_recordings(arguments.audio)
    options, endings = notation_of(arguments), _endings(arguments)
    gains_db = gains_of(arguments)
    planned = [(of, {name: of.output(arguments.out, end) for name, end in endings.items()}) for of in found]
    _refuse_shared(planned)
    wanted = [
        (of, outputs) for of, outputs in planned if not (arguments.skip_existing and of.is_done([*outputs.values()]))
    ]
    skipped = len(planned) - len(wanted)
    if arguments.dry_run:
        if arguments.json:
            print_json([as_json(of, outputs) for of, outputs in wanted])
            return
        for of, outputs in wanted:
            print(printable(f"{of.audio} -> {in_short(of, outputs)}"))
        print(f"{len(wanted)} to transcribe{f', {skipped} are there' if skipped else ''}; nothing was written")
        return

    shown: list[dict[str, Any]] = []
    unexpected: list[Exception] = []
    if wanted:
        from trainables.transcription import Transcriber
        from tuner.registry import resolve

        checkpoint = resolve(arguments.checkpoint, arguments.tracking_uri)
        transcriber = Transcriber(checkpoint, rule_of(checkpoint, arguments), gains_db)
        options.note_map.of(checkpoint.classes)
        arguments.out.mkdir(parents=True, exist_ok=True)
        shown, unexpected = transcribe_all(transcriber, wanted, options, lines=not arguments.json, skipped=skipped)
    elif not arguments.json:
        print(f"all {skipped} are there already; nothing to transcribe")
    if arguments.json:
        print_json(shown)
    tell_refused(shown, unexpected)


def _refuse_shared(planned: list[tuple["Recording", dict[str, Path]]]) -> None:
    from data_prep.refused import Refused

    writer: dict[str, Path] = {}
    for recording, outputs in planned:
        for path in outputs.values():
            if (other := writer.setdefault(os.path.normpath(path), recording.audio)) is not recording.audio:
                raise Refused(f"{other} and {recording.audio} would both be written to {path}; rename one of them")


def _endings(arguments: argparse.Namespace) -> dict[str, str]:
    """The ending of each output by its name, in the order of FORMATS."""
    from trainables.notation import WRITERS

    endings = {name: WRITERS[name].suffix for name in FORMATS if name in arguments.format}
    return {**endings, PLOT: PLOT_ENDING} if arguments.plot else endings


def notation_of(arguments: argparse.Namespace) -> "NotationOptions":
    """How to write it down, as the user gave it; Refused where that is none of the ways."""
    from data_prep.refused import Refused
    from trainables.notation import NotationOptions, read_note_map

    tempo: str | float | None = arguments.tempo
    if isinstance(tempo, str) and tempo != "estimate":
        try:
            tempo = float(tempo)
        except ValueError:
            given = arguments.tempo[:40]
            raise Refused(f"--tempo {given!r}; expected beats a minute, as in 96.5, or estimate") from None
    if arguments.align_downbeat and tempo is None:
        raise Refused("--align-downbeat without --tempo; give beats a minute, or --tempo estimate")
    beats, _, unit = arguments.meter.partition("/")
    if unit != "4" or not (beats.isascii() and beats.isdigit()):
        raise Refused(f"--meter {arguments.meter[:40]!r}; expected quarter notes in a bar, as in 4/4, 3/4 or 7/4")
    kind, _, number = arguments.velocity.partition(":")
    fixed = int(number) if kind == "fixed" and number.isascii() and number.isdigit() else None
    if arguments.velocity != "strength" and fixed is None:
        raise Refused(f"--velocity {arguments.velocity[:40]!r}; expected strength, or fixed:1 to fixed:127")
    return NotationOptions(
        note_map=read_note_map(arguments.note_map), tempo=tempo, beats_per_bar=int(beats[:9]),
        align_downbeat=arguments.align_downbeat, velocity=fixed, steps_per_beat=arguments.grid,
    )  # fmt: skip
