"""How much of the gap between `global` and people does an evaluator close?

Conventions
-----------
- Share of the gap = (acc(Y) - acc(global)) / (topline - acc(global)), each a mean over the same tasks: the consistency
  tasks (items with a prompt; control tasks left out) that have a human topline and both evaluators for this model. Of
  several toplines of a task the first counts.
- A share of means, not a mean of shares; it may be below 0 or above 1. Where `global` is not below the topline there is
  no gap, and no share.
- Intervals are for own models: items of all tasks are resampled together, whole clusters, both evaluators on the same
  draws. A draw without a gap counts as infinitely far off, so that too many of them leave no interval. People are taken
  as exact.
- Published rows have no items, so no interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.accuracy import cluster_codes, is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.published_rows import ROLE
from spokeneval.report.resampling import FloatArray, draw_means, interval_of
from spokeneval.report.schemas import CELL, GAP
from spokeneval.report.text import evaluator_name

BASE = "global"


def gap_closed(accuracy_global: float, accuracy: float, topline: float) -> float | None:
    """The share of the gap that is closed, from means in one unit; None where `global` is not below the topline."""
    gap = topline - accuracy_global
    return (accuracy - accuracy_global) / gap if gap > 0 else None


def mean_gap(
    by_task: dict[str, tuple[float, float]], topline: dict[str, float], tasks: Iterable[str]
) -> tuple[list[str], float, float, float] | None:
    """The tasks that enter, and means over them: `global`, evaluator, topline. None where no task has all three.

    by_task: task -> (accuracy of `global`, of the evaluator); topline: task -> human accuracy, all in one unit.
    """
    used = [task for task in tasks if task in by_task and task in topline]
    if not used:
        return None
    base, other = (float(np.mean([by_task[task][k] for task in used])) for k in (0, 1))
    return used, base, other, float(np.mean([topline[task] for task in used]))


def gap_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame, accuracy: pl.DataFrame) -> pl.DataFrame:
    """One row per model and primary evaluator other than `global`, in the schema GAP."""
    tasks = _tasks(inputs, pairs)
    if not tasks:
        return pl.DataFrame(pl.from_arrow(GAP.empty()))
    usual = pl.col("window_s").is_null() | ((pl.col("window_s") - inputs.settings.primary_window_s).abs() < 1e-9)
    usual &= pl.col("evaluator").is_in(inputs.settings.primary_evaluators) & (pl.col("role") == ROLE)
    shown = accuracy.filter(
        pl.col("task").is_in(tasks) & (pl.col("primary") | usual) & pl.col("accuracy").is_not_null()
    )
    rows = []
    for (role, model), of_model in shown.group_by("role", "model", maintain_order=True):
        base = dict(of_model.filter(pl.col("evaluator") == BASE).select("task", "accuracy").iter_rows())
        for key, cell in of_model.filter(pl.col("evaluator") != BASE).group_by(*CELL, maintain_order=True):
            values = {task: (base[task], v) for task, v in cell.select("task", "accuracy").iter_rows() if task in base}
            row = _row(inputs, tasks, values)
            if row is None:
                continue
            row |= {"role": role, "model": model, **dict(zip(CELL, key, strict=True))}
            row["source"] = inputs.published_source if role == ROLE else None
            rows.append(row)
    _add_intervals(inputs, pairs, scores, rows)
    return pl.DataFrame(pl.from_arrow(GAP.from_rows(rows))).sort(GAP.key, nulls_last=False)


def _tasks(inputs: ReportInputs, pairs: pl.DataFrame) -> list[str]:
    """Consistency tasks with a topline, in the order of the dataset."""
    prompted = pairs.filter(pl.col("transition").is_not_null())["task"].unique(maintain_order=True)
    controls = inputs.settings.control_tasks
    return [task for task in prompted if task not in controls and inputs.topline(task) is not None]


def _toplines(inputs: ReportInputs, tasks: Iterable[str]) -> dict[str, float]:
    return {task: value for task in tasks if (value := inputs.topline(task)) is not None}


def _row(inputs: ReportInputs, tasks: list[str], values: dict[str, tuple[float, float]]) -> dict[str, Any] | None:
    found = mean_gap(values, _toplines(inputs, tasks), tasks)
    if found is None:
        return None
    used, base, other, topline = found
    share = gap_closed(base, other, topline)
    return {
        "n_tasks": len(used),
        "tasks": ", ".join(used),
        "accuracy_global": base,
        "accuracy": other,
        "topline": topline,
        "share": share,
        "low": None,
        "high": None,
        "note": None if share is not None else "global is not below the human topline: there is no gap",
    }


def _add_intervals(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame, rows: list[dict[str, Any]]) -> None:
    """Bounds of the own rows that have a share, and why there are none."""
    settings = inputs.settings
    verdicts = scores.filter((pl.col("role") == "evaluator") & is_primary(settings))
    by_model = {key: rows for (key,), rows in verdicts.group_by("model")}
    for row in rows:
        if row["share"] is None:
            continue
        if row["role"] == ROLE:
            row["note"] = "published: no items, so no interval"
            continue
        tasks = row["tasks"].split(", ")
        base, other, n_clusters = _draws(inputs, pairs, by_model[row["model"]], tasks, row["evaluator"])
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = row["topline"] - base
            draws = np.where(gap > 0, (other - base) / gap, np.copysign(np.inf, other - base))
            draws[np.isnan(base) | np.isnan(other)] = np.nan
        if n_clusters >= 2:
            row["low"], row["high"] = interval_of(draws, settings.confidence)
        if row["low"] is None:
            row["note"] = "fewer than two clusters, or draws without a gap or without spread: no interval"


def _draws(
    inputs: ReportInputs, pairs: pl.DataFrame, verdicts: pl.DataFrame, tasks: list[str], evaluator: str
) -> tuple[FloatArray, FloatArray, int]:
    """(n_draws,) mean accuracy of `global` and of the evaluator over the tasks, and the number of clusters."""
    items = cluster_codes(pairs).filter(pl.col("task").is_in(tasks)).with_row_index("_item")
    matrix = np.full((len(items), 2 * len(tasks)), np.nan)
    wanted = verdicts.filter(pl.col("evaluator").is_in([BASE, evaluator])).join(items, on=["task", "item_id"])
    columns = {(task, name): 2 * k + j for k, task in enumerate(tasks) for j, name in enumerate((BASE, evaluator))}
    at = [columns[key] for key in wanted.select("task", "evaluator").iter_rows()]
    matrix[wanted["_item"].to_numpy(), at] = wanted["verdict"].cast(pl.Float64).to_numpy()
    settings = inputs.settings
    draws = draw_means(
        matrix,
        items["cluster_code"].to_numpy(),
        n_draws=settings.n_draws,
        seed=settings.seed,
        averaging=inputs.averaging,
    )
    return draws[:, 0::2].mean(axis=1), draws[:, 1::2].mean(axis=1), items["cluster_code"].n_unique()


def gap_rows(gap: pl.DataFrame) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the evaluators, and one entry per model and set of tasks with evaluator -> row, own models first."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    names: list[str] = []
    for row in gap.iter_rows(named=True):
        # A published row does not say how it had its unconditional term.
        name = evaluator_name(row | {"unconditional": None}, conventions=False)
        names += [] if name in names else [name]
        entry = found.setdefault((row["role"], row["model"], row["tasks"]), {"row": row, "cells": {}})
        entry["cells"][name] = row
    return sorted(names), list(found.values())
