"""Published accuracies from a CSV, to stand beside own ones.

Conventions
-----------
- One row a model, task, evaluator and window: what somebody else printed, for their items, tokens and settings. It has
  no items here, so nothing is tested against it, and it is never averaged, ranked or mixed with own rows.
- Accuracy in percent in the file, a share in [0, 1] afterwards; the window in ms in the file, in seconds afterwards,
  empty where the evaluator has none.
- `n_items`, an optional column, is the number of items behind the accuracy: with it a row has Wilson's interval,
  without it none.
- An evaluator that spokeneval has not is kept under its own name and listed (`unknown_evaluators`).
- Rows are numbered as lines of the file: the first after the header is 2. Any bad row refuses the whole file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.evaluators.reduction import EVALUATOR_NAMES

CONVENTION = "published"
"""Name of the convention that published rows were made under: theirs, whatever it was."""

REQUIRED = ("model", "task", "evaluator", "window_ms", "accuracy_percent")
OPTIONAL = ("n_items",)

SCHEMA = {
    "model": pl.String(),
    "task": pl.String(),
    "evaluator": pl.String(),
    "window_s": pl.Float64(),
    "accuracy": pl.Float64(),
    "n_items": pl.Int32(),
}


def read_published(path: Path) -> pl.DataFrame:
    """The rows of a CSV in its order: model, task, evaluator, window_s (or null), accuracy (share), n_items (or null).

    Raises ConfigError, naming file and row, for a missing or unknown column, an empty name, a number that is none or
    out of range, or two rows of one model, task, evaluator and window.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: cannot be read as CSV ({detail})") from error
    _columns(path, frame.columns)
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, ...], int] = {}
    for number, texts in enumerate(frame.iter_rows(named=True), start=2):
        row = _row(f"{path}, row {number}", {name: (text or "").strip() for name, text in texts.items()})
        key = (row["model"], row["task"], row["evaluator"], str(row["window_s"]))
        if key in first:
            what = f"model '{row['model']}', task '{row['task']}', evaluator '{row['evaluator']}' and window"
            raise ConfigError(f"{path}, row {number}: the same {what} as row {first[key]}; keep one of them")
        first[key] = number
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def unknown_evaluators(frame: pl.DataFrame) -> list[str]:
    """Evaluators of the rows that spokeneval does not compute, sorted."""
    return sorted(set(frame["evaluator"]) - set(EVALUATOR_NAMES))


def _columns(path: Path, found: list[str]) -> None:
    lacking = [name for name in REQUIRED if name not in found]
    if lacking:
        raise ConfigError(f"{path}: lacks the column {lacking[0]}; it has {', '.join(found)}")
    others = [name for name in found if name not in (*REQUIRED, *OPTIONAL)]
    if others:
        raise ConfigError(f"{path}: unknown column '{others[0]}'; known: {', '.join((*REQUIRED, *OPTIONAL))}")


def _row(where: str, texts: dict[str, str]) -> dict[str, Any]:
    for name in ("model", "task", "evaluator"):
        if not texts[name]:
            raise ConfigError(f"{where}: {name} is empty")
    percent = _number(where, "accuracy_percent", texts["accuracy_percent"])
    if percent is None or not 0 <= percent <= 100:
        shown = texts["accuracy_percent"]
        raise ConfigError(f"{where}: accuracy_percent is '{shown}'; expected a number from 0 to 100")
    window_ms = _number(where, "window_ms", texts["window_ms"])
    if window_ms is not None and window_ms <= 0:
        raise ConfigError(f"{where}: window_ms is '{texts['window_ms']}'; expected milliseconds above 0, or nothing")
    n_items = _number(where, "n_items", texts.get("n_items", ""))
    if n_items is not None and (n_items < 1 or n_items != int(n_items)):
        raise ConfigError(f"{where}: n_items is '{texts['n_items']}'; expected a whole number above 0, or nothing")
    return {
        **{name: texts[name] for name in ("model", "task", "evaluator")},
        "window_s": None if window_ms is None else window_ms / 1000,
        "accuracy": percent / 100,
        "n_items": None if n_items is None else int(n_items),
    }


def _number(where: str, name: str, text: str) -> float | None:
    """None where nothing is written."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {name} is '{text}'; expected a number")
    return value
