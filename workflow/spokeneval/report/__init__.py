"""The report of one dataset: tables, figures and one self-contained page, made from tables alone.

What is imported from here is light: the drawing libraries are loaded when a report is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spokeneval.report.inputs import ReportInputs
    from spokeneval.report.make import ReportSummary


def make_report(inputs: ReportInputs, folder: Path, identity: str) -> ReportSummary:
    """Write report.html, the tables and the figures of one dataset into `folder`; see `report.make`."""
    from spokeneval.report import make

    return make.make_report(inputs, folder, identity)


def index(results: Path, datasets: list[str] | None = None) -> Path:
    """Write {results}/index.html, which links the reports; see `report.site`."""
    from spokeneval.report import site

    return site.index(results, datasets)


def console_summary(folder: Path) -> str:
    """The tables of a report as plain text; see `report.console`."""
    from spokeneval.report import console

    return console.console_summary(folder)
