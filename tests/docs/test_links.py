"""Links of the pages as they lie in the tree: what they lead to is there. Those to elsewhere are only read."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown.extensions.toc import slugify
from markdown_it import MarkdownIt
from pages import PAGES, ROOT

LINKING = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "LOG.md", "trainables/default/README.md"))]
HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}|127\.0\.0\.1(?::\d+)?")


def links(path: Path) -> list[str]:
    """Targets of links and pictures."""
    found = []
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        for inner in token.children or ():
            target = inner.attrs.get("href", inner.attrs.get("src"))
            if target is not None:
                found.append(str(target))
    return found


def anchors(path: Path) -> set[str]:
    """What its headings are called in links."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    return {slugify(re.sub(r"[`*]", "", heading), "-") for heading in headings}


def dead(path: Path, link: str) -> str:
    """Why a link leads nowhere, empty where it does not."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        fits = parts.scheme in ("https", "http") and HOST.fullmatch(parts.netloc) and " " not in link
        return "" if fits else "no address of the web"
    target = (path.parent / parts.path).resolve() if parts.path else path
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    if parts.fragment and parts.fragment not in anchors(target):
        return "no such heading"
    return ""


@pytest.mark.parametrize("path", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    wrong = {link: why for link in links(path) if (why := dead(path, link))}
    assert not wrong


def test_dead_links_are_found(tmp_path):
    page = ROOT / "docs" / "index.md"
    assert dead(page, "nothing.md") == dead(page, "../../elsewhere.md") == "no such file"
    assert dead(page, "index.md#nothing") == "no such heading"
    assert dead(page, "https:/example.org") == dead(page, "ftp://example.org") == "no address of the web"
    assert not dead(page, "index.md#where-to-begin")
    assert not dead(page, "https://example.org/a?b#c")
    assert len(links(ROOT / "README.md")) > 5
