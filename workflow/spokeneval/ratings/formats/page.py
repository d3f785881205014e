"""Answers of spokeneval's own page: a CSV a rater, with test_id, dimension, listener_id, blinded_name, score, seconds,
plays and comment."""

from __future__ import annotations

from pathlib import Path

from spokeneval.ratings.formats.base import Format, Rows, read_csv

COLUMNS = ("test_id", "dimension", "listener_id", "blinded_name", "score", "seconds", "comment")


def _read(path: Path) -> Rows:
    return Rows(read_csv(path, "spokeneval's page", COLUMNS))


PAGE = Format(
    read=_read,
    endings=(".csv",),
    columns={name: name for name in COLUMNS if name != "blinded_name"},
    heard_as="blinded_name",
)
