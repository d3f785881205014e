"""What judges say of what they heard: models, ceilings, floor and baselines, by task.

Conventions
-----------
- The share of items whose audio is nearer to the right continuation than to the wrong one (cosine), ties one half;
  all samples of an item are averaged first, so that items count alike. Naturalness is a mean on the judge's own
  scale.
- Empty, silent and too short continuations count as wrong and are counted (`n_unusable`); rows that failed are
  counted and enter no mean.
- Ceilings: `prompt_round_trip` (attribute: the prompt through the codec, judged as a continuation is) and
  `positive_round_trip` (self: shares words and noise with the right clip, so no continuation reaches it). Floor:
  `other_item`, continuations of other items.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from spokeneval.report.accuracy import cell_matrix, cluster_codes
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import cluster_means
from spokeneval.report.schemas import MODEL_JUDGING

CEILING_ATTRIBUTE, CEILING_SELF, FLOOR = "prompt_round_trip", "positive_round_trip", "other_item"
UNUSABLE = ("empty", "silent", "too_short")


def model_judging_table(inputs: ReportInputs, pairs: pl.DataFrame, judging: pl.DataFrame) -> pl.DataFrame:
    """One row per task, judge, source and name (model or codec), in the schema MODEL_JUDGING."""
    settings = inputs.settings
    cells_by = ["judge", "source", "name"]
    rows = judging.filter(pl.col("name") != "")
    counts = rows.group_by("task", *cells_by).agg(
        n_ties=(pl.col("verdict") == 0.5).sum(),
        n_unusable=pl.col("audio_status").is_in(UNUSABLE).sum(),
    )
    by_item = rows.group_by("task", *cells_by, "item_id", maintain_order=True).agg(
        pl.col("verdict").mean(), pl.col("margin").mean(), pl.col("score").mean()
    )
    items = cluster_codes(pairs)
    found = []
    for (task,), of_task in by_item.sort("task", *cells_by, "item_id").group_by("task", maintain_order=True):
        task_items = items.filter(pl.col("task") == task)
        if task_items.is_empty():
            continue
        clusters = task_items["cluster_code"].to_numpy()
        means = partial(cluster_means, n_draws=settings.n_draws, seed=settings.seed, confidence=settings.confidence)
        cells, verdicts = cell_matrix(of_task, task_items, cells_by, "verdict")
        _, margins = cell_matrix(of_task, task_items, cells_by, "margin")
        _, values = cell_matrix(of_task, task_items, cells_by, "score")
        shares = means(verdicts, clusters)
        scores = means(values, clusters, shares=False)
        margin = cluster_means(margins, clusters, n_draws=1, seed=0, shares=False)
        for k, cell in enumerate(cells.iter_rows(named=True)):
            natural = cell["judge"] in inputs.judges and inputs.judges[cell["judge"]].naturalness
            used = scores if natural else shares
            found.append(
                cell
                | {
                    "task": task,
                    "n_items": len(task_items),
                    "n_scored": int(used.n[k]),
                    "n_failed": len(task_items) - int(used.n[k]),
                    "share": float(shares.mean[k]),
                    "low": float(shares.low[k]),
                    "high": float(shares.high[k]),
                    "mean_margin": float(margin.mean[k]),
                    "mean_score": float(scores.mean[k]),
                    "score_low": float(scores.low[k]),
                    "score_high": float(scores.high[k]),
                    "note": used.note[k],
                }
            )
    if not found:
        return pl.DataFrame(pl.from_arrow(MODEL_JUDGING.empty()))
    return (
        pl.DataFrame(found, infer_schema_length=None)
        .with_columns(pl.col(pl.Float64).fill_nan(None))
        .join(counts, on=["task", *cells_by])
        .select(MODEL_JUDGING.arrow.names)
        .sort(MODEL_JUDGING.key)
    )
