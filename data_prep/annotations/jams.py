"""JAMS, `.jams`: JSON with annotations of many kinds, of which one holds labelled onsets.

Of the annotations whose namespace says onsets with labels, and whose observations all have a word or a number for a
label, one is read: the first kind of ``NAMESPACES`` that is there, and of several (by several annotators) the first in
the file. An observation begins at its `time`; durations and confidences are not read, and JAMS knows no velocities.
"""

import json
import math
from pathlib import Path
from typing import Any

from data_prep.annotations.labels import Labels, is_time, without_fraction
from data_prep.bounded import read_bounded
from data_prep.refused import Refused

MAX_JSON_BYTES = 8 * 2**20  # a hundred thousand observations; parsed, eight times as much or more
# in order of preference; a namespace of one's own counts where its name has the first word in it, as drum_onset has
NAMESPACES = ("drum", "note_midi", "onset", "tag_open", "segment_open")
EXPECTED = f"expected a JAMS file with labelled onsets in one of {', '.join(NAMESPACES)}"


def read_jams(path: Path) -> Labels:
    """The labels of one annotation, in the order of its observations.

    Raises Refused where the file is missing, too large, no JSON, has no annotation with labelled onsets, or an
    observation has no time.
    """
    try:
        document = json.loads(read_bounded(path, MAX_JSON_BYTES, "annotation", f"{EXPECTED}: restore it"))
    except RecursionError as error:
        raise Refused(f"{path} is nested too deep; {EXPECTED}: restore it") from error
    except Refused:
        raise
    except ValueError as error:  # no JSON, no text, numbers of thousands of digits
        raise Refused(f"{path} is no JSON ({str(error)[:100]}); {EXPECTED}: restore it") from error
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        raise Refused(f"{path} has no list of annotations; {EXPECTED}: restore it")
    number, times, values = _chosen(path, annotations)
    for position, time_s in enumerate(times):
        if isinstance(time_s, bool) or not isinstance(time_s, int | float) or not is_time(time_s):
            raise Refused(
                f"{path} has the time {str(time_s)[:40]!r} in annotation {number}, observation {position + 1}; "
                "expected seconds from 0 to a day: correct it"
            )
    return Labels.of(path, times, [without_fraction(str(value).strip()) for value in values])


def _chosen(path: Path, annotations: list[Any]) -> tuple[int, list[Any], list[Any]]:
    """Number in the file, from 1, times and values of the annotation to read; an empty one only where all are."""
    ranked = []
    for number, annotation in enumerate(annotations, start=1):
        namespace = str(annotation.get("namespace")) if isinstance(annotation, dict) else ""
        rank = 0 if NAMESPACES[0] in namespace else NAMESPACES.index(namespace) if namespace in NAMESPACES else None
        columns = None if rank is None else _columns(annotation.get("data"))
        if columns is not None and all(map(_is_label, columns[1])):
            ranked.append((not columns[1], rank, number, columns))
    if not ranked:
        found = ", ".join(dict.fromkeys(str(of.get("namespace")) for of in annotations if isinstance(of, dict)))
        raise Refused(f"{path} has annotations in the namespaces {found[:200]!r}; {EXPECTED}: add one")
    _, _, number, columns = min(ranked, key=lambda of: of[:3])
    return number, *columns


def _columns(data: Any) -> tuple[list[Any], list[Any]] | None:
    """Times and values of observations, which come as a list of objects or as an object of lists."""
    if isinstance(data, list) and all(isinstance(observation, dict) for observation in data):
        return [of.get("time") for of in data], [of.get("value") for of in data]
    if isinstance(data, dict):
        times, values = data.get("time"), data.get("value")
        if isinstance(times, list) and isinstance(values, list) and len(times) == len(values):
            return times, values
    return None


def _is_label(value: Any) -> bool:
    """Whether a value is a word or a number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
