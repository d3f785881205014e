"""The tables of a report as plain text, at most 120 columns wide: what a run ends with. Reads written tables only."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from spokeneval.errors import ArtefactError
from spokeneval.report.people.console import HEADER as PEOPLE_HEADER
from spokeneval.report.people.console import people_rows
from spokeneval.report.schemas import ACCURACY, AGREEMENT, TIMINGS
from spokeneval.report.schemas_judges import JUDGES
from spokeneval.report.text import coefficient, count, evaluator_name, interval, percent, seconds
from spokeneval.table_schema import TableSchema
from spokeneval.tables import read_table

WIDTH = 120
MOST_MISSING = 20


def console_summary(folder: Path) -> str:
    """Accuracy, agreement with the judge, seconds per stage, failures, and where report.html lies.

    Raises ArtefactError where `folder` holds no report.
    """
    folder = Path(folder)
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{folder}: there is no report here; run the workflow first") from None

    def table(name: str, schema: TableSchema) -> pl.DataFrame:
        return read_table(folder / "tables" / f"{name}.parquet", schema)

    blocks = [f"=== {results['dataset']} ==="]
    if results["incomplete"]:
        blocks.append(_missing(results["missing"]))
    blocks.append(_accuracy(table("accuracy", ACCURACY), list(results["models"])))
    blocks.append(_judges(table("judges", JUDGES)))
    blocks.append(_agreement(table("agreement", AGREEMENT)))
    blocks += [f"{title}\n{columns(PEOPLE_HEADER, rows)}\n{below}" for title, rows, below in people_rows(folder)]
    blocks.append(_timings(table("timings", TIMINGS)))
    n_failed = results["n_failed_rows"]
    # Reports of earlier versions do not say how many items.
    items = f"{results['n_failed_items']:,} of {results['n_items']:,} items; " if "n_items" in results else ""
    blocks.append(f"failed rows: {n_failed:,}" + (f" ({items}reasons: tables/failures.csv)" if n_failed else ""))
    blocks.append(f"report: {folder / 'report.html'}")
    lines = "\n\n".join(block for block in blocks if block).splitlines()
    return "\n".join(_cut(line) for line in lines)


def _missing(missing: list[str]) -> str:
    """One line each, so that what is wrong with a table is not cut off."""
    more = [f"  and {len(missing) - MOST_MISSING} more"] if len(missing) > MOST_MISSING else []
    return "\n".join(["INCOMPLETE, made without:", *(f"  {entry}" for entry in missing[:MOST_MISSING]), *more])


def _cut(line: str) -> str:
    # Paths stay whole, so that they can be opened.
    return line if len(line) <= WIDTH or line.startswith("report: ") else line[: WIDTH - 3] + "..."


def columns(header: list[str], rows: list[list[str]]) -> str:
    """Left-aligned columns two spaces apart, with a rule under the header."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "-" * min(WIDTH, sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def _accuracy(accuracy: pl.DataFrame, models: list[str]) -> str:
    """Models by tasks under each task's headline evaluator, in blocks of tasks that fit the width."""
    headline = accuracy.filter("headline")
    if headline.is_empty():
        return "accuracy: no model has a score under the primary evaluators"
    cells = {(row["model"], row["task"]): row for row in headline.iter_rows(named=True)}
    names = {row["task"]: evaluator_name(row) for row in headline.iter_rows(named=True)}
    tasks = sorted(names)
    label = max(24, *(len(name) for name in models)) if models else 24
    per_block = max(1, (WIDTH - min(label, 40)) // 24)
    blocks = []
    for start in range(0, len(tasks), per_block):
        of_block = tasks[start : start + per_block]
        rows = [[name[:40], *(_accuracy_cell(cells.get((name, task))) for task in of_block)] for name in models]
        rows.append(["  by", *(names[task] for task in of_block)])
        blocks.append(columns(["model", *of_block], rows))
    return (
        "accuracy in percent (50 is chance), interval over clusters; models that share a letter cannot be told apart\n"
        + "\n\n".join(blocks)
    )


def _accuracy_cell(row: dict[str, object] | None) -> str:
    if row is None or row["accuracy"] is None:
        return "-"
    low, high = row["low"], row["high"]
    bounds = interval(float(str(low)), float(str(high))) if low is not None and high is not None else ""
    return " ".join(filter(None, [percent(float(str(row["accuracy"]))), bounds, str(row["letters"] or "")]))


def _judges(judges: pl.DataFrame) -> str:
    chosen = judges.filter("chosen")
    if chosen.is_empty():
        return "judges: none was chosen for any task"
    rows = [
        [
            r["task"],
            r["judge"],
            f"{percent(r['share'])} {interval(r['low'], r['high'])}",
            percent(r["against"]),
            r["verdict"] + ("" if r["ranks"] else ", ranks nothing"),
        ]
        for r in chosen.iter_rows(named=True)
    ]
    return "judge of each task, on real audio\n" + columns(["task", "judge", "right in", "against", "verdict"], rows)


def _agreement(agreement: pl.DataFrame) -> str:
    """The primary evaluators against the chosen judges: the system level where there is one, else each task."""
    shown = agreement.filter(pl.col("primary") & pl.col("chosen"))
    system = shown.filter(pl.col("level") == "system")
    shown = system if not system.is_empty() else shown
    if shown.is_empty():
        return "agreement with the judge: no system has both an accuracy and a judgement"
    rows = [
        [
            evaluator_name(r),
            f"mean of {count(r['n_tasks'], 'task')}" if r["level"] == "system" else r["task"],
            str(r["n_systems"]),
            *(coefficient(r[c], r[f"{c}_low"], r[f"{c}_high"]) for c in ("pearson", "spearman", "kendall")),
        ]
        for r in shown.sort("task", "evaluator").iter_rows(named=True)
    ]
    header = ["evaluator", "over", "systems", "Pearson", "Spearman", "Kendall"]
    return "evaluator against the judge (agreement with a judge, not with people)\n" + columns(header, rows)


def _timings(timings: pl.DataFrame) -> str:
    if timings.is_empty():
        return ""
    by_stage = (
        timings.group_by("stage", maintain_order=True)
        .agg(pl.len().alias("jobs"), pl.col("seconds").sum())
        .sort("seconds", descending=True)
    )
    rows = [[stage, str(jobs), seconds(wall)] for stage, jobs, wall in by_stage.iter_rows()]
    return "seconds per stage, summed over jobs\n" + columns(["stage", "jobs", "wall"], rows)
