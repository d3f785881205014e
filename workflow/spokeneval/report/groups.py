"""Groups of models: by the tokenizer whose codes they read, and by family.

Conventions
-----------
- A group's accuracy is the mean over its models of each model's accuracy: models alike, whatever their number of items.
  Primary evaluators only; published rows are in no group.
- Intervals resample clusters of items, all models on the same draws, with the models fixed: they say what other items
  would give, nothing about other models of the group.
- The difference is between the two tokenizers with the most models (of equals, the first by name). Models differ in
  more than their tokenizer, so it is a contrast of groups and no effect of the tokenizer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.report.accuracy import cell_matrix, cluster_codes, headlines, is_primary
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import FloatArray, draw_means, interval_of, means_of
from spokeneval.report.schemas import CELL, GROUPS

KEYS = ("tokenizer", "family")


def groups_table(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per task, primary evaluator and group, and the tokenizers' differences, in the schema GROUPS."""
    settings = inputs.settings
    items = cluster_codes(pairs)
    headline = headlines(scores, settings)
    primary = scores.filter((pl.col("role") == "evaluator") & is_primary(settings))
    rows: list[dict[str, Any]] = []
    for key, cell in primary.sort("task", maintain_order=True).group_by("task", *CELL, maintain_order=True):
        named = dict(zip(("task", *CELL), key, strict=True))
        task_items = items.filter(pl.col("task") == named["task"])
        models, verdicts = cell_matrix(cell, task_items, ["model"], "verdict")
        clusters = task_items["cluster_code"].to_numpy()
        scored = (~np.isnan(verdicts)).sum(axis=0) > 0
        if not scored.any():
            continue
        names = [name for name, seen in zip(models["model"], scored, strict=True) if seen]
        verdicts = verdicts[:, scored]
        means = means_of(verdicts, clusters, inputs.averaging)
        draws = draw_means(verdicts, clusters, n_draws=settings.n_draws, seed=settings.seed, averaging=inputs.averaging)
        named["headline"] = headline.get(str(named["task"])) == named["evaluator"]
        n_clusters = len(np.unique(clusters))
        rows += [named | row for row in _of_cell(inputs, names, means, draws, n_clusters)]
    return pl.DataFrame(pl.from_arrow(GROUPS.from_rows(rows))).sort(GROUPS.key, nulls_last=False)


def _of_cell(
    inputs: ReportInputs, names: list[str], means: FloatArray, draws: FloatArray, n_clusters: int
) -> list[dict[str, Any]]:
    rows = []
    for key in KEYS:
        members: dict[str, NDArray[np.int64]] = {}
        for group in sorted({getattr(inputs.models[name], key) for name in names}):
            members[group] = np.array([k for k, name in enumerate(names) if getattr(inputs.models[name], key) == group])
        for group, at in members.items():
            bounds = _bounds(inputs, draws[:, at].mean(axis=1), n_clusters)
            rows.append(_row(key, group, len(at)) | {"accuracy": float(means[at].mean())} | bounds)
        if key != "tokenizer" or len(members) < 2:
            continue
        first, second = sorted(members, key=lambda group: (-len(members[group]), group))[:2]
        a, b = members[first], members[second]
        bounds = _bounds(inputs, draws[:, a].mean(axis=1) - draws[:, b].mean(axis=1), n_clusters)
        difference = float(means[a].mean() - means[b].mean())
        rows.append(
            _row(key, first, len(a))
            | {"against": second, "n_models_against": len(b), "difference": difference}
            | bounds
        )
    return rows


def _row(key: str, group: str, n_models: int) -> dict[str, Any]:
    empty = dict.fromkeys(("against", "n_models_against", "accuracy", "difference"))
    return empty | {"key": key, "group": group, "n_models": n_models}


def _bounds(inputs: ReportInputs, draws: FloatArray, n_clusters: int) -> dict[str, Any]:
    low, high = (None, None) if n_clusters < 2 else interval_of(draws, inputs.settings.confidence)
    note = None
    if low is None:
        note = "all items are of one cluster: no interval" if n_clusters < 2 else "all clusters agree: no interval"
    return {"low": low, "high": high, "note": note}


def group_rows(groups: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per key, evaluator and group (differences last), with task -> row; keys with one group are left out."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    several = groups.filter(pl.col("group").n_unique().over("key") > 1)
    order = ["headline", *CELL, "against", "group"]
    for row in several.sort(order, descending=[True] + [False] * (len(order) - 1)).iter_rows(named=True):
        key = (row["key"], *(row[name] for name in CELL), row["group"], row["against"])
        found.setdefault(key, {"row": row, "tasks": {}})["tasks"][row["task"]] = row
    return sorted(found.values(), key=lambda entry: KEYS.index(entry["row"]["key"]))
