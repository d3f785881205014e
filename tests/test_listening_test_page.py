"""The page that raters use, in a real browser: played, rated, left, resumed, finished, saved and sent."""

from __future__ import annotations

import csv
import http.server
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
from browser import accessibility_violations, needs_browser, overflows, page_of

from spokeneval.config.listening_tests import RaterPage
from spokeneval.listening_test.layouts import Asked
from spokeneval.listening_test.page import rater_page
from spokeneval.listening_test.questions import QUESTIONS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_browser

SLOTS = {
    1: [
        Asked(QUESTIONS["naturalness"], "aaaa", None),
        Asked(QUESTIONS["naturalness"], "bbbb", None),
        Asked(QUESTIONS["same_speaker"], "aaaa", "cccc"),
    ],
    2: [Asked(QUESTIONS["naturalness"], "bbbb", None)],
}


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, 4800).astype(np.float32)
    sf.write(buffer, noise, 16_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


WAVS = {name: wav(k) for k, name in enumerate(("aaaa", "bbbb", "cccc"))}


@contextmanager
def served(folder: Path, status: list[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on this machine for the page, which also takes answers, with the statuses in turn."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = status.pop(0) if len(status) > 1 else status[0]
            if answer == 200:
                received.append(json.loads(body))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        server.server_close()


def write_page(folder: Path, embed: bool = False, **settings: Any) -> str:
    (folder / "audio").mkdir()
    if not embed:
        for name, content in WAVS.items():
            (folder / f"audio/{name}.wav").write_bytes(content)
    page = rater_page("first", SLOTS, RaterPage(**settings), WAVS if embed else None)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return (folder / "index.html").as_uri()


def begin(page: Page, listener: str = "rater 1") -> None:
    page.fill("#listener", listener)
    page.keyboard.press("Enter")
    page.wait_for_selector("#part:not([hidden])")


def hear(page: Page, key: str, state: str) -> None:
    page.keyboard.press(key)
    page.wait_for_function(f"document.getElementById('{state}').textContent === 'heard'")


def rows_of(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click("#save")
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("embed", [False, True], ids=["files", "embedded"])
def test_a_rater_plays_rates_leaves_resumes_and_saves_by_keyboard(
    chromium: Browser, tmp_path: Path, embed: bool
) -> None:
    url = write_page(tmp_path, embed)
    with page_of(chromium, url + "?slot=1") as page:
        begin(page)
        page.keyboard.press("Enter")  # the instructions
        assert page.locator("#trial-h").inner_text() == "How natural does this sound?"
        page.keyboard.press("4")
        assert page.locator("#answers input:checked").count() == 0, "rated before it was heard"
        assert page.locator("#next").is_disabled()
        hear(page, " ", "state")
        page.keyboard.press("4")
        page.fill("#comment", '<b>so</b> "so", =1+1')
        page.keyboard.press("Enter")
        assert page.locator("#progress-text").inner_text() == "1 of 3 rated"

        page.reload()
        page.wait_for_selector("#trial:not([hidden])")
        assert page.locator("#progress-text").inner_text() == "1 of 3 rated"
        hear(page, " ", "state")
        hear(page, " ", "state")
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # the instructions of the second part
        assert page.locator("#trial-h").inner_text() == "Is B spoken by the same person as A?"
        hear(page, " ", "state")
        assert page.locator("#hint").inner_text() == "Hear A to its end first."
        hear(page, "a", "reference-state")
        page.keyboard.press("5")
        page.click("#back")
        assert page.locator("#answers input:checked").get_attribute("value") == "2"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert "all 3 sounds" in page.locator("#end-text").inner_text()
        rows = rows_of(page)
    assert [(r["dimension"], r["blinded_name"], r["score"], r["plays"]) for r in rows] == [
        ("naturalness", "aaaa", "4", "1"),
        ("naturalness", "bbbb", "2", "2"),
        ("same_speaker", "aaaa", "5", "1"),
    ]
    assert rows[0]["comment"] == '<b>so</b> "so", =1+1'
    assert {r["listener_id"] for r in rows} == {"rater 1"}
    assert all(0.3 <= float(r["seconds"]) < 60 for r in rows)


def test_answers_are_sent_and_nothing_is_lost_where_the_server_fails(chromium: Browser, tmp_path: Path) -> None:
    write_page(tmp_path, post_to="answers")
    with served(tmp_path, [500, 200]) as (url, received), page_of(chromium, f"{url}/index.html?slot=2") as page:
        begin(page)
        page.keyboard.press("Enter")
        hear(page, " ", "state")
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('end-state').textContent.includes('have arrived')")
    assert received[0]["columns"][:5] == ["test_id", "dimension", "listener_id", "blinded_name", "score"]
    assert received[0]["rows"][0][:5] == ["first", "naturalness", "rater 1", "bbbb", 3]
    with served(tmp_path, [503]) as (url, received), page_of(chromium, f"{url}/index.html?slot=2") as page:
        begin(page)
        page.keyboard.press("Enter")
        hear(page, " ", "state")
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('end-state').textContent.includes('Nothing is lost')")
        assert "503" in page.locator("#end-state").inner_text()
        assert len(rows_of(page)) == 1
    assert not received


def test_a_sound_that_is_not_there_is_said(chromium: Browser, tmp_path: Path) -> None:
    url = write_page(tmp_path)
    (tmp_path / "audio/bbbb.wav").unlink()
    with page_of(chromium, url + "?slot=2&listener=x") as page:
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.keyboard.press(" ")
        page.wait_for_function("document.getElementById('state').textContent.includes('cannot be played')")
        assert page.locator("#next").is_disabled()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_page_can_be_read_by_everybody(chromium: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    """No violation of WCAG 2.1 A or AA that axe finds, nothing wider than a phone, on every screen."""
    url = write_page(tmp_path, introduction="Thank you for your help " * 10, contact="me@example.org")
    with page_of(chromium, url + "?slot=1", width, dark) as page:
        for step in range(6):
            assert accessibility_violations(page) == [], step
            assert overflows(page) <= 0, step
            if step == 0:
                begin(page, "a-very-long-name-" * 4)
            elif page.locator("#trial").is_visible():
                if page.locator("#reference-box").is_visible():
                    hear(page, "a", "reference-state")
                hear(page, " ", "state")
                page.keyboard.press("3")
                page.keyboard.press("Enter")
            elif page.locator("#part").is_visible():
                page.keyboard.press("Enter")
        page.wait_for_selector("#end:not([hidden])")
        assert accessibility_violations(page) == []
