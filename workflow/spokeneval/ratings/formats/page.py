"""Answers of spokeneval's own page: a CSV a rater, with test_id, dimension, listener_id, blinded_name, score, seconds,
plays and comment."""

from __future__ import annotations

from pathlib import Path

from spokeneval.ratings.formats.base import Format, Rows, read_csv, require

NEEDED = ("test_id", "dimension", "listener_id", "blinded_name", "score")


def _read(path: Path) -> Rows:
    rows = read_csv(path)
    require(path, rows, NEEDED, "spokeneval's page")
    return rows


PAGE = Format(
    read=_read,
    endings=(".csv",),
    columns={"dimension": "dimension", "listener_id": "listener_id", "score": "score", "seconds": "seconds"},
    heard_as="blinded_name",
)
