"""A report of errors as files: for people (md, png), for a spreadsheet (csv), for programs (json).

Errors here are those of trainables.errors as plain dicts, one for each corpus.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import write_atomically, write_json
from trainables.coincidence import ALARM_KINDS, MISS_KINDS

Errors = Mapping[str, Any]
KINDS = {"false_alarms": ALARM_KINDS, "misses": MISS_KINDS}
WORDS = {"false_alarms": "False alarms", "misses": "Misses"}
ONE = {"false_alarms": "false alarm", "misses": "miss"}
COLUMNS = ("corpus", "class", "error", "kind", "other", "count", "of_onsets")


def write_report(out: Path, checkpoint: str, found: Sequence[Errors]) -> dict[str, str]:
    """Write the four files into ``out``, each whole or not at all; returns where each is."""
    from tuner.error_pictures import draw_errors

    paths = {name: out / f"errors.{name}" for name in ("md", "csv", "json", "png")}
    write_json(paths["json"], {"checkpoint": checkpoint, "corpora": list(found)})
    for name, text in (("csv", as_csv(found)), ("md", as_markdown(checkpoint, found))):
        with write_atomically(paths[name]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    draw_errors(paths["png"], found)
    return {name: str(path) for name, path in paths.items()}


def counts(of: Mapping[str, Any]) -> Iterator[tuple[str, str | None, int]]:
    """Kind, other class and count of one class's false alarms or misses."""
    for kind, value in of.items():
        if kind != "count":
            yield from ((kind, *item) for item in value.items()) if isinstance(value, dict) else ((kind, None, value),)


def as_csv(found: Sequence[Errors]) -> str:
    """A row a corpus, class, error, kind and other class: the count, and its share of the class's annotated onsets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for errors in found:
        for name, of in errors["classes"].items():
            for error in KINDS:
                for kind, other, count in counts(of[error]):
                    share = f"{count / of['onsets']:.4f}" if of["onsets"] else ""
                    writer.writerow((errors["corpus"], name, ONE[error], kind, other or "", count, share))
    return text.getvalue()


def as_markdown(checkpoint: str, found: Sequence[Errors]) -> str:
    """Tables for people, corpus after corpus, and what the kinds mean."""
    lines = [f"# Errors of {checkpoint}", "", "![errors](errors.png)", ""]
    for errors in found:
        rule = "the checkpoint's own, tuned" if errors["calibrated"] else "not tuned"
        tracks = f"{errors['tracks']:,} track{'s' * (errors['tracks'] != 1)}"
        lines += [
            f"## {errors['corpus']}, split {errors['split']}",
            "",
            f"{tracks}, protocol {errors['protocol']}, within {errors['tolerance_ms']} ms; peaks: {rule}.",
            "",
        ]
        for error, kinds in KINDS.items():
            lines += _kinds_table(errors, error, list(kinds))
        lines += _loudness_table(errors)
    lines += ["## What the kinds mean", ""]
    lines += ["An error is of the first kind that fits. In brackets: the other class, most frequent first.", ""]
    for error, kinds in KINDS.items():
        lines += [f"{WORDS[error]} coincide with:", "", *(f"- **{kind}**: {text}" for kind, text in kinds.items()), ""]
    chance = ", ".join(f"{of['rise_by_chance']:.0%} ({of['corpus']})" for of in found)
    lines += [f"A rise of energy is near by chance, where nothing is annotated, in {chance} of all moments."]
    return "\n".join(lines) + "\n"


def _kinds_table(errors: Errors, error: str, kinds: Sequence[str]) -> list[str]:
    rows = []
    for name, of in errors["classes"].items():
        cells = [f"{of['onsets']:,}", f"{of[error]['count']:,}", *(_cell(of[error][kind]) for kind in kinds)]
        rows.append([name, *cells])
    return _markdown([WORDS[error], "onsets", "all", *kinds], rows)


def _cell(value: int | Mapping[str, int]) -> str:
    """A count, or the sum of the counts and in brackets each of them that is not 0."""
    if not isinstance(value, Mapping):
        return f"{value:,}"
    parts = [f"{name} {count:,}" for name, count in sorted(value.items(), key=lambda of: -of[1]) if count]
    return f"{sum(value.values()):,}" + (f" ({', '.join(parts)})" if parts else "")


def _loudness_table(errors: Errors) -> list[str]:
    """What is missed of each quarter of a class's onsets by velocity; nothing where no class has any."""
    known = {name: of["loudness"] for name, of in errors["classes"].items() if of["loudness"]}
    if not known:
        return []
    rows = [
        [name, *(f"{part['misses'] / part['onsets']:.0%} ({part['from']:.2f}–{part['to']:.2f})" for part in parts)]
        + [""] * (4 - len(parts))
        for name, parts in known.items()
    ]
    return _markdown(["Missed, by velocity", "softest quarter", "second", "third", "loudest"], rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown whose columns stand under each other in a terminal as well."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(of.rjust(width) for of, width in zip(row[1:], widths[1:], strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = f"| {'-' * widths[0]} | {' | '.join('-' * (width - 1) + ':' for width in widths[1:])} |"
    return [line(header), rule, *map(line, rows), ""]
