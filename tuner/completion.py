"""Completion of the command line in a shell: the script that shtab makes, told what options take besides choices."""

import argparse
import ast
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDERS = {"source", "accompaniment", "out", "recordings", "shards", "storage"}
FILES = {"audio", "kits", "mapping", "splits", "points", "note_map"}
CHECKPOINTS = {"checkpoint"}  # a folder, or a name that only the store knows


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script for a shell, with names of architectures and corpora, files and folders."""
    import shtab

    names: dict[str, Callable[[], list[str]]] = {
        "architecture": architectures,
        "architectures": architectures,
        "corpus": corpora,
        "corpora": corpora,
        "on": corpora,
    }
    for action in actions(parser):
        if action.choices is not None or action.nargs == 0:
            continue
        if action.dest in names:
            action.choices = names[action.dest]()
        elif action.dest in FOLDERS | CHECKPOINTS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def shells() -> list[str]:
    """The shells that there is a script for."""
    import shtab

    return list(shtab.SUPPORTED_SHELLS)


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All arguments of a parser and of its commands."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [of for command in action.choices.values() for of in actions(command)]
        else:
            found.append(action)
    return found


def architectures() -> list[str]:
    """Names of the architectures."""
    return sorted(keys_of("search_spaces", "SPACES"))


def corpora() -> list[str]:
    """Names of the corpora that can be prepared."""
    from data_prep.corpora import CORPORA

    return sorted(CORPORA)


def keys_of(module: str, table: str) -> list[str]:
    """The keys of a dictionary that a module writes out; read in its text, as importing it would load Ray."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for statement in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        value: Any = getattr(statement, "value", None)
        targets: list[Any] = getattr(statement, "targets", [getattr(statement, "target", None)])
        if isinstance(value, ast.Dict) and table in [getattr(target, "id", None) for target in targets]:
            return [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    raise AssertionError(f"{module} writes out no dictionary {table}")
