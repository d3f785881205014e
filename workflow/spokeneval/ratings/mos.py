"""Mean opinion scores of systems, and of systems within tasks.

Conventions
-----------
- A MOS is the plain mean over the votes that count: each vote alike, so an item with more votes weighs more. Screened
  votes are counted in `n_excluded` and enter nothing else.
- An item is (task, item_id): what systems share. Samples of one item by one system belong to one item.
- Estimand of the interval: the score that this system would get on average from new listeners on new items. Normal,
  with variance components of items and listeners (`statistics.crossed`); never listeners or votes alone, which would
  take a listener's hundred votes for a hundred listeners. It is not cut at the ends of the scale.
- Dimensions are never averaged. Anchors and humans have their rows, marked by `role`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.ratings.schemas import MOS
from spokeneval.ratings.screening import counted
from spokeneval.ratings.study import Study
from spokeneval.statistics.crossed import CrossedMean, crossed_mean

LEVELS = {"system": ("dimension", "system_id"), "system_task": ("dimension", "system_id", "task")}


NO_LISTENERS = "it is not known who voted: no interval"
MEANS_ONLY = "means only, without listeners: no interval"


def mos_table(votes: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Both levels, in the schema MOS. votes: RATINGS of one test, after screening.

    A system all of whose votes are excluded keeps its row, without a mean.
    """
    unknown = None if study.knows_listeners else MEANS_ONLY if study.means_only else NO_LISTENERS
    codes = votes.with_columns(
        pl.struct("task", "item_id").rank("dense").alias("_item"),
        pl.col("listener_id").rank("dense").alias("_listener"),
    )
    rows: list[dict[str, Any]] = []
    for level, by in LEVELS.items():
        for key, of_cell in codes.group_by(by, maintain_order=True):
            named = dict(zip(by, key, strict=True))
            scale = study.scale_of(named["dimension"])
            rows.append(
                {"task": None, **named, "level": level, "scale_low": scale.low, "scale_high": scale.high}
                | _row(of_cell, unknown)
            )
    table = pl.from_arrow(MOS.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return table.sort(MOS.key)


def _row(votes: pl.DataFrame, unknown: str | None) -> dict[str, Any]:
    """unknown: why there are no listeners that an interval could be over."""
    kept = counted(votes)
    score, item, listener = (kept[name].to_numpy() for name in ("score", "_item", "_listener"))
    if unknown is None:
        found = crossed_mean(score, item, listener)
    else:
        found = CrossedMean(_mean(score), math.nan, math.nan, math.nan, math.nan, None, unknown)
    note = found.reason
    if kept.is_empty():
        note = f"all {len(votes)} votes are excluded"
    return {
        **{name: votes[name][0] for name in ("test_id", "role", "audio", "simulated")},
        **{name: null_if_nan(value) for name, value in _numbers(found).items()},
        "n_votes": len(kept),
        "n_items": kept["_item"].n_unique(),
        "n_listeners": kept["_listener"].n_unique() if unknown is None else None,
        "n_excluded": len(votes) - len(kept),
        "note": note,
    }


def _mean(score: NDArray[np.float64]) -> float:
    return float(score.mean()) if len(score) else math.nan


def _numbers(found: CrossedMean) -> dict[str, float]:
    parts = found.components
    of_rows, of_columns, residual = (np.nan,) * 3 if parts is None else (parts.row, parts.column, parts.residual)
    return {
        "mos": found.value,
        "low": found.low,
        "high": found.high,
        "standard_error": found.standard_error,
        "degrees_of_freedom": found.degrees_of_freedom,
        "variance_items": of_rows,
        "variance_listeners": of_columns,
        "variance_residual": residual,
    }


def null_if_nan(value: float) -> float | None:
    """Tables hold null where a number is not defined."""
    return None if math.isnan(value) else value
