"""Every evaluator of a report as one matrix of systems by items.

Conventions
-----------
- A likelihood evaluator is its verdicts (1 right, .5 tie, 0 wrong): their mean is its accuracy. Log-likelihoods of
  different tokenizers are never pooled: item by item only the signed margin's rank within the model is compared.
- A judge has two values: share (verdicts, what cannot be heard counts as wrong) and margin (cosines; what cannot be
  heard has none). Samples of an item are averaged. A naturalness judge has its score.
- 'judge' is the judge that ranks each task, with the systems that it ranks there (`report.judges`). It and the primary
  likelihood evaluators are the primary family, fixed beforehand.
- All matrices are turned so that higher is better; an evaluator that counts the other way says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.report.accuracy import is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.items import JUDGE_PREFIX
from spokeneval.report.judges import ranking_judges
from spokeneval.report.schemas import CELL
from spokeneval.statistics.intervals import FloatArray

RANKING_JUDGE = "judge"
"""Name of the evaluator that is each task's ranking judge."""


@dataclass(frozen=True, eq=False)
class Evaluator:
    """One evaluator with all its settings, over the models that people rated."""

    kind: str
    cell: dict[str, Any]
    """the columns CELL"""
    value: str
    primary: bool
    values: FloatArray
    """(n_models, n_items) whose means are correlated; NaN where there is none"""
    by_item: dict[str, FloatArray]
    """value of level 'item' -> (n_models, n_items); 'margin_rank' is still a margin"""
    samples: pl.DataFrame | None = None
    """judges: model and item (codes), sample_index, x (of one sample; null where it has none)"""
    higher_is_better: bool = True

    @property
    def key(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            **self.cell,
            "value": self.value,
            "primary": self.primary,
            "higher_is_better": self.higher_is_better,
        }

    @property
    def name(self) -> tuple[Any, ...]:
        return (*(self.cell[column] for column in CELL), self.value)


@dataclass(frozen=True, eq=False)
class Items:
    """The items of a report by number."""

    codes: pl.DataFrame
    """task, item_id, item (row in the table of pairs)"""
    task: NDArray[Any]
    """(n_items,) task"""
    cluster: NDArray[np.int64]
    """(n_items,) items of one cluster move together"""

    def __len__(self) -> int:
        return len(self.task)


def items_of(pairs: pl.DataFrame) -> Items:
    codes = pairs.select("task", "item_id").with_row_index("item").with_columns(pl.col("item").cast(pl.Int64))
    cluster = pairs["cluster"].rank("dense").cast(pl.Int64)
    return Items(codes, pairs["task"].to_numpy(), cluster.to_numpy())


def likelihood_evaluators(
    inputs: ReportInputs, items: Items, scores: pl.DataFrame, models: list[str]
) -> Iterator[Evaluator]:
    """Every evaluator that belongs to a model, placebos too, one at a time."""
    rows = (
        scores.filter(pl.col("role").is_in(("evaluator", "control")) & pl.col("model").is_in(models))
        .with_columns(primary=is_primary(inputs.settings) & (pl.col("role") == "evaluator"))
        .join(items.codes, on=["task", "item_id"])
        .select(
            _code("model", models),
            "item",
            *CELL,
            "role",
            "primary",
            "verdict",
            (pl.col("score_negative") - pl.col("score_positive")).alias("margin"),
        )
        .sort(*CELL, "role", "primary", nulls_last=False)
    )
    for key, cell in rows.group_by(*CELL, "role", "primary", maintain_order=True):
        named = dict(zip((*CELL, "role", "primary"), key, strict=True))
        shape = (len(models), len(items))
        yield Evaluator(
            "control" if named["role"] == "control" else "likelihood",
            {column: named[column] for column in CELL},
            "accuracy",
            bool(named["primary"]),
            _matrix(cell, "verdict", shape),
            {"margin_rank": _matrix(cell, "margin", shape)},
        )


def judge_evaluators(
    inputs: ReportInputs,
    items: Items,
    heard: pl.DataFrame,
    model_judging: pl.DataFrame,
    judges: pl.DataFrame,
    models: list[str],
) -> Iterator[Evaluator]:
    """Every judge by itself, and the judge that ranks each task."""
    rows = (
        heard.filter((pl.col("source") == "model") & pl.col("name").is_in(models))
        .join(items.codes, on=["task", "item_id"])
        .select(
            _code("name", models).alias("model"),
            "name",
            "task",
            "item",
            "judge",
            "sample_index",
            "verdict",
            pl.col("margin").cast(pl.Float64),
            pl.col("score").cast(pl.Float64),
        )
        .sort("judge", "model", "item", "sample_index")
    )
    shape = (len(models), len(items))
    for (judge,), of_judge in rows.group_by("judge", maintain_order=True):
        entry = inputs.judges.get(str(judge))
        if entry is not None and entry.naturalness:
            yield _naturalness(str(judge), of_judge, shape, entry.higher_is_better)
        else:
            yield from _judge(JUDGE_PREFIX + str(judge), of_judge, shape, primary=False)
    chosen = ranking_judges(judges)
    ranked = model_judging.filter((pl.col("source") == "model") & pl.col("ranked").fill_null(False))
    ranks = rows.filter(
        pl.col("judge") == pl.col("task").replace_strict(chosen, default=None, return_dtype=pl.String)
    ).join(ranked.select("task", "judge", "name"), on=["task", "judge", "name"], how="semi")
    if not ranks.is_empty():
        yield from _judge(RANKING_JUDGE, ranks, shape, primary=True)


def _judge(name: str, rows: pl.DataFrame, shape: tuple[int, int], primary: bool) -> Iterator[Evaluator]:
    margins = _matrix(_averaged(rows, "margin"), "margin", shape)
    for value, column in (("share", "verdict"), ("margin", "margin")):
        yield Evaluator(
            "judge",
            _cell(name),
            value,
            primary and value == "share",
            _matrix(_averaged(rows, column), column, shape),
            {"margin": margins, "margin_rank": margins} if value == "margin" else {},
            _samples(rows, column),
        )


def _naturalness(judge: str, rows: pl.DataFrame, shape: tuple[int, int], higher_is_better: bool) -> Evaluator:
    turned = rows if higher_is_better else rows.with_columns(-pl.col("score"))
    values = _matrix(_averaged(turned, "score"), "score", shape)
    samples = _samples(turned, "score")
    by_item = {"score": values}
    return Evaluator(
        "naturalness", _cell(JUDGE_PREFIX + judge), "score", False, values, by_item, samples, higher_is_better
    )


def _cell(name: str) -> dict[str, Any]:
    return {"evaluator": name, "window_s": None, "unconditional": None, "codebooks": "all", "convention": "default"}


def _code(column: str, models: list[str]) -> pl.Expr:
    return pl.col(column).replace_strict(models, range(len(models)), return_dtype=pl.Int64)


def _averaged(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.group_by("model", "item").agg(pl.col(column).mean())


def _samples(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.select("model", "item", "sample_index", pl.col(column).alias("x"))


def _matrix(rows: pl.DataFrame, column: str, shape: tuple[int, int]) -> FloatArray:
    matrix = np.full(shape, np.nan)
    there = rows.drop_nulls(column)
    matrix[there["model"].to_numpy(), there["item"].to_numpy()] = there[column].cast(pl.Float64).to_numpy()
    return matrix
