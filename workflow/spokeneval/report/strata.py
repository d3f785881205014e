"""Strata of items: does an accuracy depend on a label, or on which member is longer?

Conventions
-----------
- Strata are those of `spokeneval.strata`, of the headline evaluator of each task and of `global`, at the primary
  convention. Only labels with 2 to 12 values in a task are taken, and of them the strata of at least 5 usable items; a
  kind that keeps fewer than two strata is left out.
- Which member is longer is told by the audio; where none is here (published losses), by the frames of the tokens.
- Accuracy is a mean over items; intervals resample clusters.
- The test is Kruskal-Wallis over the strata of one kind, model and evaluator, which takes items as independent; Holm
  over all tests of the task. A task is flagged where any of them is below 5 %.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from spokeneval import tables
from spokeneval.report.accuracy import cell_matrix, cluster_codes, headlines, is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.positions import read_info
from spokeneval.report.resampling import cluster_means
from spokeneval.report.schemas import CELL, STRATA
from spokeneval.strata import MIN_STRATUM, compare_strata, strata_of_items

MOST_VALUES = 12
SIGNIFICANCE = 0.05


def strata_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per task, model, evaluator (headline and `global`) and stratum, in the schema STRATA."""
    settings = inputs.settings
    groups = _kept(strata_of_items(pairs, _lengths(inputs, pairs)))
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


def _lengths(inputs: ReportInputs, pairs: pl.DataFrame) -> pl.DataFrame:
    """clip_id and n_samples of both members: of the audio, or else of one model's tokens, at its tokenizer's rate."""
    lengths = tables.read_table(inputs.clips, tables.CLIPS, columns=["clip_id", "n_samples"])
    members = pl.concat([pairs["positive"], pairs["negative"]]).drop_nulls().unique()
    absent = members.filter(~members.is_in(lengths["clip_id"].implode()))
    for path in inputs.likelihood.values():
        if absent.is_empty():
            break
        rows = tables.read_table(path, tables.LIKELIHOOD, columns=["clip_id", "context", "frame", "n_frames"])
        rows = rows.filter((pl.col("context") == "full") & pl.col("clip_id").is_in(absent.implode()))
        ends = rows.explode("frame", "n_frames").group_by("clip_id").agg(n=(pl.col("frame") + pl.col("n_frames")).max())
        found = ends.filter(pl.col("n") > 0)
        if not found.is_empty():
            # Of one table alone: members that two tokenizers have framed cannot be compared.
            n_samples = pl.col("n").cast(pl.Int64) * read_info(path).hop_samples
            return pl.concat([lengths, found.select("clip_id", n_samples=n_samples)])
    return lengths


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


class FlaggedKind(NamedTuple):
    """A kind of stratum on which an accuracy depends by more than chance."""

    evaluator: str
    kind: str
    models: list[str]
    """Whose accuracy does, the one with the widest spread first."""
    high: dict[str, Any]
    low: dict[str, Any]
    """The strata of that model with the highest and the lowest accuracy (rows of STRATA)."""


def flagged_kinds(strata: pl.DataFrame, task: str) -> list[FlaggedKind]:
    """What depends on which kind of stratum; the headline evaluator first."""
    flagged = strata.filter((pl.col("task") == task) & pl.col("flagged") & (pl.col("n") >= MIN_STRATUM))
    flagged = flagged.sort(
        ["headline", "evaluator", "by", "model", "accuracy", "stratum"], descending=[True] + [False] * 5
    )
    found = []
    for (evaluator, by), rows in flagged.group_by("evaluator", "by", maintain_order=True):
        of_models = [of_model.to_dicts() for _, of_model in rows.group_by("model", maintain_order=True)]
        of_models.sort(key=lambda found: found[0]["accuracy"] - found[-1]["accuracy"])
        widest = of_models[0]
        models = [str(entry[0]["model"]) for entry in of_models]
        found.append(FlaggedKind(str(evaluator), kind_name(str(by)), models, widest[-1], widest[0]))
    return found


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
