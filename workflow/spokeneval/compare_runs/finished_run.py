"""A finished run as it is compared: its report's tables, and the items that they are about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval import tables
from spokeneval.errors import ArtefactError
from spokeneval.report.results_json import RESULTS_VERSION
from spokeneval.report.schemas import ACCURACY, ITEMS_LONG
from spokeneval.report.schemas_judges import JUDGES

_RESULTS, _ITEMS = "results.json", "items_long.parquet"


@dataclass(frozen=True)
class Run:
    """One side of a comparison."""

    name: str
    """'A' or 'B'."""
    label: str
    """The last two folders of its results: 'x/demo'."""
    folder: Path
    """results/{dataset}"""
    results: dict[str, Any]
    """results.json of the report"""
    identity: str
    """Of the report."""
    pairs: pl.DataFrame
    items: pl.DataFrame
    """items_long of its models"""
    accuracy: pl.DataFrame
    judges: pl.DataFrame

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        entries: dict[str, dict[str, Any]] = self.results["models"]
        return entries

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.results["settings"]
        return settings

    @property
    def averaging(self) -> str:
        """What an accuracy is a mean over: 'items' or 'clusters'."""
        named = self.accuracy.filter(pl.col("role") != "published")["averaging"].drop_nulls()
        return str(named[0]) if len(named) else "items"


def read_run(name: str, given: Path, dataset: str | None = None) -> Run:
    """The run whose results lie in `given`: a folder of results, of one dataset of it, or its report.

    dataset: which one, where a folder of results holds several. Raises ArtefactError where there is no report, several
    to choose from, a report of another version, or no table of pairs beside it.
    """
    report = _report(name, Path(given), dataset)
    results = json.loads((report / _RESULTS).read_text(encoding="utf-8"))
    found = results.get("version")
    if found != RESULTS_VERSION:
        raise ArtefactError(
            f"{name}: {report / _RESULTS}: results of version {found}; expected {RESULTS_VERSION}: make the report "
            "again with this version of spokeneval"
        )
    folder = report.resolve().parent
    items = tables.read_table(report / _ITEMS, ITEMS_LONG)
    return Run(
        name,
        f"{folder.parent.name}/{folder.name}",
        folder,
        results,
        tables.read_metadata(report / _ITEMS, ITEMS_LONG).identity,
        tables.read_table(folder / "pairs.parquet", tables.PAIRS),
        items.filter(pl.col("model").is_in(list(results["models"]))),
        tables.read_table(report / "tables" / "accuracy.parquet", ACCURACY),
        tables.read_table(report / "tables" / "judges.parquet", JUDGES),
    )


def _report(name: str, given: Path, dataset: str | None) -> Path:
    """The folder of the report."""
    if not given.is_dir():
        raise ArtefactError(f"{name}: {given}: there is no such folder; expected results of a run")
    if (given / _RESULTS).is_file() and (given / _ITEMS).is_file():
        return given
    if (given / "report" / _RESULTS).is_file():
        return given / "report"
    found = {path.parent.parent.name: path.parent for path in sorted(given.glob(f"*/report/{_RESULTS}"))}
    if dataset is not None and dataset in found:
        return found[dataset]
    if not found:
        raise ArtefactError(f"{name}: {given}: there is no report here; run the workflow to its end first")
    if dataset is not None:
        raise ArtefactError(f"{name}: {given}: no report of dataset '{dataset}'; there are {', '.join(found)}")
    if len(found) > 1:
        raise ArtefactError(f"{name}: {given}: reports of several datasets ({', '.join(found)}); name one by --dataset")
    return next(iter(found.values()))
