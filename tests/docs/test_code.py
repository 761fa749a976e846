"""Code on the pages runs, and commands print what is shown; see docs/development.md for the rules."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys

import pytest
from pages import PAGES, Shown, blocks, shown_in
from sybil.document import Document

from tuner import cli

WORD = re.compile(r"[A-Za-z]{2,}")
APART = {"quickstart.md"}  # begins with nothing but a song: its commands run as a reader's would
README, QUICK_START = (next(path for path in PAGES if path.name == name) for name in ("README.md", "quickstart.md"))


def runnable(path) -> list[list[Shown]]:
    return [shown_in(example) for example, is_run in blocks(path, "console") if is_run]


with_commands = pytest.mark.parametrize(
    "path", [path for path in PAGES if runnable(path) and path != README], ids=lambda path: path.name
)
with_python = pytest.mark.parametrize(
    "path", [path for path in PAGES if any(is_run for _, is_run in blocks(path, "python"))], ids=lambda path: path.name
)


@pytest.mark.slow
@with_commands
def test_commands_do_what_is_shown(path, request, music, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    apart = path.name in APART
    folder = shutil.copytree(music, tmp_path / "music") if apart else request.getfixturevalue("workspace")
    monkeypatch.chdir(folder)
    for block in runnable(path):
        for shown in block:
            assert shown.words[0] == "mirtune", f"{shown.page}:{shown.line} is to be run: {shown.command}"
            status, printed = (in_a_process if apart else in_this_process)(shown.words[1:])
            check(shown, status, printed)


def check(shown: Shown, status: int, printed: str) -> None:
    where = f"{shown.page}:{shown.line}: {shown.command}\n{printed}"
    refusals = [line for line in shown.output if line.startswith("mirtune: ")]
    assert status == (cli.REFUSED if refusals else cli.DONE), where
    for line in refusals:
        assert re.search(".*".join(map(re.escape, line.split("…"))), printed), where
    missing = set(WORD.findall(" ".join(shown.output))) - set(WORD.findall(printed))
    assert not missing, f"{missing} in {where}"


def in_this_process(words: list[str]) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status = cli.main(words)
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else cli.FAILED
    return status, printed.getvalue()


def in_a_process(words: list[str]) -> tuple[int, str]:
    mirtune = os.path.join(os.path.dirname(sys.executable), "mirtune")
    done = subprocess.run([mirtune, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    return done.returncode, done.stdout


def test_the_readme_shows_what_the_quick_start_does():
    """So it need not be run again."""
    there = [shown for block in runnable(QUICK_START) for shown in block]
    here = [shown for block in runnable(README) for shown in block]
    assert len(here) > 4
    for shown in here:
        same = next((of for of in there if of.words == shown.words), None)
        assert same, shown.command
        assert set(filter(None, shown.output)) <= set(same.output), shown.command


@pytest.mark.slow
@with_python
def test_python_runs(path, workspace, tables, monkeypatch):
    monkeypatch.chdir(workspace)
    run = {example.line: example for example, is_run in blocks(path, "python") if is_run}
    document: Document = next(iter(run.values())).document
    for example in run.values():
        example.document = document  # one after the other, with the names of those before
        example.namespace = document.namespace
        example.evaluate()


def test_what_is_not_so_is_found():
    shown = Shown("page.md", 1, "mirtune prep", ("prepared seven tracks",))
    check(shown, cli.DONE, "seven tracks were prepared")
    for status, printed in ((cli.REFUSED, "prepared seven tracks"), (cli.DONE, "prepared eight tracks")):
        with pytest.raises(AssertionError):
            check(shown, status, printed)
    refused = Shown("page.md", 1, "mirtune prep", ("mirtune: there is no",))
    check(refused, cli.REFUSED, "mirtune: there is no corpus")
    with pytest.raises(AssertionError):
        check(refused, cli.REFUSED, "mirtune: there was no corpus")
