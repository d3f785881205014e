"""The page in a real browser: light and dark, wide and narrow, by keyboard, in print. All tables are simulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import browser as chromium
from browser import needs_browser, overflows
from hostile_report import hostile_inputs
from report_simulation import simulate, with_published

from spokeneval.report import index, make_report
from spokeneval.report.provenance import Origin, Provenance

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_browser
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a complete report and a partial one full of hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    inputs = simulate(folder / "in", n_models=5, n_items=30, hearing=5.0)
    lines = ["pub,speaker,localized,200,71.0", "pub,speaker,global,,64.0"]
    said = Provenance(
        (
            Origin("model", "sim-a", ("LJSpeech",), said_by="by the configuration", licence="MIT", identity="a" * 64),
            Origin("judge", "sim-voice"),
        ),
        {"speaker": ("VCTK",), "background": ("LJSpeech", "FSD50K")},
        "by the configuration",
        versions={"torch": "2.0.0"},
        made_with={"python": "3.12.1"},
    )
    results = folder / "results"
    inputs = replace(with_published(inputs, folder / "p.csv", lines), provenance=said)
    make_report(inputs, results / "simulated/report", "x")
    make_report(hostile_inputs(folder), results / "hostile/report_partial", "x")
    index(results)
    return results


def opened(browser: Browser, path: Path, width: int = 1280, scheme: Any = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(path.as_uri())
    return page


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(entry => entry.open = true)")


PAGES = ("simulated/report/report.html", "hostile/report_partial/report.html", "index.html")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_the_body_does_not_overflow(
    browser: Browser, made: Path, name: str, width: int, scheme: str
) -> None:
    page = opened(browser, made / name, width, scheme)
    unfold(page)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    broken = [
        (entry["id"], entry["impact"], [node["html"][:160] for node in entry["nodes"][:3]])
        for entry in found.response["violations"]
    ]
    assert broken == []
    assert overflows(page) == 0
    page.context.close()


def test_a_contrast_that_is_too_low_would_be_found(browser: Browser, made: Path) -> None:
    page = opened(browser, made / PAGES[0])
    page.add_style_tag(content=":root { --muted: #b5b5b5; }")
    found = Axe().run(page, options={"runOnly": ["wcag2aa"]})
    assert "color-contrast" in {entry["id"] for entry in found.response["violations"]}
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_for_nothing_and_runs_nothing(browser: Browser, made: Path, name: str) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.goto((made / name).as_uri())
    unfold(page)
    page.wait_for_load_state("load")
    assert asked[0].startswith("file:")
    assert all(url.startswith("data:") for url in asked[1:])
    context.close()


def _captions(page: Page) -> list[str]:
    """Captions of the tables of accuracies that are shown."""
    return [
        text for entry in page.locator(".panel caption").all() if entry.is_visible() and (text := entry.inner_text())
    ]


def test_evaluator_and_window_are_switched_by_keyboard(browser: Browser, made: Path) -> None:
    page = opened(browser, made / PAGES[0])
    assert [caption.partition(":")[0] for caption in _captions(page)] == ["localized 0.2 s"]
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "evaluator":
            break
    assert page.evaluate("document.activeElement.name") == "evaluator"
    page.keyboard.press("ArrowRight")
    assert [caption.partition(":")[0] for caption in _captions(page)] == ["global"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "window"
    page.keyboard.press("ArrowLeft")
    assert [caption.partition(":")[0] for caption in _captions(page)] == ["localized 0.1 s (exploratory)"]
    page.context.close()


def test_every_control_is_reached_by_tab_and_shows_its_focus(browser: Browser, made: Path) -> None:
    page = opened(browser, made / PAGES[0])
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], summary, audio, .scroll[tabindex]')]
        .filter(e => e.checkVisibility()).map((e, k) => { e.dataset.k = k; return k; }).length"""
    )
    reached: set[str] = set()
    for _ in range(2000):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
            return [e.dataset.k ?? '', e.tagName, s.outlineStyle, s.outlineWidth]; }"""
        )
        if state[1] == "BODY":
            break
        if state[0] != "":
            reached.add(state[0])
            assert state[2] != "none", state
            assert float(state[3].removesuffix("px")) >= 2, state
    assert len(reached) == wanted > 20
    page.context.close()


def test_print_shows_every_evaluator_at_the_primary_window_and_opens_what_is_folded(
    browser: Browser, made: Path
) -> None:
    page = opened(browser, made / PAGES[0])
    page.emulate_media(media="print")
    captions = _captions(page)
    assert len(captions) == 6
    assert not any("exploratory" in caption for caption in captions)
    folded = page.locator("details:not([open]) table").first
    assert folded.evaluate("e => e.getBoundingClientRect().height") > 20
    assert page.locator("nav").first.is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.context.close()


def test_index_links_lead_to_the_reports_and_say_what_is_incomplete(browser: Browser, made: Path) -> None:
    page = opened(browser, made / "index.html", 390)
    assert page.locator("tbody tr").count() == 2
    assert "INCOMPLETE" in page.locator("tr", has_text="hostile").inner_text()
    assert "complete" in page.locator("tr", has_text="simulated").inner_text()
    assert "averaged across" in page.locator("body").inner_text()
    page.get_by_role("link", name="simulated").click()
    assert page.locator("h1").inner_text().startswith("simulated")
    page.context.close()


def test_models_are_never_told_apart_by_colour_alone(made: Path) -> None:
    """Wherever a figure colours lines or marks by model, a layer of it gives the model a shape or a dash as well."""
    checked = 0
    for path in sorted((made / "simulated/report/figures").glob("*.vl.json")):
        spec = json.loads(path.read_text())
        layers = spec.get("spec", spec).get("layer", [spec])
        fields: dict[str, set[str]] = {"color": set(), "shape": set(), "strokeDash": set()}
        for layer in layers:
            for channel, entry in layer.get("encoding", {}).items():
                if channel in fields and isinstance(entry, dict) and entry.get("type") == "nominal":
                    fields[channel].add(entry["field"])
        assert fields["color"] <= fields["shape"] | fields["strokeDash"], path
        checked += bool(fields["color"])
    assert checked >= 5
