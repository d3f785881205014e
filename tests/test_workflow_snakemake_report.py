"""Snakemake's own report: the page and its figures are in it, with captions, offline."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from workflow_project import Project

pytestmark = pytest.mark.workflow


def _variable(page: str, name: str) -> Any:
    """The JSON that the page's script keeps under a name."""
    found = re.search(rf"^\s*var {name} = (\{{.*\}});?$", page, flags=re.MULTILINE)
    assert found, name
    return json.loads(found[1])


def test_snakemakes_report_holds_the_page_and_its_figures_with_captions(finished: Project, tmp_path: Path) -> None:
    done = finished.snakemake("--report", str(tmp_path / "out.zip"))
    assert done.returncode == 0, done.output
    own = finished.folder / "results/demo/report"
    figures = {path.stem for path in (own / "figures").glob("*.svg")}
    assert len(figures) >= 4
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = archive.namelist()
        (index,) = (name for name in names if name.endswith("report.html") and "/data/" not in name)
        page = archive.read(index).decode()
        (inside,) = (name for name in names if name.endswith("/report.html") and "/data/" in name)
        assert archive.read(inside) == (own / "report.html").read_bytes()
    categories, results = _variable(page, "categories"), _variable(page, "results")
    assert set(categories) == {"demo"}
    assert {kind: len(found) for kind, found in categories["demo"].items()} == {"page": 1, "figures": len(figures)}
    assert {entry["labels"]["result"] for entry in results.values()} == {"report", *figures}
    for entry in results.values():
        assert "of the report on demo" in entry["caption"] or "The report on demo" in entry["caption"]
    # Asking for it changes nothing that would run.
    assert finished.plan() == set()
