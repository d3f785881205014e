"""What judges say of what they heard: models, ceilings, floor and baselines, by task.

Conventions
-----------
- The share of items whose audio is nearer to the right continuation than to the wrong one (cosine), ties one half;
  all samples of an item are averaged first, so that items count alike. Naturalness is a mean on the judge's own
  scale.
- Spread over samples: the share of each sample index alone, over its items, and the standard deviation of these shares.
- Items are those that the judge was asked about, and that have what the row is about.
- Empty, silent and too short continuations count as wrong and are counted (`n_unusable`); rows that failed are
  counted and enter no mean.
- Continuations that loop or repeat their prompt are counted; `share_unflagged` is the share without them. Where none of
  a model's continuations was looked at for flags, both are null.
- Ceilings: `prompt_round_trip` (attribute: the prompt through the codec, judged as a continuation is),
  `same_attribute_round_trip` (the same of a third clip with the right one's attribute) and `positive_round_trip` (self:
  shares words and noise with the right clip, so no continuation reaches it). The third clip's is the attribute ceiling
  that places models where every item that has the prompt's has it too; else the prompt's is.
- Floor: `other_item`, continuations of other items. Baselines: `copy` and `noise_matched`, by no model.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from spokeneval.report.accuracy import cell_matrix, cluster_codes
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import BASELINES
from spokeneval.report.resampling import cluster_means
from spokeneval.report.schemas_judges import MODEL_JUDGING, MODEL_JUDGING_SAMPLES

CEILING_PROMPT, CEILING_THIRD, CEILING_SELF = "prompt_round_trip", "same_attribute_round_trip", "positive_round_trip"
FLOOR = "other_item"
UNUSABLE = ("empty", "silent", "too_short")
NO_MODEL = "no model"
"""Name of the rows of baselines."""
LOOPS, REPEATS_PROMPT = "loops", "repeats_prompt"

_CELL = ["judge", "source", "name"]


def heard_rows(inputs: ReportInputs, judging: pl.DataFrame) -> pl.DataFrame:
    """The rows that are shown: all of models and codecs, baselines under a name, real audio for naturalness judges.

    judging: of all judges, combined ones among them. Adds `flagged`.
    """
    natural = [name for name, entry in inputs.judges.items() if entry.naturalness]
    no_model = pl.col("source").is_in(BASELINES) | ((pl.col("source") == "prompt") & pl.col("judge").is_in(natural))
    return judging.filter((pl.col("name") != "") | no_model).with_columns(
        name=pl.when(pl.col("name") == "").then(pl.lit(NO_MODEL)).otherwise("name"),
        flagged=pl.col("flags").list.len().fill_null(0) > 0,
    )


def model_judging_table(inputs: ReportInputs, pairs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per task, judge, source and name, in the schema MODEL_JUDGING; what ranks is still null.

    rows: see `heard_rows`. `report.ranking` fills in what is ranked and by which letters.
    """
    by_item = rows.group_by("task", *_CELL, "item_id", maintain_order=True).agg(
        pl.col("verdict").mean(),
        pl.col("margin").mean(),
        pl.col("score").mean(),
        unflagged=pl.col("verdict").filter(~pl.col("flagged")).mean(),
    )
    items = cluster_codes(pairs)
    found = []
    for (task,), of_task in by_item.sort("task", *_CELL, "item_id").group_by("task", maintain_order=True):
        task_items = items.filter(pl.col("task") == task)
        if not task_items.is_empty():
            found += _of_task(inputs, str(task), of_task, task_items)
    if not found:
        return pl.DataFrame(pl.from_arrow(MODEL_JUDGING.empty()))
    table = (
        pl.DataFrame(found, infer_schema_length=None)
        .with_columns(pl.col(pl.Float64).fill_nan(None))
        .join(_counts(rows), on=["task", *_CELL])
        .join(_spread(samples_table(rows)), on=["task", *_CELL], how="left")
        .with_columns(
            n_failed=pl.col("n_items") - pl.col("n_scored"),
            ranked=pl.lit(None, pl.Boolean),
            ranking_note=pl.lit(None, pl.String),
            letters=pl.lit(None, pl.String),
            # Nobody looked for flags: there is no share without them.
            **{
                name: pl.when(pl.col("n_flagged").is_not_null()).then(pl.col(name))
                for name in ("n_unflagged_items", "share_unflagged", "unflagged_low", "unflagged_high")
            },
        )
    )
    return (
        _with_materials(_with_ceilings(inputs, table), pairs).select(MODEL_JUDGING.arrow.names).sort(MODEL_JUDGING.key)
    )


def _of_task(inputs: ReportInputs, task: str, by_item: pl.DataFrame, task_items: pl.DataFrame) -> list[dict[str, Any]]:
    """The means of one task, one row a cell."""
    settings = inputs.settings
    clusters = task_items["cluster_code"].to_numpy()
    means = partial(cluster_means, n_draws=settings.n_draws, seed=settings.seed, confidence=settings.confidence)
    matrix = partial(cell_matrix, by_item, task_items, _CELL)
    cells, verdicts = matrix("verdict")
    shares, unflagged = means(verdicts, clusters), means(matrix("unflagged")[1], clusters)
    scores = means(matrix("score")[1], clusters, shares=False)
    margin = cluster_means(matrix("margin")[1], clusters, n_draws=1, seed=0, shares=False)
    rows = []
    for k, cell in enumerate(cells.iter_rows(named=True)):
        natural = cell["judge"] in inputs.judges and inputs.judges[cell["judge"]].naturalness
        used = scores if natural else shares
        rows.append(
            cell
            | {
                "task": task,
                "n_scored": int(used.n[k]),
                "share": float(shares.mean[k]),
                "low": float(shares.low[k]),
                "high": float(shares.high[k]),
                "mean_margin": float(margin.mean[k]),
                "mean_score": float(scores.mean[k]),
                "score_low": float(scores.low[k]),
                "score_high": float(scores.high[k]),
                "n_unflagged_items": int(unflagged.n[k]),
                "share_unflagged": float(unflagged.mean[k]),
                "unflagged_low": float(unflagged.low[k]),
                "unflagged_high": float(unflagged.high[k]),
                "note": used.note[k],
            }
        )
    return rows


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    """Ties, unusable and flagged continuations of each cell; flags are null where none of its rows has any list."""
    looked = pl.col("flags").is_not_null().any()

    def flagged(count: pl.Expr) -> pl.Expr:
        return pl.when(looked).then(count.sum())

    return rows.group_by("task", *_CELL).agg(
        # A judge may be asked for the first items only: the others have not failed.
        n_items=pl.col("item_id").n_unique(),
        n_ties=(pl.col("verdict") == 0.5).sum(),
        n_unusable=pl.col("audio_status").is_in(UNUSABLE).sum(),
        n_samples=pl.col("sample_index").n_unique(),
        n_continuations=pl.len(),
        n_loops=flagged(pl.col("flags").list.contains(LOOPS)),
        n_repeats_prompt=flagged(pl.col("flags").list.contains(REPEATS_PROMPT)),
        n_flagged=flagged(pl.col("flagged")),
    )


def samples_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The share of each sample index of models and their floor, in the schema MODEL_JUDGING_SAMPLES."""
    said = rows.filter(pl.col("source").is_in(["model", FLOOR]))
    found = said.group_by("task", *_CELL, "sample_index").agg(
        n_scored=pl.coalesce("verdict", "score").count(),
        share=pl.col("verdict").mean(),
        mean_score=pl.col("score").mean(),
    )
    table = found.select(MODEL_JUDGING_SAMPLES.arrow.names).to_arrow().cast(MODEL_JUDGING_SAMPLES.arrow)
    return pl.DataFrame(pl.from_arrow(table)).sort(MODEL_JUDGING_SAMPLES.key)


def _spread(samples: pl.DataFrame) -> pl.DataFrame:
    """Lowest, highest and standard deviation over the sample indices of each cell that has several."""
    value = pl.coalesce("share", "mean_score")
    return (
        samples.filter(value.is_not_null())
        .group_by("task", *_CELL)
        .agg(n=pl.len(), sample_low=value.min(), sample_high=value.max(), sample_sd=value.std(ddof=1))
        .filter(pl.col("n") > 1)
        .drop("n")
    )


def ceiling_sources(table: pl.DataFrame) -> dict[tuple[str, str, str], str]:
    """(task, judge, codec) -> the attribute ceiling that places models there."""
    trips = table.filter(pl.col("source").is_in([CEILING_PROMPT, CEILING_THIRD]))
    n_rows: dict[tuple[str, str, str], dict[str, int]] = {}
    for task, judge, name, source, n in trips.select("task", "judge", "name", "source", "n_continuations").iter_rows():
        n_rows.setdefault((task, judge, name), {})[source] = n
    return {
        key: CEILING_THIRD if found.get(CEILING_THIRD, 0) >= found.get(CEILING_PROMPT, 1) else CEILING_PROMPT
        for key, found in n_rows.items()
    }


def _with_ceilings(inputs: ReportInputs, table: pl.DataFrame) -> pl.DataFrame:
    """Each model's attribute ceiling: which one it is, and its share."""
    sources = ceiling_sources(table.filter(pl.col("share").is_not_null()))
    share_of = {row[:4]: row[4] for row in table.select("task", "judge", "name", "source", "share").iter_rows()}
    found: list[tuple[str | None, float | None]] = []
    for task, judge, name, source in table.select("task", "judge", "name", "source").iter_rows():
        codec = inputs.codec(name) if source == "model" else None
        ceiling = None if codec is None else sources.get((task, judge, codec))
        found.append((ceiling, None if ceiling is None else share_of.get((task, judge, codec, ceiling))))
    return table.with_columns(
        ceiling_source=pl.Series([source for source, _ in found], dtype=pl.String),
        ceiling=pl.Series([share for _, share in found], dtype=pl.Float64),
    )


def _with_materials(table: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """What the noise of the baseline is, said in its rows."""
    usable = pairs.filter((pl.col("status") == "ok") & pl.col("prompt").is_not_null())
    of_task = usable.group_by("task").agg(n=pl.len(), own=pl.col("noise_only").is_not_null().sum())
    notes = {}
    for task, n, own in of_task.iter_rows():
        parts = [f"the item's own background without speech ({own} items)"] if own else []
        parts += [f"noise made to the floor of the prompt ({n - own} items)"] if own < n else []
        notes[task] = "; ".join(parts)
    said = pl.col("task").replace_strict(notes, default=None, return_dtype=pl.String)
    both = pl.concat_str([said, pl.col("note").cast(pl.String)], separator="; ", ignore_nulls=True)
    return table.with_columns(
        note=pl.when(pl.col("source") == "noise_matched").then(both).otherwise(pl.col("note").cast(pl.String))
    )
