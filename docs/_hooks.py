"""What the site has beside the pages in docs/: the command reference, the examples, and files that lie elsewhere.

Pages link to such a file where it lies (`../LOG.md`), so that links work in the tree as well; here they become links
within the site.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
# page -> file that lies elsewhere in the tree
ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "log.md": "LOG.md",
    "ablation.md": "results/ablation.md",
    "default-checkpoint.md": "trainables/default/README.md",
}
COMMANDS, INCLUDE = "<!-- commands -->", re.compile(r"<!-- include: (examples/\w+\.py) -->")
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the files that lie elsewhere."""
    from mkdocs.structure.files import File

    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put in what is generated, and turn links to files elsewhere into links to their pages."""
    name = page.file.src_uri
    own = Path(ELSEWHERE.get(name, f"docs/{name}"))
    markdown = INCLUDE.sub(lambda found: fenced((ROOT / found[1]).read_text(encoding="utf-8"), "python"), markdown)
    markdown = markdown.replace(COMMANDS, "\n".join(reference()))
    return LINK.sub(lambda found: within_site(found[1], own) + (found[2] or ""), markdown)


def within_site(link: str, own: Path) -> str:
    """Where a link of the file ``own`` leads in the site, whose pages all lie in one folder."""
    if "://" in link:
        return link
    path = (ROOT / own.parent / link).resolve()
    if not path.is_relative_to(ROOT):
        return link
    inside = path.relative_to(ROOT).as_posix()
    pages = {of: page for page, of in ELSEWHERE.items()}
    if inside in pages:
        return pages[inside]
    if inside.startswith("examples/") and path.is_file():
        return f"examples.md#{path.stem}"
    return inside.removeprefix("docs/") if inside.startswith("docs/") else link


def fenced(text: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def reference() -> Iterator[str]:
    """The commands as the parser has them, in Markdown."""
    sys.path.insert(0, str(ROOT))
    from tuner import cli

    modules = {module.__name__.rpartition(".")[2]: module for module in cli.COMMANDS}
    top = cli.parser()
    yield from described(top, "mirtune", 2, None)
    for name, command in subcommands(top).items():
        yield from described(command, f"mirtune {name}", 2, modules[name])
        for second, below in subcommands(command).items():
            yield from described(below, f"mirtune {name} {second}", 3, None)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """A parser's commands, by name."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def described(parser: argparse.ArgumentParser, name: str, level: int, module: ModuleType | None) -> Iterator[str]:
    """One command: what it does, its arguments, examples."""
    yield f"\n{'#' * level} {name} {{#{name.replace(' ', '-')}}}\n"
    if parser.description:
        yield f"{plain(parser.description)}\n"
    for group in parser._action_groups:
        actions = [of for of in group._group_actions if is_shown(of)]
        if not actions:
            continue
        title = plain(titled(group.title or ""))
        yield f"\n| {title} | |\n| --- | --- |"
        for action in actions:
            help_text = parser._get_formatter()._expand_help(action) if action.help else ""
            yield f"| {written(action)} | {plain(help_text)} |"
        yield ""
    if module is not None and getattr(module, "EXAMPLES", ()):
        for what, line in module.EXAMPLES:
            yield f"\n{plain(what)}\n\n{fenced('$ ' + line, 'console')}\n"


def titled(group: str) -> str:
    """A group of arguments as the page calls it."""
    return {"positional arguments": "arguments"}.get(group, group)


def is_shown(action: argparse.Action) -> bool:
    """Whether a reader needs it: commands have sections of their own, and --help says nothing new."""
    return (
        not isinstance(action, argparse._SubParsersAction | argparse._HelpAction) and action.help != argparse.SUPPRESS
    )


def written(action: argparse.Action) -> str:
    """An argument as it is typed."""
    formatter = argparse.HelpFormatter("")
    if not action.option_strings:
        return code(str(action.metavar or action.dest))
    values = (
        "" if action.nargs == 0 else " " + formatter._format_args(action, str(action.metavar or action.dest.upper()))
    )
    if action.choices is not None and action.metavar is None:
        values = " " + "|".join(map(str, action.choices))
    options = ", ".join(f'<code class="option">{of}</code>' for of in action.option_strings)
    return f"{options} {code(values.strip())}" if values else options


def code(text: str) -> str:
    """Code within a table; a bar would end its cell."""
    return f"<code>{escaped(text)}</code>"


def plain(text: str) -> str:
    """Text that is no Markdown."""
    return re.sub(r"([\\`*_\[\]#~^])", r"\\\1", escaped(text))


def escaped(text: str) -> str:
    """For HTML, within a table."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
