"""Does an accuracy depend on something it should not: a label of the item, or which of its members is longer?

Conventions
-----------
- A stratum is a group of items of one task: by the sign of the difference in length of the two members' audio, and by
  each label of the items. Failed items are in none.
- Strata are compared by Kruskal-Wallis on the verdicts, which allows ties counted one half; for verdicts 0 and 1 it is
  the chi-squared test of homogeneity times (n - 1) / n. It takes items as independent. Strata of fewer than 5 items are
  shown and not tested.
- p-values are adjusted by Holm over all tests of the frame. A cell is flagged where its strata differ by more than
  chance at the level asked for.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from spokeneval.statistics.paired import holm
from spokeneval.tables import OK

CELL = ["task", "evaluator", "window_s", "unconditional", "codebooks", "convention"]
MIN_STRATUM = 5
LENGTH = "length"
"""Value of `by` for the sign of the length difference; labels stand under their own name, led by `label:`."""


def _length_strata(pairs: pl.DataFrame, lengths: pl.DataFrame) -> pl.DataFrame:
    n_samples = lengths.select("clip_id", "n_samples").unique("clip_id")
    difference = pl.col("n_samples").cast(pl.Int64) - pl.col("n_samples_negative").cast(pl.Int64)
    return (
        pairs.select("task", "item_id", "positive", "negative")
        .join(n_samples, left_on="positive", right_on="clip_id")
        .join(n_samples, left_on="negative", right_on="clip_id", suffix="_negative")
        .select(
            "task",
            "item_id",
            pl.lit(LENGTH).alias("by"),
            pl.when(difference > 0)
            .then(pl.lit("positive longer"))
            .when(difference < 0)
            .then(pl.lit("positive shorter"))
            .otherwise(pl.lit("equal"))
            .alias("stratum"),
        )
    )


def _label_strata(pairs: pl.DataFrame) -> pl.DataFrame:
    rows = [
        (task, item_id, f"label:{name}", str(value))
        for task, item_id, labels in pairs.select("task", "item_id", "labels").iter_rows()
        for name, value in json.loads(labels).items()
    ]
    columns = ("task", "item_id", "by", "stratum")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def strata_of_items(pairs: pl.DataFrame, lengths: pl.DataFrame) -> pl.DataFrame:
    """task, item_id, by, stratum: every stratum of every usable item.

    lengths: clip_id and n_samples (a clips table will do).
    """
    usable = pairs.filter(pl.col("status") == OK)
    return pl.concat([_length_strata(usable, lengths), _label_strata(usable)])


def strata(
    scores: pl.DataFrame, pairs: pl.DataFrame, lengths: pl.DataFrame, significance: float = 0.05
) -> pl.DataFrame:
    """Accuracy by stratum of each task, evaluator, window and convention in `scores`.

    scores: rows in the schema EVALUATORS of one model; lengths: clip_id and n_samples (a clips table will do).
    Returns the columns of CELL, by, stratum, n, n_ties, accuracy (in [0, 1]), p and p_holm (of the cell's test; null
    where fewer than two strata can be tested), differs (null where there is no test); sorted.
    """
    return compare_strata(scores, strata_of_items(pairs, lengths), CELL, significance)


def compare_strata(
    scores: pl.DataFrame, groups: pl.DataFrame, cell: list[str], significance: float = 0.05
) -> pl.DataFrame:
    """The same for the strata in `groups` (from `strata_of_items`); a cell is rows of `scores` equal in `cell`."""
    joined = scores.filter(pl.col("status") == OK).join(groups, on=["task", "item_id"])
    table = (
        joined.group_by([*cell, "by", "stratum"])
        .agg(
            n=pl.len().cast(pl.Int64),
            n_ties=(pl.col("verdict") == 0.5).sum().cast(pl.Int64),
            accuracy=pl.col("verdict").mean(),
            verdicts=pl.col("verdict"),
        )
        .sort([*cell, "by", "stratum"])
    )
    tests: list[dict[str, Any]] = []
    for key, rows in table.group_by([*cell, "by"], maintain_order=True):
        groups_of_cell = [np.sort(v) for v in rows.filter(pl.col("n") >= MIN_STRATUM)["verdicts"].to_list()]
        if len(groups_of_cell) >= 2:
            tests.append({**dict(zip([*cell, "by"], key, strict=True)), "p": _kruskal(groups_of_cell)})
    adjusted = holm([test["p"] for test in tests]) if tests else np.zeros(0)
    columns = {name: table.schema[name] for name in [*cell, "by"]} | {"p": pl.Float64()}
    found = pl.DataFrame(tests, schema=columns).with_columns(p_holm=pl.Series(adjusted, dtype=pl.Float64))
    return (
        table.drop("verdicts")
        .join(found, on=[*cell, "by"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(differs=pl.col("p_holm") < significance)
    )


def _kruskal(groups: list[Any]) -> float:
    """The test's p-value; 1.0 where all verdicts are equal, which scipy gives no value for."""
    everything = np.concatenate(groups)
    return 1.0 if (everything == everything[0]).all() else float(stats.kruskal(*groups).pvalue)
