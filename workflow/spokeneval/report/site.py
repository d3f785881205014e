"""The index over datasets: links, and nothing that is averaged across them."""

from __future__ import annotations

import json
from pathlib import Path

from spokeneval.atomic import atomic_path
from spokeneval.report.html import render_template


def index(results: Path, datasets: list[str] | None = None) -> Path:
    """Write {results}/index.html with a link to each dataset's report, complete or partial.

    datasets: names in the order to show; by default every folder of `results` that holds a report.
    """
    results = Path(results)
    names = (
        sorted(p.parent.parent.name for p in results.glob("*/report/results.json")) if datasets is None else datasets
    )
    partial = sorted(p.parent.parent.name for p in results.glob("*/report_partial/results.json"))
    entries = []
    for name in [*names, *(n for n in partial if n not in names)]:
        for folder in ("report", "report_partial"):
            path = results / name / folder / "results.json"
            if path.is_file():
                found = json.loads(path.read_text(encoding="utf-8"))
                entries.append({"dataset": name, "href": f"{name}/{folder}/report.html", "results": found})
    with atomic_path(results / "index.html") as temporary:
        temporary.write_text(render_template("index.html.j2", entries=entries), encoding="utf-8")
    return results / "index.html"
