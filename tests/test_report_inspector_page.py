"""The inspector in a real browser: searched, sorted, opened by link and by keyboard, listened to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from browser import accessibility_violations, needs_browser, overflows, page_of
from report_simulation import simulate

from spokeneval.report.make import make_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    make_report(simulate(folder / "in", n_items=30, prefix="a/b <i> "), folder / "out", "identity")
    return (folder / "out/report.html").as_uri()


def test_items_are_searched_sorted_and_turned(chromium: Browser, url: str) -> None:
    with page_of(chromium, url) as page:
        rows = page.locator("#inspect-rows tr")
        count = page.locator("#inspect-count")
        assert rows.count() == 50
        assert count.inner_text().startswith("1 to 50 of")
        page.click("#inspect-after")
        assert count.inner_text().startswith("51 to")
        page.select_option("#inspect-task", index=1)
        task = page.locator("#inspect-task option:checked").inner_text()
        assert rows.count() == 30
        page.select_option("#inspect-sort", "wrong")
        right = [int(text) for text in rows.locator("td:nth-child(3)").all_inner_texts() if text != "-"]
        assert right == sorted(right)
        page.fill("#inspect-search", f"{task}-7")
        assert rows.locator("a").all_inner_texts() == [f"a/b <i> {task}-7"]
        page.fill("#inspect-search", "no such thing")
        assert count.inner_text() == "No item is like that."
        page.fill("#inspect-search", "")
        page.select_option("#inspect-task", index=0)
        page.check("#inspect-heard")
        assert 0 < rows.count() <= 10


def test_an_item_is_opened_by_its_link_and_back_again(chromium: Browser, url: str) -> None:
    with page_of(chromium, url) as page:
        page.check("#inspect-heard")
        link = page.locator("#inspect-rows a").first
        name = link.inner_text()
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#inspect-item:not([hidden])")
        assert page.locator("#inspect-item-h").inner_text() == name
        assert page.evaluate("document.activeElement.id") == "inspect-item"
        assert page.locator("#inspect-item table tbody tr").count() >= 2
        assert page.locator("#inspect-item .traces svg polyline").count() >= 2
        player = page.locator("#inspect-item audio").first
        player.evaluate("element => { element.muted = true; return element.play(); }")
        assert player.evaluate("element => element.duration") > 0
        page.go_back()
        first = page.url
        page.go_forward()
        assert page.url != first
        shared = page.url
    with page_of(chromium, shared) as page:
        page.wait_for_selector("#inspect-item:not([hidden])")
        assert page.locator("#inspect-item-h").inner_text() == name
    with page_of(chromium, url + "#item=" + quote("no/such item %", safe="")) as page:
        assert page.locator("#inspect-item-h").inner_text() == "No such item"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_the_whole_report_can_be_read_by_everybody(chromium: Browser, url: str, width: int, dark: bool) -> None:
    """No violation of WCAG 2.1 A or AA that axe finds, nothing wider than the window, with an item open."""
    with page_of(chromium, url, width, dark) as page:
        page.locator("#inspect-rows a").first.click()
        page.wait_for_selector("#inspect-item:not([hidden])")
        assert accessibility_violations(page) == []
        assert overflows(page) <= 0


def test_without_scripts_the_drawn_items_are_still_there(chromium: Browser, url: str) -> None:
    with page_of(chromium, url, java_script_enabled=False) as page:
        assert page.locator("#listen article audio").count() > 4
        assert page.locator("#inspect-form").is_hidden()
