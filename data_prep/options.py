"""What a user may ask of a preparation: checked, named, and kept in the manifest so that it can be done again."""

import os
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from data_prep.accompaniment import load_accompaniments
from data_prep.corpora import CORPORA, CorpusSource, PrepOptions
from data_prep.manifest import NAME, Manifest
from data_prep.refused import Refused

OF_ALL_CORPORA = ("classes", "name", "seed", "workers", "unknown_labels")


def prepared_name(corpus: str, options: PrepOptions) -> str:
    """The name that a corpus has once it is prepared."""
    return options.name or (corpus if options.classes == PrepOptions.classes else f"{corpus}-{options.classes}")


def check_options(described: CorpusSource, source: Path | None, options: PrepOptions) -> None:
    """Refused where a source folder is missing, or an option makes no sense or means nothing to the corpus."""
    what = f"corpus {described.name!r} ({described.title})"
    if described.needs_source and source is None:
        raise Refused(f"{what} is read from a folder; give it with --source DIR")
    if described.needs_source and source is not None and not source.is_dir():
        raise Refused(f"--source {source} is no folder; expected the top folder of {described.title}: check the path")
    given = [] if described.needs_source or source is None else ["source"]
    given += [
        field.name
        for field in fields(options)
        if field.name not in (*OF_ALL_CORPORA, *described.heeds) and getattr(options, field.name) != field.default
    ]
    for name in given:
        raise Refused(f"{_flag(name, getattr(options, name, None))} means nothing to {what}; leave it out")
    if options.classes not in described.vocabularies:
        known = ", ".join(map(str, described.vocabularies))
        raise Refused(f"{what} cannot have {options.classes} classes; choose from {known}")
    if options.name is not None and not NAME.fullmatch(options.name):
        raise Refused(f"--name {options.name!r}: expected up to 64 letters, digits, - and _, with no - or _ first")
    if options.name in CORPORA and options.name != described.name:
        raise Refused(f"--name {options.name} is the name of another corpus; choose one of your own")
    if options.accompaniment is not None:
        load_accompaniments(options.accompaniment)  # refuses what every track would stumble over


def _flag(name: str, value: object) -> str:
    """What a user types for an option."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def with_whole_paths(options: PrepOptions) -> PrepOptions:
    """The options with absolute paths; links that loop are left for whoever reads them."""
    whole: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Path):
            whole[field.name] = Path(os.path.realpath(value))
        elif isinstance(value, tuple):
            whole[field.name] = tuple(Path(os.path.realpath(path)) for path in value)
    return replace(options, **whole)


def heeded_options(described: CorpusSource, options: PrepOptions) -> dict[str, Any]:
    """What the manifest says of the options: those that shape what is prepared, as JSON."""
    values = {name: getattr(options, name) for name in ("classes", "seed", "unknown_labels", *described.heeds)}
    return {
        name: [str(path) for path in value]
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
        for name, value in values.items()
    }


def command(described: CorpusSource, source: Path | None, options: PrepOptions) -> str:
    """What a user types to have it prepared so, without --shards."""
    words = ["mirtune", "prep", described.name, *([] if source is None else ["--source", str(source)])]
    for field in fields(options):
        value = getattr(options, field.name)
        if value == field.default or field.name == "workers":
            continue
        words.append(_flag(field.name, value))
        if value is not False:
            words += map(str, value if isinstance(value, tuple) else (value,))
    return shlex.join(words)


def options_of(manifest: Manifest) -> PrepOptions:
    """The options that a corpus was prepared with."""
    kept: dict[str, Any] = {"name": manifest.corpus}
    for field in fields(PrepOptions):
        value = manifest.options.get(field.name)
        if isinstance(value, list):
            kept[field.name] = tuple(Path(path) for path in value)
        elif value is not None:
            kept[field.name] = Path(value) if isinstance(value, str) else value
    return PrepOptions(**kept)
