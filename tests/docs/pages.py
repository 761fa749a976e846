"""What stands on the pages: blocks of code, command lines, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: \S[^>]* -->\n$")  # before a block, with the reason
LANGUAGES = {"console", "sh", "python", "json", "docker", "csv", "xml", "nginx"}
FENCE = re.compile(r"^```(\w*)", re.MULTILINE)
INLINE = re.compile(r"(?<![`\w])`(mirtune [a-z][^`]*)`(?!`)")
REDIRECTED = re.compile(r" [>|] .*")  # what the shell does with the output
PLACEHOLDER = re.compile(r"\.\.\.|…|\bCOMMAND\b")


@dataclass(frozen=True)
class Shown:
    """A command line on a page, and what is shown below it."""

    page: str
    line: int
    command: str
    output: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return shlex.split(REDIRECTED.sub("", self.command), comments=True)


def blocks(path: Path, language: str) -> Iterator[tuple[Example, bool]]:
    """The blocks of a language on a page, and whether they are to be run."""
    evaluate = PythonEvaluator() if language == "python" else lambda example: None
    document = parsed(path, CodeBlockParser(language, evaluate))
    for example in document.examples():
        yield example, NOT_RUN.search(document.text[: example.region.start]) is None


def parsed(path: Path, parser: CodeBlockParser) -> Document:
    return Sybil(parsers=[parser]).parse(path)


def shown_in(example: Example) -> list[Shown]:
    """The commands of a console block: a line after `$ `, its continuation, and the output below."""
    found: list[tuple[int, str, list[str]]] = []
    goes_on = False
    for number, line in enumerate(str(example.parsed).splitlines(), example.line + 1):
        if goes_on:
            found[-1] = (found[-1][0], found[-1][1].removesuffix("\\") + line.strip(), [])
        elif line.startswith("$ "):
            found.append((number, line[2:], []))
        else:
            assert found, f"{example.path}:{number}: output without a command"
            found[-1][2].append(line)
        goes_on = (goes_on or line.startswith("$ ")) and line.endswith("\\")
    name = Path(example.path).name
    return [Shown(name, number, command, tuple(output)) for number, command, output in found]


def command_lines(path: Path) -> Iterator[Shown]:
    """Every command line of a page that can be parsed: of console and shell blocks."""
    for example, _ in blocks(path, "console"):
        yield from shown_in(example)
    for example, _ in blocks(path, "sh"):
        joined = str(example.parsed).replace("\\\n", " ")
        for found in re.finditer(r"(?:^|-- )(mirtune [^\n]*)", joined, re.MULTILINE):
            yield Shown(path.name, example.line, found[1], ())


def inline_commands(path: Path) -> Iterator[Shown]:
    """Command lines, or the beginnings of some, within sentences."""
    text = path.read_text(encoding="utf-8")
    for found in INLINE.finditer(text):
        command = " ".join(found[1].split())
        if not PLACEHOLDER.search(command):
            yield Shown(path.name, text.count("\n", 0, found.start()) + 1, command, ())
