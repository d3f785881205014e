"""webMUSHRA: results/<test>/mushra.csv and lss.csv (also lms.csv), as its service/write.php writes them.

Conventions
-----------
- Columns: session_test_id, the fields of the participant's form, trial_id, then of mushra.csv rating_stimulus,
  rating_score, rating_time, rating_comment, of lss.csv and lms.csv stimuli_rating, stimuli, rating_time. They become
  `stimulus`, `score`, `milliseconds` and `comment`. The rating of lss.csv is padded by blanks.
- Nothing says who voted but a field of the form: the study names it (`columns: {listener_id: email}`).
- The time is that of the page, shared by all stimuli of a MUSHRA trial.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.ratings.formats.base import Format, Rows, read_csv

_MUSHRA = {
    "rating_stimulus": "stimulus",
    "rating_score": "score",
    "rating_time": "milliseconds",
    "rating_comment": "comment",
}
_SINGLE = {"stimuli": "stimulus", "stimuli_rating": "score", "rating_time": "milliseconds"}


def _read(path: Path) -> Rows:
    frame = read_csv(path, "webMUSHRA", ("session_test_id", "trial_id", "rating_time"))
    if "rating_stimulus" in frame.columns:
        return Rows(read_csv(path, "webMUSHRA (mushra.csv)", _MUSHRA).rename(_MUSHRA))
    frame = read_csv(path, "webMUSHRA (mushra.csv or lss.csv)", _SINGLE).rename(_SINGLE)
    return Rows(frame.with_columns(pl.lit(None, pl.String).alias("comment")))


WEBMUSHRA = Format(
    read=_read,
    endings=(".csv",),
    columns={"score": "score", "milliseconds": "milliseconds", "comment": "comment"},
    audio={"system_id": "stimulus", "item_id": "trial_id"},
    heard_as="stimulus",
)
