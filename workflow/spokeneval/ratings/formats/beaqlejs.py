"""BeaqleJS (MUSHRA and other tests with sliders): a JSON .txt a participant, sent to its service or saved by hand.

Conventions
-----------
- A list of {TestID, Runtime, rating: {name: score}, filename: {name: path}}; the last entry is of the participant
  {UserName, UserEmail, UserComment}. Tests that were not shown have no rating, and are no votes.
- Columns: `trial` (TestID), `stimulus` (the name in `rating`), `filename` (its path; the name where there is none),
  `score`, `milliseconds` (Runtime: of the trial, shared by its stimuli), `comment`, `user_name`, and `participant`: the
  name of the file without its ending, since users may leave theirs out or share it.
- `row` is the number of the entry in the list, from 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.formats.base import Format, Rows, unreadable
from spokeneval.ratings.problems import ROW

_TEXTS = (
    *("trial", "stimulus", "filename", "score", "milliseconds"),
    *("comment", "user_name", "participant"),
)


def _read(path: Path) -> Rows:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise unreadable(path, error) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: not a file of BeaqleJS with ratings; expected a list of {{TestID, rating ...}}")
    user: dict[str, Any] = next((entry for entry in entries if "UserName" in entry or "UserComment" in entry), {})
    told = {
        "user_name": _text(user.get("UserName")),
        "comment": _text(user.get("UserComment")),
        "participant": path.stem,
    }
    tests = [(k, entry) for k, entry in enumerate(entries, start=1) if entry is not user]
    rows = [{ROW: k, **told, **vote} for k, entry in tests for vote in _votes(entry)]
    n_not_shown = sum(not isinstance(entry.get("rating"), dict) for _, entry in tests)
    frame = pl.DataFrame(rows, schema={ROW: pl.UInt32, **dict.fromkeys(_TEXTS, pl.String)})
    return Rows(frame, {"trials that were not shown": n_not_shown} if n_not_shown else {})


def _votes(entry: dict[str, Any]) -> list[dict[str, str | None]]:
    ratings, names = entry.get("rating"), entry.get("filename")
    if not isinstance(ratings, dict):
        return []
    names = names if isinstance(names, dict) else {}
    return [
        {
            "trial": _text(entry.get("TestID")),
            "stimulus": name,
            "filename": _text(names.get(name, name)),
            "score": _text(score),
            "milliseconds": _text(entry.get("Runtime")),
        }
        for name, score in ratings.items()
    ]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


BEAQLEJS = Format(
    read=_read,
    endings=(".txt", ".json"),
    columns={"listener_id": "participant", "score": "score", "milliseconds": "milliseconds", "comment": "comment"},
    audio={"system_id": "stimulus", "item_id": "trial"},
    heard_as="filename",
)
