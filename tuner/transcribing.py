"""Recordings transcribed one after the other: one that fails is told of, and the others go on."""

import errno
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused, printable
from tuner.telling import Progress, say, warn

if TYPE_CHECKING:
    from trainables.notation import NotationOptions, Transcribed
    from trainables.transcribing_files import Recording
    from trainables.transcription import Transcriber

PLOT = "plot"
OF_ONE_PATH = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
UNTIMED = "too few onsets for an estimate of the tempo; MIDI and scores tell 120 beats a minute, nothing else has beats"

Planned = tuple["Recording", Mapping[str, Path]]  # a recording and its outputs by format


class Failed(RuntimeError):
    """Recordings could not be transcribed, some of them for no fault of theirs."""


def transcribe_all(
    transcriber: "Transcriber", wanted: Sequence[Planned], options: "NotationOptions", lines: bool, skipped: int = 0
) -> tuple[list[dict[str, Any]], list[Exception]]:
    """What was made of each recording, or why nothing was ("refused"), and the errors that nobody had expected.

    With ``lines`` each is told on standard output as soon as it is done. Raises errors of the disk or output folder.
    """
    if skipped:
        say(f"{skipped} of {skipped + len(wanted)} are there already")
    shown: list[dict[str, Any]] = []
    unexpected: list[Exception] = []
    try:
        with Progress("transcribed", len(wanted), "recordings" if len(wanted) > 1 else "recording") as progress:
            for recording, outputs in wanted:
                began = time.monotonic()
                try:
                    made = _transcribe_one(transcriber, recording, outputs, options)
                except Exception as error:  # the others are transcribed all the same
                    if isinstance(error, OSError) and not _is_of_one(error, recording):
                        raise
                    if not isinstance(error, Refused | OSError):
                        unexpected.append(error)
                    shown.append({"audio": str(recording.audio), "refused": _reason(error, recording)})
                    progress.advance(1, f"refused: {recording.audio.name}")
                    continue
                times = made["seconds"] / max(time.monotonic() - began, 1e-9)
                shown.append(made)
                if lines:
                    onsets = f"{made['onsets']:,} onset{'s' * (made['onsets'] != 1)}"
                    print(printable(f"{recording.name}: {onsets} in {in_short(recording, outputs)}"), flush=True)
                progress.advance(1, f"{times:.0f} times real time, {recording.audio.name}")
    except KeyboardInterrupt:
        done = sum("refused" not in of for of in shown)
        warn(f"{done} of {len(wanted)} recordings are done, their files whole")
        raise
    return shown, unexpected


def tell_refused(shown: Sequence[Mapping[str, Any]], unexpected: Sequence[Exception]) -> None:
    """Raise Refused where any recording was, with its reason, or how many there are after a line of each.

    Raises Failed instead where there was an ``unexpected`` error; the first of them is its cause.
    """
    reasons = [of["refused"] for of in shown if "refused" in of]
    if not reasons:
        return
    text = reasons[0]
    if len(reasons) > 1:
        for reason in reasons:
            warn(reason)
        text = f"{len(reasons)} of {len(shown)} recordings could not be transcribed, for the reasons above"
    if unexpected:
        raise Failed(printable(text)) from unexpected[0]
    raise Refused(text)


def in_short(recording: "Recording", outputs: Mapping[str, Path]) -> str:
    """The outputs for people: "out/song.mid, .csv"."""
    first, *others = outputs.values()
    return ", ".join([str(first), *(path.name.removeprefix(recording.place.name) for path in others)])


def as_json(recording: "Recording", outputs: Mapping[str, Path]) -> dict[str, Any]:
    """The recording and its outputs as --json shows them."""
    return {"audio": str(recording.audio), **{name: str(path) for name, path in outputs.items()}}


def _transcribe_one(
    transcriber: "Transcriber", recording: "Recording", outputs: Mapping[str, Path], options: "NotationOptions"
) -> dict[str, Any]:
    """Transcribe a recording and write its outputs, each whole or not at all."""
    from trainables.notation import WRITERS
    from trainables.transcription import SHOWN_S, plot

    heard = transcriber.transcribe(recording.audio, (0.0, SHOWN_S if PLOT in outputs else 0.0))
    transcribed = heard.titled(recording.audio.stem)
    for name, path in outputs.items():
        if name == PLOT:
            plot(heard, path, title=recording.audio.name)
        else:
            WRITERS[name].write(transcribed, path, options)
    if _is_untimed(transcribed, outputs, options):
        warn(f"{recording.name}: {UNTIMED}")
    return {**as_json(recording, outputs), "seconds": heard.seconds, "onsets": len(heard.onsets)}


def _is_untimed(transcribed: "Transcribed", outputs: Mapping[str, Path], options: "NotationOptions") -> bool:
    """Whether beats were to be estimated, and none were found."""
    from trainables.notation import WRITERS, has_beats

    formats = [WRITERS[name] for name in outputs if name != PLOT]
    asked = bool(formats) if options.tempo is not None else any(of.needs_beats for of in formats)
    return asked and not has_beats(transcribed, options)


def _is_of_one(error: OSError, recording: "Recording") -> bool:
    """Whether an error says nothing of the disk or the output folder, which the next recordings would meet, too."""
    return (
        error.errno is None or error.errno in OF_ONE_PATH or error.filename in (recording.audio, str(recording.audio))
    )


def _reason(error: Exception, recording: "Recording") -> str:
    if isinstance(error, OSError) and error.errno in OF_ONE_PATH:
        return printable(f"{error.filename} cannot be written ({error.strerror}); give another --out")
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError):
        return printable(f"{recording.audio} cannot be read ({error.strerror or error}); check it")
    if isinstance(error, MemoryError):
        return printable(f"{recording.audio} needs more memory than there is; cut it into pieces")
    text = f"{type(error).__name__}: {str(error)[:200]}"
    return printable(f"{recording.audio} could not be transcribed because of a mistake in mirtune ({text}); report it")
