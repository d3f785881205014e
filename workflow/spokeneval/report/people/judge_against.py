"""Judge against people, audio by audio: the sign of the margin against scores above or below the middle of the scale.

Conventions
-----------
- A row is a continuation (system, item, sample) with a margin and votes that count; where people did not hear this
  project's audio, samples are averaged and a row is a system and item. Continuations without a margin are counted.
- The judge says 'right' where the margin is above 0, people say so where the mean score is above the middle of the
  scale. Exactly 0, or exactly the middle, is undecided, and in no share.
- Fifths are by |margin| within a task: where the judge is clearer, do people agree more? Intervals resample
  clusters of items.
- `share_if_independent`: what the same totals would share by chance. A judge that always says 'right' agrees with
  people who mostly do.
- Disagreement: opposite signs, |margin| as share of the task's largest times the distance of the score from the middle
  as share of half the scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.people.against import Against
from spokeneval.report.people.metrics import RANKING_JUDGE
from spokeneval.report.resampling import cluster_ratio

N_QUINTILES = 5
MOST_DISAGREEMENTS = 20
"""Rows a question and judge."""

_COUNTS = ("n_right_above", "n_right_below", "n_wrong_above", "n_wrong_below")


def judge_rows(pair: Against) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of JUDGE_PEOPLE and of DISAGREEMENTS for one judge. pair: of a judge's margins."""
    rows, unusable = _rated(pair)
    named = pair.question.key | {"judge": _name(pair)}
    if rows.is_empty():
        return [], []
    codes = pl.Series(pair.task_of_item)
    rows = rows.with_columns(
        task=codes.gather(rows["item"]), cluster=pl.Series(pair.items.cluster).gather(rows["item"])
    )
    rank = pl.col("margin").abs().rank("ordinal").over("task") - 1
    rows = rows.with_columns(quintile=(rank * N_QUINTILES // pl.len().over("task") + 1).cast(pl.Int64))
    found = []
    for task in [None, *sorted(set(rows["task"]))]:
        of_task = rows if task is None else rows.filter(pl.col("task") == task)
        lost = unusable if task is None else unusable.filter(codes.gather(unusable["item"]) == task)
        name = "all" if task is None else pair.question.tasks[task]
        for quintile in range(N_QUINTILES + 1):
            chosen = of_task if quintile == 0 else of_task.filter(pl.col("quintile") == quintile)
            if not chosen.is_empty():
                entry = named | {"task": name, "quintile": quintile, "n_unusable": len(lost) if quintile == 0 else None}
                found.append(entry | _counts(pair, chosen, with_interval=quintile == 0))
    return found, [named | row for row in _worst(pair, rows)]


def _name(pair: Against) -> str:
    name = str(pair.evaluator.cell["evaluator"])
    return name if name == RANKING_JUDGE else name.partition(":")[2]


def _rated(pair: Against) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(system, item, sample_index, margin, score, n_votes) of what was judged and rated; and what has no margin."""
    assert pair.samples is not None
    of = ["system", "item", "sample_index"] if pair.question.audio == "own" else ["system", "item"]
    judged = pair.samples.group_by(of).agg(pl.col("x").mean().alias("margin"))
    voted = pair.question.votes.group_by(of).agg(pl.col("score").mean(), pl.len().alias("n_votes"))
    both = judged.join(voted, on=of).sort(of)
    if "sample_index" not in of:
        both = both.with_columns(sample_index=pl.lit(None, pl.Int16))
    return both.drop_nulls("margin"), both.filter(pl.col("margin").is_null())


def _counts(pair: Against, rows: pl.DataFrame, with_interval: bool) -> dict[str, Any]:
    judge, people = np.sign(rows["margin"].to_numpy()), np.sign(rows["score"].to_numpy() - pair.question.middle)
    decided = (judge != 0) & (people != 0)
    signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    counts = [int(((judge == a) & (people == b)).sum()) for a, b in signs]
    n = sum(counts)
    same = ((judge == people) & decided).astype(np.float64)
    share = low = high = None
    note: str | None = "no row on which both decide"
    if n:
        share, note = float(same.sum()) / n, None
    if n and with_interval:
        settings = pair.inputs.settings
        ratio = cluster_ratio(
            same,
            decided.astype(np.float64),
            rows["cluster"].to_numpy(),
            n_draws=settings.n_draws,
            seed=settings.seed,
            confidence=settings.confidence,
        )
        low, high, note = ratio.low, ratio.high, ratio.note
    right, above = counts[0] + counts[1], counts[0] + counts[2]
    by_chance = (right * above + (n - right) * (n - above)) / n**2 if n else None
    size = rows["margin"].abs().to_numpy()
    return {
        "margin_low": float(size.min()),
        "margin_high": float(size.max()),
        "n_rows": len(rows),
        **dict(zip(_COUNTS, counts, strict=True)),
        "n_undecided": len(rows) - n,
        "share": share,
        "low": low,
        "high": high,
        "share_if_independent": by_chance,
        "note": note,
    }


def _worst(pair: Against, rows: pl.DataFrame) -> list[dict[str, Any]]:
    from_middle = (pl.col("score") - pair.question.middle) / pair.question.half_scale
    largest = pl.col("margin").abs().max().over("task")
    opposite = rows.with_columns(
        disagreement=-(pl.col("margin") / pl.when(largest > 0).then(largest)) * from_middle
    ).filter(pl.col("disagreement") > 0)
    order = opposite.sort("disagreement", "item", "system", "sample_index", descending=[True, False, False, False])
    names = pair.items.codes
    return [
        {
            "rank": k + 1,
            "task": names["task"][row["item"]],
            "item_id": names["item_id"][row["item"]],
            "system_id": pair.question.systems[row["system"]],
            "sample_index": row["sample_index"],
            "margin": row["margin"],
            "mos": row["score"],
            "n_votes": row["n_votes"],
            "disagreement": row["disagreement"],
        }
        for k, row in enumerate(order.head(MOST_DISAGREEMENTS).iter_rows(named=True))
    ]
