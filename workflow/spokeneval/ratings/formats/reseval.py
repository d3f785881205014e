"""ReSEval: tables/responses.csv of a MOS test (Stem, Participant, OrderAsked, Response).

Conventions: a stem is the path of the file below the folder of the test, without ending: `<condition>/<name>`. It
becomes `condition` and `item`; a stem without a condition has none.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.ratings.formats.base import Format, Rows, read_csv

_COLUMNS = ("Stem", "Participant", "OrderAsked", "Response")


def _read(path: Path) -> Rows:
    frame = read_csv(path, "ReSEval", _COLUMNS)
    parts = pl.col("Stem").str.replace_all(r"\\", "/").str.extract_groups(r"^(?P<condition>[^/]+)/(?P<item>.+)$")
    return Rows(frame.with_columns(parts.struct.unnest()))


RESEVAL = Format(
    read=_read,
    endings=(".csv",),
    columns={"listener_id": "Participant", "score": "Response"},
    audio={"system_id": "condition", "item_id": "item"},
    heard_as="Stem",
)
