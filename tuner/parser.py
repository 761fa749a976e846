"""A command line that speaks in one sentence where it is mistyped, and shows examples in its help."""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from data_prep.refused import did_you_mean, printable

NARROWEST, WIDEST = 20, 100  # columns; nothing can be laid out in fewer, and longer lines are hard to read
INDENT = 2
THEN = "&&"


class Formatter(argparse.HelpFormatter):
    """Help as wide as the terminal, within reason."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=width())


def width() -> int:
    """Columns for help: those of the terminal but two, as argparse has it."""
    return max(NARROWEST, min(shutil.get_terminal_size().columns - 2, WIDEST))


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one sentence on standard error, with what was probably meant, and exit status 2."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), below: str = "", **named: Any) -> None:
        """``below``: what stands below the help as it is written."""
        super().__init__(*args, **{"formatter_class": Formatter, **named})
        self.examples, self.below = examples, below

    def format_help(self) -> str:
        """The help, with the examples below it, laid out for the width that there is now."""
        parts = [super().format_help(), laid_out(self.examples) if self.examples else "", self.below]
        return "\n".join(part for part in parts if part)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but what is unknown is the mistake of the command that it was given to."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = str(unknown[0]).partition("=")[0]
            if option.startswith("-"):
                self.error(f"there is no option {option!r}{did_you_mean(option, self._option_string_actions)}")
            self.error(f"{unknown[0]!r} is one argument too many")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is."""
        sentence = re.sub(r"^the following arguments are required: ", "missing: ", message)
        sentence = re.sub(r"^argument ([^:]*): ", lambda found: f"{found[1].split('/')[-1]}: ", sentence)
        see = " See" if sentence.endswith("?") else "; see"
        print(f"mirtune: {printable(sentence)}{see} {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            meant = did_you_mean(str(value), action.choices) or f"; choose from {', '.join(action.choices)}"
            self.error(f"unknown command {value!r}{meant}")
        listed = ", ".join(map(str, action.choices))
        meant = did_you_mean(str(value), map(str, action.choices))
        raise argparse.ArgumentError(action, f"unknown {value!r}; choose from {listed}{meant}")


def laid_out(examples: Iterable[tuple[str, str]]) -> str:
    """Examples as paragraphs: what each does, and below it the command line, broken where it is too long."""
    lines = ["examples:"]
    for what, line in examples:
        lines += textwrap.wrap(what, width(), initial_indent=" " * INDENT, subsequent_indent=" " * INDENT)
        lines += broken(line, 2 * INDENT)
    return "\n".join(lines) + "\n"


def broken(line: str, indent: int) -> list[str]:
    """A command line on as many lines as it needs, which can be copied into a shell; what follows && begins anew."""
    command, both, others = line.partition(f" {THEN} ")
    if both:  # a shell that has read && asks for more
        first = broken(command, indent)
        return [*first[:-1], f"{first[-1]} {THEN}", *broken(others, indent)]
    # Within quotes a line must not be broken, and an option stays with its values.
    parts = re.findall(r"""(?:"[^"]*"|'[^']*'|\S)+""", line)
    groups: list[str] = []
    for part in parts:
        if groups and not part.startswith(("-", ">")) and groups[-1].startswith(("-", ">")):
            groups[-1] += f" {part}"
        else:
            groups.append(part)
    lines, begin = [" " * indent + groups[0]], " " * (indent + 2 * INDENT)
    for group in groups[1:]:
        if len(lines[-1]) + 1 + len(group) + len(" \\") <= width():
            lines[-1] += f" {group}"
        else:
            lines[-1] += " \\"
            lines.append(begin + group)
    return lines
