"""Strata of items: does an accuracy depend on a label, or on which member is longer?

Conventions
-----------
- Strata are those of `spokeneval.strata`, of the headline evaluator of each task and of `global`, at the primary
  convention. Only labels with 2 to 12 values in a task are taken, and of them the strata of at least 5 usable items; a
  kind that keeps fewer than two strata is left out.
- Accuracy is a mean over items; intervals resample clusters.
- The test is Kruskal-Wallis over the strata of one kind, model and evaluator, which takes items as independent; Holm
  over all tests of the task. A task is flagged where any of them is below 5 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from spokeneval import tables
from spokeneval.report.accuracy import cell_matrix, cluster_codes, headlines, is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import cluster_means
from spokeneval.report.schemas import CELL, STRATA
from spokeneval.strata import MIN_STRATUM, compare_strata, strata_of_items

MOST_VALUES = 12
SIGNIFICANCE = 0.05


def strata_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per task, model, evaluator (headline and `global`) and stratum, in the schema STRATA."""
    settings = inputs.settings
    lengths = tables.read_table(inputs.clips, tables.CLIPS, columns=["clip_id", "n_samples"])
    groups = _kept(strata_of_items(pairs, lengths))
    headline = headlines(scores, settings)
    items = cluster_codes(pairs)
    rows: list[dict[str, Any]] = []
    for task, evaluator in headline.items():
        of_task = scores.filter(
            (pl.col("task") == task)
            & (pl.col("role") == "evaluator")
            & is_primary(settings)
            & pl.col("evaluator").is_in(sorted({evaluator, "global"}))
        )
        found = compare_strata(of_task, groups.filter(pl.col("task") == task), ["model", "task", *CELL], SIGNIFICANCE)
        if found.is_empty():
            continue
        task_items = items.filter(pl.col("task") == task)
        cells_by = ["model", *CELL, "by", "stratum"]
        joined = of_task.join(groups, on=["task", "item_id"]).filter(pl.col("verdict").is_not_null())
        cells, verdicts = cell_matrix(joined, task_items, cells_by, "verdict")
        means = cluster_means(
            verdicts,
            task_items["cluster_code"].to_numpy(),
            n_draws=settings.n_draws,
            seed=settings.seed,
            confidence=settings.confidence,
        )
        bounds = cells.with_columns(
            low=_nulls(means.low), high=_nulls(means.high), note=pl.Series(means.note, dtype=pl.String)
        )
        rows += (
            found.join(bounds, on=cells_by, nulls_equal=True)
            .with_columns(headline=pl.col("evaluator") == evaluator, n=pl.col("n").cast(pl.Int32))
            .rename({"differs": "flagged"})
            .select(STRATA.arrow.names)
            .to_dicts()
        )
    return pl.DataFrame(pl.from_arrow(STRATA.from_rows(rows))).sort(STRATA.key, nulls_last=False)


def _nulls(values: np.ndarray[Any, np.dtype[np.float64]]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def _kept(groups: pl.DataFrame) -> pl.DataFrame:
    """Strata of kinds with few values, and items enough."""
    kind = ["task", "by"]
    values = pl.col("stratum").n_unique().over(kind)
    kept = groups.filter(values.is_between(2, MOST_VALUES)).filter(pl.len().over([*kind, "stratum"]) >= MIN_STRATUM)
    return kept.filter(pl.col("stratum").n_unique().over(kind) >= 2)


def kind_name(by: str) -> str:
    """'label:gender' -> 'gender'; 'length' -> 'which member is longer'."""
    return by.removeprefix("label:") if by.startswith("label:") else "which member is longer"


def flagged_kinds(strata: pl.DataFrame, task: str) -> list[tuple[str, str, list[str]]]:
    """(evaluator, kind of stratum, models) whose accuracy depends on it by more than chance; the headline first."""
    flagged = strata.filter((pl.col("task") == task) & pl.col("flagged"))
    by_kind = flagged.group_by("headline", "evaluator", "by").agg(pl.col("model").unique().sort())
    ordered = by_kind.sort(["headline", "evaluator", "by"], descending=[True, False, False])
    return [(evaluator, kind_name(by), models) for _, evaluator, by, models in ordered.iter_rows()]


def stratum_tests(strata: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per task, model, evaluator and kind, with its strata; flagged ones first, then by p."""
    tests = []
    cell = ["task", "model", *CELL, "headline", "by", "p_holm", "flagged"]
    for key, rows in strata.group_by(cell, maintain_order=True):
        entry = dict(zip(cell, key, strict=True))
        tests.append(entry | {"kind": kind_name(str(entry["by"])), "strata": rows.to_dicts()})
    return sorted(
        tests, key=lambda t: (not t["flagged"], t["p_holm"] is None, t["p_holm"] or 0.0, t["task"], t["model"])
    )
