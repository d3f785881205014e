"""Which differences between models are real: paired tests on shared items under each task's headline evaluator.

Conventions
-----------
- Two models are compared on the items that both have a verdict for. The test flips the sign of the verdict
  differences, whole clusters at a time; two-sided; Holm over the pairs of a task. Where accuracy is averaged over
  clusters, an item weighs as much as its share of its cluster.
- Models that share a letter cannot be told apart at 5 % after Holm; letters begin with the best model.
- The minimal detectable difference is what would be seen in 80 % of repetitions, from the discordance observed and the
  design effect of the clusters (items that go together tell less than as many independent ones); after Holm it is taken
  at the strictest level (0.05 / number of pairs).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.report.accuracy import cell_matrix, cluster_codes, headlines, is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import Averaging, FloatArray
from spokeneval.report.schemas import CELL, COMPARISONS
from spokeneval.statistics.paired import (
    compact_letters,
    design_effect,
    holm,
    minimal_detectable_difference,
    sign_flip,
)

ALPHA = 0.05


def comparisons_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per task and pair of models, in the schema COMPARISONS."""
    settings = inputs.settings
    items = cluster_codes(pairs)
    found: list[dict[str, Any]] = []
    for task, evaluator in headlines(scores, settings).items():
        rows = scores.filter(
            (pl.col("task") == task)
            & (pl.col("role") == "evaluator")
            & is_primary(settings)
            & (pl.col("evaluator") == evaluator)
        )
        task_items = items.filter(pl.col("task") == task)
        cells, verdicts = cell_matrix(rows, task_items, ["model", *CELL], "verdict")
        clusters = task_items["cluster_code"].to_numpy()
        named = cells["model"].to_list()
        tested = compare_columns(inputs, named, verdicts, clusters, inputs.averaging)
        of_model = {cell["model"]: {name: cell[name] for name in CELL} for cell in cells.iter_rows(named=True)}
        found += [of_model[row["model_a"]] | {"task": task} | row for row in tested]
    return pl.DataFrame(pl.from_arrow(COMPARISONS.from_rows(found))).sort(COMPARISONS.key, nulls_last=False)


def compare_columns(
    inputs: ReportInputs,
    models: list[str],
    verdicts: FloatArray,
    clusters: NDArray[np.int64],
    averaging: Averaging = "items",
) -> list[dict[str, Any]]:
    """Every pair of models, by name, with its test after Holm: the columns of COMPARISONS but task and evaluator.

    verdicts: (n_items, n_models), NaN where a model has none; clusters: (n_items,).
    """
    rows = []
    order = sorted(range(len(models)), key=lambda k: models[k])
    for i, j in combinations(order, 2):
        difference = verdicts[:, i] - verdicts[:, j]
        shared = ~np.isnan(difference)
        row: dict[str, Any] = {
            "model_a": models[i],
            "model_b": models[j],
            "n_shared": int(shared.sum()),
            "n_clusters": len(np.unique(clusters[shared])),
            **dict.fromkeys(("difference", "discordance", "p", "p_holm", "mdd", "mdd_holm", "note", "design")),
        }
        if row["n_clusters"] < 2:
            rows.append(row | {"note": "fewer than two clusters are shared: no test"})
            continue
        tested = tested_difference(
            difference[shared], clusters[shared], averaging, inputs.settings.n_draws, inputs.settings.seed
        )
        rows.append(row | tested._asdict())
    return _adjusted(rows)


class Tested(NamedTuple):
    """Two columns of verdicts on the same items, compared."""

    difference: float
    """Mean of the differences, averaged as asked for."""
    discordance: float
    """Mean squared difference over the items."""
    p: float
    note: str
    """Which test."""
    design: float | None
    """How many times the variance of `difference` exceeds that of as many independent items; None where none differ."""


def tested_difference(
    d: FloatArray, clusters: NDArray[np.int64], averaging: Averaging, n_draws: int, seed: int
) -> Tested:
    """d: (n_items,) verdict differences without NaN; clusters: (n_items,), two or more of them."""
    weighted = d * item_weights(clusters, averaging)
    test = sign_flip(weighted, clusters, n_draws=n_draws, seed=seed)
    discordance = float(np.square(d).mean())
    design = None
    if discordance > 0:
        # The weights of an average over clusters are part of its variance.
        design = design_effect(weighted, clusters) * float(np.square(weighted).mean()) / discordance
    return Tested(float(weighted.mean()), discordance, float(test.p), test.method, design)


def letters_of(names: list[str], tests: list[tuple[str, str, float | None]]) -> dict[str, str]:
    """Letters of models, the best first, from (model, model, p after Holm); none where a pair has no test."""
    adjusted = {(a, b): p for a, b, p in tests if p is not None}
    if len(names) < 2 or len(adjusted) < len(names) * (len(names) - 1) // 2:
        return {}
    return compact_letters(names, adjusted, alpha=ALPHA)


def item_weights(clusters: NDArray[np.int64], averaging: Averaging) -> FloatArray:
    """(n_items,) weights of mean 1, with which a mean over items is averaged as asked for."""
    if averaging == "items":
        return np.ones(len(clusters))
    _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return np.asarray(len(clusters) / (len(sizes) * sizes[codes]))


def _adjusted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm over the pairs of one task, and the minimal detectable differences."""
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
        row["p_holm"] = float(p)
        design = row["design"]
        if design:
            for name, level in (("mdd", ALPHA), ("mdd_holm", ALPHA / len(tested))):
                row[name] = minimal_detectable_difference(
                    row["discordance"], row["n_shared"], alpha=level, effect_of_design=design
                )
    for row in rows:
        del row["design"]
    return rows


def with_letters(accuracy: pl.DataFrame, comparisons: pl.DataFrame) -> pl.DataFrame:
    """The accuracy table with letters and minimal detectable differences in its headline rows."""
    letters: list[dict[str, Any]] = []
    ranked = accuracy.filter(pl.col("headline") & pl.col("accuracy").is_not_null())
    for (task,), rows in ranked.group_by("task", maintain_order=True):
        tests = comparisons.filter(pl.col("task") == task)
        names = rows.sort(["accuracy", "model"], descending=[True, False])["model"].to_list()
        found = letters_of(names, list(tests.select("model_a", "model_b", "p_holm").iter_rows()))
        if not found:
            continue
        mdd = tests["mdd_holm"].median()
        letters += [{"task": task, "model": n, "_letters": found[n], "_mdd": mdd} for n in names]
    if not letters:
        return accuracy
    frame = pl.DataFrame(
        letters, schema={"task": pl.String, "model": pl.String, "_letters": pl.String, "_mdd": pl.Float64}
    )
    headline = pl.col("headline")
    return (
        accuracy.join(frame, on=["task", "model"], how="left", maintain_order="left")
        .with_columns(letters=pl.when(headline).then(pl.col("_letters")), mdd=pl.when(headline).then(pl.col("_mdd")))
        .drop("_letters", "_mdd")
    )
