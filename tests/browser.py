"""A real browser for tests of pages: Debian's Chromium, driven by playwright; no network but the test's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("SPOKENEVAL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH (apt install chromium)")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page_of(opened: Browser, url: str, width: int = 1280, dark: bool = False, **options: Any) -> Iterator[Page]:
    """A page in a profile of its own, which fails the test where a script of it throws."""
    scheme = "dark" if dark else "light"
    context = opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert not thrown, thrown


def accessibility_violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.1 A and AA, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response
    return [
        f"{entry['id']}: {entry['help']}: {node['html'][:200]}"
        for entry in found["violations"]
        for node in entry["nodes"]
    ]


def overflows(page: Page) -> int:
    """Pixels that the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
