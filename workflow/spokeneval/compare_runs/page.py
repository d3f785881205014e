"""compare.html: one file, no network, text from data escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spokeneval.compare_runs.console import (
    TITLES,
    answer_lines,
    changed_lines,
    difference,
    item_lines,
    pair_name,
    value,
)
from spokeneval.report.html import render_template

if TYPE_CHECKING:
    from spokeneval.compare_runs.run import Comparison

TEMPLATES = Path(__file__).parent / "templates"


def page(compared: Comparison) -> str:
    rows = compared.rows.to_dicts()
    panels = [(title[0].upper() + title[1:], kind) for kind, title in TITLES.items()]
    return render_template(
        "compare.html.j2",
        TEMPLATES,
        compared=compared,
        panels=[(title, kind, found) for title, kind in panels if (found := [r for r in rows if r["kind"] == kind])],
        answer=answer_lines(compared),
        changed=changed_lines(compared),
        items=item_lines(compared),
        pair_name=pair_name,
        value=value,
        difference=difference,
    )
