"""MusicXML, `.musicxml`, `.xml` and compressed `.mxl`: the drum staves of a score, played. H hits, M measures.

Drums are the parts that have unpitched notes or play on MIDI channel 10. A hit is labelled with the General MIDI pitch
of the instrument it names (`midi-unpitched`, which counts from 1), else with what stands in its place on the staff
(``staff.py``); on channel 10 a pitched note is its pitch. A tied continuation is no hit, cue notes are silent, and a
grace note falls on the time of the note it leads to: a score does not say how far before. Swing is read as straight,
and a roll written as one note is one hit.

Seconds follow every tempo mark, 120 quarters a minute before the first one; marks count from where they stand in the
score also when a repeat comes back to them. Repeats, endings and leaps are played (``playing_order.py``).

partitura counts the time: it is given the measures with what has a length, and tempo marks, since it does not read
ties, instruments and grace notes of unpitched notes, metronome marks, the number of repeats, or dal segno, and fails on
broken slurs and tuplets that say nothing about onsets.
"""

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from data_prep.annotations.labels import MAX_LABELS, MAX_SECONDS, Labels
from data_prep.annotations.playing_order import EndlessError, playing_order
from data_prep.annotations.score import BrokenScoreError, PlainScore, plain_score
from data_prep.annotations.xml import MAX_XML_BYTES, parse_xml, unzipped
from data_prep.bounded import read_bounded
from data_prep.refused import Refused

DEFAULT_TEMPO = 120.0  # quarters a minute
EXPECTED = "expected a partwise MusicXML score with a drum staff"


def read_musicxml(path: Path) -> Labels:
    """The hits of all drum staves in time order; labels are pitches in digits, velocities known where the file says.

    Raises Refused where the file is missing, too large, no partwise MusicXML, has no drum staff, has measures that
    only say "as before", or lasts longer than a day.
    """
    content = read_bounded(path, MAX_XML_BYTES, "score", f"{EXPECTED}: restore it")
    root = parse_xml(unzipped(content, path, EXPECTED), path, EXPECTED)
    try:
        score = plain_score(root)
        return _played(path, score, playing_order(score.marks))
    except (BrokenScoreError, EndlessError) as error:
        raise Refused(f"{path} cannot be played ({error}); {EXPECTED}: correct it or export it again") from error


def _played(path: Path, score: PlainScore, order: list[int]) -> Labels:
    """The hits of the measures in the order they are played."""
    measures, offsets, lengths, tempos = _positions(score)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])  # (M + 1,) quarters in the score
    at, tempo = zip(
        *sorted({0.0: DEFAULT_TEMPO, **{starts[m] + offset: of for m, offset, of in tempos}}.items()), strict=True
    )
    marks = np.append(at, max(at[-1], starts[-1]) + 1)
    marks_s = np.concatenate([[0.0], np.cumsum(np.diff(marks) * 60 / np.array(tempo))])
    starts_s = np.interp(starts, marks, marks_s)
    hits_s = np.interp(starts[measures] + offsets, marks, marks_s) - starts_s[measures]  # (H,) within their measures
    by_measure = np.argsort(measures, kind="stable")
    bounds = np.searchsorted(measures[by_measure], np.arange(len(lengths) + 1))
    if np.diff(bounds)[np.array(order, np.int64)].sum() > MAX_LABELS:
        raise BrokenScoreError(f"its repeats come to more than {MAX_LABELS:,} hits")
    times_s, indices, now_s = [np.zeros(0)], [np.zeros(0, np.int64)], 0.0
    for measure in order:
        chosen = by_measure[bounds[measure] : bounds[measure + 1]]
        times_s.append(now_s + hits_s[chosen])
        indices.append(chosen)
        now_s += starts_s[measure + 1] - starts_s[measure]
    if now_s > MAX_SECONDS:
        raise BrokenScoreError(f"it lasts {now_s:.0f} s, longer than a day")
    played_s, played = np.concatenate(times_s), np.concatenate(indices)
    in_time = np.argsort(played_s, kind="stable")
    hits = [score.hits[index] for index in played[in_time].tolist()]
    return Labels.of(path, played_s[in_time], [hit.label for hit in hits], [hit.velocity for hit in hits])


def _positions(score: PlainScore) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[int, float, float]]]:
    """Measures (H,) of the hits and offsets (H,) in quarters, lengths (M,) of the measures, and tempo marks.

    A tempo mark is a measure, an offset and quarters a minute.
    """
    partitura = _partitura()
    from partitura.score import Measure, Rest, Tempo

    try:
        parts = partitura.load_musicxml(io.BytesIO(score.document), quiet=True).parts
    except Exception as error:  # partitura raises many kinds
        raise BrokenScoreError(f"partitura fails with {type(error).__name__}: {str(error)[:100]!r}") from error
    measures = np.array([hit.measure for hit in score.hits], np.int64)
    events = np.array([hit.event for hit in score.hits], np.int64)
    positions, lengths = np.zeros(score.struck), np.zeros(len(score.marks))  # of events in, and of, their measures
    measure_of = np.zeros(score.struck, np.int64)
    measure_of[events] = measures
    tempos: list[tuple[int, float, float]] = []
    for part in parts:
        bars = sorted(part.iter_all(Measure), key=lambda bar: bar.number)
        begins = part.quarter_map([bar.start.t for bar in bars])
        lengths[: len(bars)] = np.maximum(lengths[: len(bars)], part.quarter_map([bar.end.t for bar in bars]) - begins)
        notes = [note for note in part.iter_all(Rest) if note.id]
        struck = np.array([int(note.id[1:]) for note in notes], np.int64)
        positions[struck] = part.quarter_map([note.start.t for note in notes]) - begins[measure_of[struck]]
        marks = list(part.iter_all(Tempo))
        for tempo, position in zip(marks, part.quarter_map([mark.start.t for mark in marks]).tolist(), strict=True):
            measure = max(int(np.searchsorted(begins, position, side="right")) - 1, 0)
            tempos.append((measure, position - begins[measure], tempo.bpm))
    return measures, positions[events], lengths, tempos


def _partitura() -> ModuleType:
    """partitura, loaded late as it takes two seconds, and without fluidsynth, for which it downloads a sound font."""
    if "partitura" not in sys.modules and "fluidsynth" not in sys.modules:
        cast("dict[str, Any]", sys.modules)["fluidsynth"] = None  # an import of it fails, as where it is not installed
        try:
            import partitura
        finally:
            del sys.modules["fluidsynth"]
    import partitura

    return partitura
