"""Which items two runs share: the same task, id and sound.

Conventions
-----------
- Items are the same where task and item_id are, and the clips: prompt, right and wrong one, by the digests of their
  samples. An item of which one clip is another, or which is cut elsewhere (the prompt differs), is not the same item.
- What is left out is listed with the reason, once an item: 'only in A', 'only in B', 'other audio', 'failed in A',
  'failed in B' (the dataset could not make it).
- Clusters are those of A.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from spokeneval.compare_runs.finished_run import Run
from spokeneval.errors import ArtefactError
from spokeneval.tables import OK

_KEY = ["task", "item_id"]
_CLIPS = ("prompt", "positive", "negative")


@dataclass(frozen=True)
class SharedItems:
    items: pl.DataFrame
    """task, item_id, cluster, cluster_code: one row a shared item"""
    left_out: pl.DataFrame
    """task, item_id, why"""
    n_other_cluster: int
    """Shared items whose cluster has another name in B."""

    def counts(self) -> list[dict[str, object]]:
        """One entry a task: how many items are shared, and how many were left out for each reason."""
        found: dict[str, dict[str, object]] = {}
        for (task,), rows in self.items.group_by("task", maintain_order=True):
            found[str(task)] = {"task": str(task), "n_shared": len(rows), "left_out": {}}
        for task, why, n in self.left_out.group_by("task", "why", maintain_order=True).len().iter_rows():
            entry = found.setdefault(task, {"task": task, "n_shared": 0, "left_out": {}})
            reasons = entry["left_out"]
            assert isinstance(reasons, dict)
            reasons[why] = n
        return [found[task] for task in sorted(found)]


def shared_items(a: Run, b: Run) -> SharedItems:
    """Raises ArtefactError where there is none."""
    columns = [*_KEY, "cluster", "status", *_CLIPS]
    both = a.pairs.select(columns).join(b.pairs.select(columns), on=_KEY, how="full", suffix="_b", coalesce=False)
    in_a, in_b = pl.col("item_id").is_not_null(), pl.col("item_id_b").is_not_null()
    same = pl.all_horizontal(pl.col(clip).eq_missing(pl.col(f"{clip}_b")) for clip in _CLIPS)
    why = (
        pl.when(~in_b)
        .then(pl.lit("only in A"))
        .when(~in_a)
        .then(pl.lit("only in B"))
        .when(pl.col("status") != OK)
        .then(pl.lit("failed in A"))
        .when(pl.col("status_b") != OK)
        .then(pl.lit("failed in B"))
        .when(~same)
        .then(pl.lit("other audio"))
    )
    rows = both.with_columns(
        why=why, task=pl.coalesce("task", "task_b"), item_id=pl.coalesce("item_id", "item_id_b")
    ).sort(_KEY)
    shared = rows.filter(pl.col("why").is_null())
    left_out = rows.filter(pl.col("why").is_not_null()).select(*_KEY, "why")
    if shared.is_empty():
        reasons = ", ".join(f"{n:,} {why}" for why, n in left_out.group_by("why").len().sort("why").iter_rows())
        raise ArtefactError(f"A ({a.label}) and B ({b.label}) share no item: {reasons or 'there are no items'}")
    items = shared.select(*_KEY, "cluster", cluster_code=pl.col("cluster").rank("dense").cast(pl.Int64))
    return SharedItems(items, left_out, int((shared["cluster"] != shared["cluster_b"]).sum()))
