"""SOMOS: votes as the corpus has them (systemId, utteranceId, choice, listenerId).

Conventions: an utterance is `<item>_<systemId>.wav`; the item is what systems share. One that does not end in its
system has no `item`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.ratings.formats.base import Format, Rows, read_csv


def _read(path: Path) -> Rows:
    frame = read_csv(path, "SOMOS", ("systemId", "utteranceId", "choice", "listenerId"))
    name = pl.col("utteranceId").str.strip_chars().str.strip_suffix(".wav")
    ending = "_" + pl.col("systemId").str.strip_chars()
    item = pl.when(name.str.ends_with(ending)).then(name.str.strip_suffix(ending))
    return Rows(frame.with_columns(item.alias("item")))


SOMOS = Format(
    read=_read,
    endings=(".csv",),
    columns={"listener_id": "listenerId", "score": "choice"},
    audio={"system_id": "systemId", "item_id": "item", "blinded_name": "utteranceId"},
    heard_as="utteranceId",
)
