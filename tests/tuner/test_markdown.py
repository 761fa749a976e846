"""Texts of others in Markdown: whatever they hold, two readers of Markdown that others wrote show them as they are."""

import re
from html.parser import HTMLParser

import markdown as python_markdown
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from data_prep.refused import printable
from tuner.run_notes import table
from tuner.telling import markdown

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PICTURE = "![t](https://evil/t.png)"
NASTY = ("<img src=x onerror=y>", "[a](https://b)", "a|b", "*b*", "__i__", "~~s~~", "`c`", "# h", "&lt;", "\\|",
         "<https://a.b>", "www.evil.example", "me@evil.example",
         "https://evil", "\x1b[31m", "\n\n# x", "snake_case")  # fmt: skip


class Read(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.told = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, attributes))

    def handle_data(self, data):
        self.told.append(data)


TEXTS = st.lists(st.sampled_from([*NASTY, PICTURE, " ", "x"]) | st.text(max_size=8), max_size=5).map("".join)


@given(TEXTS)
@example(PICTURE)
@example("".join(NASTY))
def test_a_cell_is_its_text_and_nothing_else(text):
    read = Read(READER.render(table(("what", "much"), [(f"a{markdown(text)}z", "b")])))
    assert [tag for tag, _ in read.tags] == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert not any(attributes for _, attributes in read.tags)
    cells = [told for told in read.told if told.strip()]
    assert "".join(cells) == f"whatmucha{printable(text)}zb"


@given(TEXTS)
@example(PICTURE)
@example("".join(NASTY))
def test_an_item_of_a_list_is_its_text_and_nothing_else(text):
    for render in (READER.render, python_markdown.markdown):
        read = Read(render(f"- sweep: a{markdown(text)}z"))
        assert [tag for tag, _ in read.tags] == ["ul", "li"]
        if render == READER.render:  # the other knows no escapes but those of the first Markdown
            assert "".join(read.told).strip() == f"sweep: a{printable(text)}z"


@pytest.mark.parametrize("text", NASTY)
def test_addresses_are_none_to_pages_that_make_links_of_them(text):
    assert not re.search(r"\w://|www\.|@", markdown(text), re.IGNORECASE)


def test_plain_words_stay_as_they_are():
    assert markdown("micro_f1 of drum_onsets, 0.5 (95 %)") == "micro_f1 of drum_onsets, 0.5 (95 %)"
