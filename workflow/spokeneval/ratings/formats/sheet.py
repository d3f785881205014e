"""SHEET: the lists of samples that this toolkit for subjective ratings trains on, a vote or a mean a row.

Conventions
-----------
- Columns: system_id; sample_id or, in newer lists, reference_id; score and listener_id (also listener_name, listener),
  or avg_score where there are only means; dimension in newer lists. They become `item`, `score`, `listener` (absent
  where there is none) and `dimension`.
- An item is what systems share: reference_id; else sample_id without a leading '<system_id>-'.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.formats.base import Format, Rows, read_csv

_LISTENERS = ("listener_id", "listener_name", "listener")


def _read(path: Path) -> Rows:
    frame = read_csv(path, "SHEET", ("system_id",))
    score = _one_of(path, frame, ("score", "avg_score"))
    item = _one_of(path, frame, ("reference_id", "sample_id"))
    listener = next((name for name in _LISTENERS if name in frame.columns), None)
    shared = pl.col(item).str.strip_prefix(pl.col("system_id") + "-") if item == "sample_id" else pl.col(item)
    dimension = pl.col("dimension") if "dimension" in frame.columns else pl.lit(None, pl.String)
    frame = frame.with_columns(pl.col(score).alias("score"), shared.alias("item"), dimension.alias("dimension"))
    return Rows(frame if listener is None else frame.with_columns(pl.col(listener).alias("listener")))


def _one_of(path: Path, frame: pl.DataFrame, names: tuple[str, ...]) -> str:
    for name in names:
        if name in frame.columns:
            return name
    has = ", ".join(frame.columns[1:])
    raise ConfigError(f"{path}: not a file of SHEET: lacks {' or '.join(names)}; it has {has}")


SHEET = Format(
    read=_read,
    endings=(".csv",),
    columns={"listener_id": "listener", "score": "score", "dimension": "dimension"},
    audio={"system_id": "system_id", "item_id": "item"},
)
