"""Accuracy by model, task and evaluator, with intervals, ties and failures.

Conventions
-----------
- An item is right where the right clip scores better (lower NLL); a tie counts one half. Accuracy is the mean over
  the items with a verdict. Failed items are counted beside it and never enter it.
- A benchmark may average otherwise (`inputs.averaging`): 'clusters' is the mean over clusters (the ids of ZeroSpeech)
  of the mean over the items (voices) within. The mean over items stands beside (`accuracy_items`).
- `n_items` counts every item of the task in the pairs table, so that nothing is lost between the stages.
- Intervals resample clusters (speakers, noises, rooms); Wilson, as if items were independent, stands beside.
- Published rows come last, are nobody's primary or headline, and enter no ranking, mean, test or agreement.
- Primary evaluators are fixed by the settings before any result is seen; the first of them that a task has is the
  task's headline, which ranks the models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from spokeneval import tables
from spokeneval.report.inputs import ReportInputs, ReportSettings
from spokeneval.report.published_rows import published_rows
from spokeneval.report.resampling import FloatArray, Means, cluster_means, means_of
from spokeneval.report.schemas import ACCURACY, CELL
from spokeneval.statistics.intervals import wilson

PLACEBO = frozenset({"placebo", "placebo_window"})
"""Evaluators that look before the transition: they can only be right by a cue that is not the attribute."""


def read_scores(inputs: ReportInputs) -> pl.DataFrame:
    """All rows of all evaluators tables and controls, with model and role ('evaluator', 'control', 'baseline')."""
    frames = [_empty_scores()]
    for role, paths in (("evaluator", inputs.evaluators), ("baseline", inputs.controls)):
        for name, path in paths.items():
            frame = tables.read_table(path, tables.EVALUATORS)
            kind = pl.when(pl.col("evaluator").is_in(PLACEBO)).then(pl.lit("control")).otherwise(pl.lit(role))
            frames.append(frame.with_columns(model=pl.lit(name), role=kind))
    return pl.concat(frames)


def _empty_scores() -> pl.DataFrame:
    frame = pl.from_arrow(tables.EVALUATORS.empty())
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(model=pl.lit("", pl.String), role=pl.lit("", pl.String)).clear()


def is_primary(settings: ReportSettings) -> pl.Expr:
    """Rows of the primary family."""
    return (
        pl.col("evaluator").is_in(settings.primary_evaluators)
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & (pl.col("window_s").is_null() | (pl.col("window_s") - settings.primary_window_s).abs().lt(1e-9))
        & (pl.col("unconditional").is_null() | (pl.col("unconditional") == settings.primary_unconditional))
    )


def is_shown_control(settings: ReportSettings) -> pl.Expr:
    """Rows of baselines, and of placebos at the primary window and convention: the controls that a page shows.

    Other windows are in the tables only: of many windows, one is sooner off chance by accident.
    """
    primary = pl.col("window_s").is_null() | ((pl.col("window_s") - settings.primary_window_s).abs() < 1e-9)
    primary &= (pl.col("convention") == settings.primary_convention) & (pl.col("codebooks") == "all")
    return (pl.col("role") == "baseline") | ((pl.col("role") == "control") & primary)


def headlines(scores: pl.DataFrame, settings: ReportSettings) -> dict[str, str]:
    """Task -> the evaluator that ranks its models: the first primary one that the task has."""
    found = scores.filter((pl.col("role") == "evaluator") & is_primary(settings)).select("task", "evaluator").unique()
    have: dict[str, set[str]] = {}
    for task, evaluator in found.iter_rows():
        have.setdefault(task, set()).add(evaluator)
    return {task: next(name for name in settings.primary_evaluators if name in have[task]) for task in sorted(have)}


def cluster_codes(pairs: pl.DataFrame) -> pl.DataFrame:
    """task, item_id, cluster and its number within the dataset, in the order of the pairs."""
    return pairs.select(
        "task", "item_id", "cluster", pl.col("cluster").rank("dense").cast(pl.Int64).alias("cluster_code")
    )


def cell_matrix(rows: pl.DataFrame, items: pl.DataFrame, by: list[str], value: str) -> tuple[pl.DataFrame, FloatArray]:
    """Long rows of one task as a matrix: (cells, (n_items, n_cells)), NaN where a row is absent or failed.

    items: the task's items, one row each with item_id; `by` names the columns that make a cell.
    """
    cells = rows.select(by).unique(maintain_order=True).with_row_index("_cell")
    order = items.select("item_id").with_row_index("_item")
    at = rows.join(order, on="item_id").join(cells, on=by, nulls_equal=True)
    matrix = np.full((len(items), len(cells)), np.nan)
    matrix[at["_item"].to_numpy(), at["_cell"].to_numpy()] = at[value].cast(pl.Float64).to_numpy()
    return cells.drop("_cell"), matrix


def accuracy_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The accuracy table, letters and minimal detectable differences still null (`comparisons` fills them)."""
    settings = inputs.settings
    headline = headlines(scores, settings)
    primary = scores.with_columns(primary=is_primary(settings) & (pl.col("role") == "evaluator"))
    items = cluster_codes(pairs)
    parts: list[dict[str, Any]] = []
    for (task,), rows in primary.sort("task", maintain_order=True).group_by("task", maintain_order=True):
        of_task = items.filter(pl.col("task") == task)
        if of_task.is_empty():
            continue
        cells, verdicts = cell_matrix(rows, of_task, ["model", "role", "primary", *CELL], "verdict")
        clusters = of_task["cluster_code"].to_numpy()
        means = cluster_means(
            verdicts,
            clusters,
            n_draws=settings.n_draws,
            seed=settings.seed,
            confidence=settings.confidence,
            averaging=inputs.averaging,
        )
        over_items = means_of(verdicts, clusters, "items")
        ties = (verdicts == 0.5).sum(axis=0)
        for k, cell in enumerate(cells.iter_rows(named=True)):
            parts.append(
                cell
                | _groups(inputs, cell["model"], cell["role"])
                | {
                    "task": task,
                    "source": None,
                    "averaging": inputs.averaging,
                    "headline": bool(cell["primary"] and cell["evaluator"] == headline.get(str(task))),
                    "n_items": len(of_task),
                    "n_ties": int(ties[k]),
                }
                | accuracy_columns(means, k, over_items[k], len(of_task), settings.confidence)
            )
    parts += published_rows(inputs, pairs, parts)
    frame = pl.DataFrame(pl.from_arrow(ACCURACY.from_rows([row | {"letters": None, "mdd": None} for row in parts])))
    return frame.sort(ACCURACY.key, nulls_last=False)


def accuracy_columns(means: Means, k: int, over_items: float, n_items: int, confidence: float) -> dict[str, Any]:
    """The numbers of cell k; over_items: its mean over items, which may be averaged otherwise in `means`."""
    n = int(means.n[k])
    bounds = wilson(over_items * n, n, confidence) if n else None
    return {
        "n_scored": n,
        "n_failed": n_items - n,
        "n_clusters": int(means.n_clusters[k]),
        "accuracy": _or_none(means.mean[k]),
        "accuracy_items": _or_none(over_items),
        "low": _or_none(means.low[k]),
        "high": _or_none(means.high[k]),
        "wilson_low": bounds.low if bounds else None,
        "wilson_high": bounds.high if bounds else None,
        "note": means.note[k],
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _groups(inputs: ReportInputs, name: str, role: str) -> dict[str, str | None]:
    if role == "baseline":
        return {"family": None, "tokenizer": None if name == "audio" else name}
    return {"family": inputs.models[name].family, "tokenizer": inputs.models[name].tokenizer}
