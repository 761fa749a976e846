"""A browser for tests of pages: Debian's Chromium through playwright, which sees no network at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = (1400, 900), (390, 844)


def chromium_path() -> str:
    """Where Chromium is; where it is not installed the test is skipped, and fails in CI, which installs it."""
    found = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, as playwright's Browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
    with playwright.sync_playwright() as made:
        opened = made.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def opened(of: Any, path: Path, size: tuple[int, int] = WIDE, scheme: str = "light") -> Iterator[tuple[Any, list[str]]]:
    """A file as a page of so many pixels, and what goes wrong on it: errors, and requests for anything but itself."""
    context = of.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    address = path.resolve().as_uri()
    own = (address, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(own) else wrong.append(f"request: {asked.url}"))
    try:
        page.goto(address)
        yield page, wrong
    finally:
        context.close()
