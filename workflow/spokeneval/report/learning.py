"""Learning curves: the checkpoints of a training run, and how sure it is which of them is best.

Conventions
-----------
- A series is a training run; its checkpoints are models that carry `series` and `step`. Primary evaluators only.
- The best step has the highest accuracy, the earliest of equals. Its share of resamples is how often it is the best
  when clusters are drawn again, steps that are equal in a draw sharing it; and the interval of the best step holds the
  steps that are best in the middle part of the draws (earliest of equals). Both on items that all steps scored.
- A step cannot be told from the best where p >= 5 %: two-sided paired cluster bootstrap of the difference on the items
  that both scored, p = 2 (b + 1) / (m + 1) with b of m draws on the far side of 0, Holm over the other steps.
- The best is chosen on the same items that it is compared on, so its lead is flattered: the set is rather too small
  than too large.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.report.accuracy import cell_matrix, cluster_codes, headlines, is_primary
from spokeneval.report.inputs import ModelEntry, ReportInputs
from spokeneval.report.resampling import FloatArray, cluster_means, draw_means, means_of
from spokeneval.report.schemas import BEST_STEPS, CELL, LEARNING
from spokeneval.statistics.paired import holm

ALPHA = 0.05


def learning_tables(
    inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The curves and the best steps, in the schemas LEARNING and BEST_STEPS; empty where there is no series."""
    settings = inputs.settings
    headline = headlines(scores, settings)
    primary = scores.filter((pl.col("role") == "evaluator") & is_primary(settings)).sort("task", maintain_order=True)
    items = cluster_codes(pairs)
    curves: list[dict[str, Any]] = []
    best: list[dict[str, Any]] = []
    for series, entries in inputs.series().items():
        of_series = primary.filter(pl.col("model").is_in([entry.name for entry in entries]))
        for key, cell in of_series.group_by("task", *CELL, maintain_order=True):
            named = {"series": series, **dict(zip(("task", *CELL), key, strict=True))}
            named["headline"] = headline.get(str(named["task"])) == named["evaluator"]
            task_items = items.filter(pl.col("task") == named["task"])
            rows, summary = _curve(inputs, entries, cell, task_items)
            curves += [named | row for row in rows]
            best += [named | summary] if summary else []
    return (
        pl.DataFrame(pl.from_arrow(LEARNING.from_rows(curves))).sort(LEARNING.key, nulls_last=False),
        pl.DataFrame(pl.from_arrow(BEST_STEPS.from_rows(best))).sort(BEST_STEPS.key, nulls_last=False),
    )


def _curve(
    inputs: ReportInputs, entries: list[ModelEntry], cell: pl.DataFrame, items: pl.DataFrame
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """One row a checkpoint with rows in `cell`, and the best of them; None where no checkpoint has a score."""
    settings = inputs.settings
    models, verdicts = cell_matrix(cell, items, ["model"], "verdict")
    position = {name: k for k, name in enumerate(models["model"])}
    present = [entry for entry in entries if entry.name in position]
    verdicts = verdicts[:, [position[entry.name] for entry in present]]
    clusters = items["cluster_code"].to_numpy()
    means = cluster_means(
        verdicts,
        clusters,
        n_draws=settings.n_draws,
        seed=settings.seed,
        confidence=settings.confidence,
        averaging=inputs.averaging,
    )
    rows: list[dict[str, Any]] = [
        {
            "step": entry.step,
            "model": entry.name,
            "n_scored": int(means.n[k]),
            "accuracy": _or_none(means.mean[k]),
            "low": _or_none(means.low[k]),
            "high": _or_none(means.high[k]),
            "best": False,
            "note": means.note[k],
            **dict.fromkeys(("share_best", "difference", "p_holm", "may_be_best")),
        }
        for k, entry in enumerate(present)
    ]
    scored = [k for k, row in enumerate(rows) if row["accuracy"] is not None]
    if not scored:
        return rows, None
    top = max(scored, key=lambda k: (rows[k]["accuracy"], -k))
    rows[top] |= {"best": True, "difference": 0.0, "may_be_best": True}
    notes = _compare(inputs, rows, verdicts, clusters, scored, top)
    low, high = _share_best(inputs, rows, verdicts[:, scored], clusters, scored)
    if low is None:
        notes.append("no two clusters of items that all steps scored: nothing is resampled")
    alike = [str(row["step"]) for row in rows if row["may_be_best"]]
    summary = {
        "n_steps": len(scored),
        "best_step": rows[top]["step"],
        **{name: rows[top][name] for name in ("accuracy", "low", "high", "share_best")},
        "step_low": None if low is None else rows[scored[low]]["step"],
        "step_high": None if high is None else rows[scored[high]]["step"],
        "may_be_best": ", ".join(alike),
        "note": "; ".join(notes) or None,
    }
    return rows, summary


def _compare(
    inputs: ReportInputs,
    rows: list[dict[str, Any]],
    verdicts: FloatArray,
    clusters: NDArray[np.int64],
    scored: list[int],
    top: int,
) -> list[str]:
    """Difference, p and may_be_best of every step but the best; returns what could not be tested."""
    others = [k for k in scored if k != top]
    if not others:
        return []
    differences = verdicts[:, [top]] - verdicts[:, others]
    observed = means_of(differences, clusters, inputs.averaging)
    draws = draw_means(
        differences,
        clusters,
        n_draws=inputs.settings.n_draws,
        seed=inputs.settings.seed,
        averaging=inputs.averaging,
    )
    tested: dict[int, float] = {}
    for j, k in enumerate(others):
        rows[k]["difference"] = _or_none(observed[j])
        shared = ~np.isnan(differences[:, j])
        if len(np.unique(clusters[shared])) >= 2:
            tested[k] = bootstrap_p(draws[:, j])
    for k, p in zip(tested, holm(list(tested.values())), strict=True):
        rows[k] |= {"p_holm": float(p), "may_be_best": bool(p >= ALPHA)}
    untested = [str(rows[k]["step"]) for k in others if k not in tested]
    return [f"fewer than two clusters are shared with step {', '.join(untested)}: not tested"] if untested else []


def bootstrap_p(draws: FloatArray) -> float:
    """Two-sided p of 'no difference' from (n_draws,) resampled differences: 2 (b + 1) / (m + 1), at most 1."""
    found = draws[~np.isnan(draws)]
    # Sums of whole and half verdicts come back exact but for the division.
    b = min(np.count_nonzero(found <= 1e-12), np.count_nonzero(found >= -1e-12))
    return min(1.0, 2 * (int(b) + 1) / (len(found) + 1))


def _share_best(
    inputs: ReportInputs,
    rows: list[dict[str, Any]],
    verdicts: FloatArray,
    clusters: NDArray[np.int64],
    scored: list[int],
) -> tuple[int | None, int | None]:
    """Fill share_best, and return the interval of the best step as positions in `scored`."""
    complete = ~np.isnan(verdicts).any(axis=1)
    if len(np.unique(clusters[complete])) < 2:
        return None, None
    settings = inputs.settings
    draws = draw_means(
        verdicts[complete],
        clusters[complete],
        n_draws=settings.n_draws,
        seed=settings.seed,
        averaging=inputs.averaging,
    )
    equal = draws >= draws.max(axis=1, keepdims=True) - 1e-12
    shares = (equal / equal.sum(axis=1, keepdims=True)).mean(axis=0)
    for k, share in zip(scored, shares, strict=True):
        rows[k]["share_best"] = float(share)
    winners = equal.argmax(axis=1)
    tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
    low, high = np.quantile(winners, tails, method="inverted_cdf")
    return int(low), int(high)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
