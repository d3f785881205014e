"""Tables of models by tasks for the page: primary evaluators, published rows, other conventions, controls.

Conventions: own rows come first, in the order of the configuration; published rows after them under a marked name.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from spokeneval.report import text
from spokeneval.report.accuracy import is_shown_control
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.published_rows import ROLE
from spokeneval.report.schemas import CELL
from spokeneval.report.signature import signature

Row = dict[str, Any]


def primary_panels(inputs: ReportInputs, accuracy: pl.DataFrame, reductions: dict[str, Any]) -> list[dict[str, Any]]:
    """One table for each primary evaluator, headline ones first; published rows of the same one below."""
    return _panels(inputs, accuracy, accuracy.filter("primary"), reductions)


def window_panels(inputs: ReportInputs, accuracy: pl.DataFrame, reductions: dict[str, Any]) -> list[dict[str, Any]]:
    """The primary evaluators at every other window that was computed; exploratory."""
    settings = inputs.settings
    others = accuracy.filter(
        (pl.col("role") == "evaluator")
        & pl.col("evaluator").is_in(settings.primary_evaluators)
        & pl.col("window_s").is_not_null()
        & ~pl.col("primary")
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & (pl.col("unconditional").is_null() | (pl.col("unconditional") == settings.primary_unconditional))
    )
    return _panels(inputs, accuracy, others, reductions)


def _panels(
    inputs: ReportInputs, accuracy: pl.DataFrame, shown: pl.DataFrame, reductions: dict[str, Any]
) -> list[dict[str, Any]]:
    order = {name: i for i, name in enumerate(inputs.settings.primary_evaluators)}
    panels = []
    for key, rows in shown.group_by(*CELL, maintain_order=True):
        cell = dict(zip(CELL, key, strict=True))
        panels.append(
            {
                "name": text.evaluator_name(cell),
                "evaluator": cell["evaluator"],
                "window_s": cell["window_s"],
                "order": (order[str(cell["evaluator"])], cell["window_s"] or 0.0),
                "rows": _own(inputs, rows),
                "published": _published(accuracy, cell),
                "signature": signature(inputs, reductions, cell),
            }
        )
    return sorted(panels, key=lambda panel: panel["order"])


def switched_panels(inputs: ReportInputs, accuracy: pl.DataFrame, reductions: dict[str, Any]) -> dict[str, Any]:
    """What the page switches between: the evaluators, the windows (the primary one first chosen), and for each
    evaluator its tables by window. An evaluator without a window has one table."""
    primary = primary_panels(inputs, accuracy, reductions)
    everything = [*primary, *window_panels(inputs, accuracy, reductions)]
    windows = sorted({panel["window_s"] for panel in everything if panel["window_s"] is not None})
    main = inputs.settings.primary_window_s
    return {
        "windows": [{"seconds": seconds, "primary": abs(seconds - main) < 1e-9} for seconds in windows],
        "evaluators": [
            {
                "name": text.evaluator_name({**_cell_without_window(panel), "evaluator": panel["evaluator"]}),
                "windowed": panel["window_s"] is not None,
                "tables": {
                    other["window_s"]: other for other in everything if other["evaluator"] == panel["evaluator"]
                },
            }
            for panel in primary
        ],
    }


def _cell_without_window(panel: dict[str, Any]) -> dict[str, Any]:
    row = next(row for cells in panel["rows"].values() for row in cells.values())
    return {key: row[key] for key in CELL} | {"window_s": None}


def published_panels(inputs: ReportInputs, accuracy: pl.DataFrame) -> list[dict[str, Any]]:
    """One table for each published evaluator and window, with the own rows of the same ones; own tasks first."""
    own_tasks = set(accuracy.filter(pl.col("role") != ROLE)["task"])
    settings = inputs.settings
    beside = accuracy.filter(
        (pl.col("role") == "evaluator")
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & (pl.col("unconditional").is_null() | (pl.col("unconditional") == settings.primary_unconditional))
    )
    panels = []
    published = accuracy.filter(pl.col("role") == ROLE).sort("evaluator", "window_s", nulls_last=False)
    for (evaluator, window_s), rows in published.group_by("evaluator", "window_s", maintain_order=True):
        cell = {"evaluator": evaluator, "window_s": window_s}
        panels.append(
            {
                "name": text.evaluator_name(cell),
                "tasks": sorted(set(rows["task"]), key=lambda task: (task not in own_tasks, task)),
                "rows": _own(inputs, beside.filter(_same(cell))),
                "published": _by_model(rows.sort("model")),
            }
        )
    return panels


def other_conventions(inputs: ReportInputs, accuracy: pl.DataFrame) -> list[dict[str, Any]]:
    """One row for each model, evaluator and convention other than the primary one, at the primary window."""
    usual = pl.col("window_s").is_null() | ((pl.col("window_s") - inputs.settings.primary_window_s).abs() < 1e-9)
    usual &= (pl.col("codebooks") == "all") & (pl.col("role") == "evaluator")
    usual &= pl.col("unconditional").is_null() | (pl.col("unconditional") == inputs.settings.primary_unconditional)
    shown = accuracy.filter(usual & (pl.col("convention") != inputs.settings.primary_convention))
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in shown.sort("convention", "evaluator", "model").iter_rows(named=True):
        name = text.evaluator_name(row, conventions=False)
        entry = rows.setdefault(
            (row["convention"], name, row["model"]),
            {"convention": row["convention"], "name": name, "model": row["model"], "tasks": {}},
        )
        entry["tasks"][row["task"]] = row
    return list(rows.values())


def controls(inputs: ReportInputs, accuracy: pl.DataFrame) -> list[dict[str, Any]]:
    """Baselines, and placebos at the primary window and convention, by task, as rows of one table."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    shown = accuracy.filter(is_shown_control(inputs.settings))
    for row in shown.sort("role", "evaluator", "model").iter_rows(named=True):
        key = (text.evaluator_name(row), row["model"])
        entry = rows.setdefault(key, {"name": key[0], "source": key[1], "role": row["role"], "tasks": {}})
        entry["tasks"][row["task"]] = row
    return sorted(rows.values(), key=lambda entry: (entry["role"], entry["name"], entry["source"]))


def _own(inputs: ReportInputs, rows: pl.DataFrame) -> dict[str, dict[str, Row]]:
    """model -> task -> row, of models with a row."""
    found = _by_model(rows)
    return {name: found[name] for name in inputs.models if name in found}


def _published(accuracy: pl.DataFrame, cell: dict[str, Any]) -> dict[str, dict[str, Row]]:
    return _by_model(accuracy.filter((pl.col("role") == ROLE) & _same(cell)).sort("model"))


def _same(cell: dict[str, Any]) -> pl.Expr:
    window_s = pl.lit(cell["window_s"], dtype=pl.Float64)
    named: pl.Expr = pl.col("evaluator") == cell["evaluator"]
    return named & pl.col("window_s").eq_missing(window_s)


def _by_model(rows: pl.DataFrame) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["model"], {})[row["task"]] = row
    return found
