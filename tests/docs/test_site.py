"""The site, as `make docs` builds it."""

import re
import shutil
from html.parser import HTMLParser

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from pages import ROOT

from tuner import cli

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
NOT_LOADED = {"canonical", "prev", "next", "edit"}  # links that a browser does not follow by itself


class Loaded(HTMLParser):
    """Addresses that a browser fetches with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in LOADING and given.get(LOADING[tag]) and given.get("rel") not in NOT_LOADED:
            self.found.append(given[LOADING[tag]])


def built(folder, **changes):
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True, **changes)
    build(config)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Strict: dead links, missing anchors and pages outside the navigation end it."""
    return built(tmp_path_factory.mktemp("site"))


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        reader = Loaded()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        assert not [link for link in reader.found if re.match(r"(?:\w+:)?//", link)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_command_is_in_the_reference(site):
    text = (site / "commands.html").read_text(encoding="utf-8")
    for module in cli.COMMANDS:
        name = module.__name__.rpartition(".")[2]
        assert f'id="mirtune-{name}"' in text
        for _, line in getattr(module, "EXAMPLES", ()):
            assert line.rpartition(" && ")[2].split()[0] == "mirtune"
    assert "--max-epochs" in text
    assert "&lt;!--" not in text


def test_pages_that_lie_elsewhere_are_there(site):
    assert "0.1.0" in (site / "changelog.html").read_text(encoding="utf-8")
    assert "def make_songs" in re.sub(r"<[^>]+>", "", (site / "examples.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("link", ["nothing.md", "index.md#nothing", "/absolute.md"])
def test_a_dead_link_ends_the_build(tmp_path, link):
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "style.css", docs)
    (docs / "index.md").write_text(f"# Page\n\n[a link]({link})\n")
    with pytest.raises(Abort):
        built(tmp_path / "site", docs_dir=str(docs), nav=[{"Page": "index.md"}], hooks=[], plugins=[])
