"""Every command line on the pages is one that the command line's own parser takes."""

import shlex
import subprocess

import pytest
from pages import FENCE, LANGUAGES, PAGES, blocks, command_lines, inline_commands

from tuner import cli

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def complaint(words, capsys) -> str:
    """What the parser says of a command line, empty where it takes it."""
    try:
        cli.parser().parse_args(words[1:])
    except SystemExit as left:
        captured = capsys.readouterr()
        return captured.err if left.code else ""
    return ""


@page
def test_command_lines_parse(path, capsys):
    for shown in command_lines(path):
        if shown.words[0] == "mirtune":
            assert not complaint(shown.words, capsys), f"{shown.page}:{shown.line}: {shown.command}"


@page
def test_commands_in_sentences_parse(path, capsys):
    """They may lack what is not the point, but name nothing that is not there."""
    for shown in inline_commands(path):
        said = complaint(shown.words, capsys)
        lacks = "missing: " in said or "required: " in said or "expected " in said
        assert not said or lacks, f"{shown.page}:{shown.line}: {shown.command}: {said}"


def test_a_wrong_command_line_is_found(capsys):
    assert "bogus" in complaint(shlex.split("mirtune sweep --bogus"), capsys)
    assert complaint(shlex.split("mirtune swep --trials 1"), capsys)


@page
def test_blocks_are_of_known_languages(path):
    opened = FENCE.findall(path.read_text(encoding="utf-8"))
    assert not len(opened) % 2
    assert set(opened[::2]) <= LANGUAGES
    assert not any(opened[1::2])


@page
def test_shell_blocks_are_of_the_shells_grammar(path):
    for example, _ in blocks(path, "sh"):
        checked = subprocess.run(["bash", "-n"], input=str(example.parsed), text=True, capture_output=True)
        assert not checked.returncode, f"{path.name}:{example.line}: {checked.stderr}"


@page
def test_python_blocks_compile(path):
    for example, _ in blocks(path, "python"):
        compile(str(example.parsed), f"{path.name}:{example.line}", "exec")
