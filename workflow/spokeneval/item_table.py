"""Tables by item that come from elsewhere: every row belongs to an item of a dataset.

Conventions
-----------
- CSV, JSON lines or parquet, one file or a folder of them. An item is named by `task` and `index`, or by `item_id`.
- Where a configuration has several datasets, the column `dataset` says whose item it is; rows of the others are left to
  them. Where it has one, the column may be absent.
- A row of an item that the dataset does not have is an error that lists such items. Where the dataset itself was cut
  down (`limit`, `tasks`), rows of the items that were left out are counted and not used.
- Lists are lists in JSON lines and parquet; in a CSV they are numbers between spaces or commas, brackets allowed.
- What is wrong with a table is a ConfigError that names file and row: a table that is half understood is not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.errors import ConfigError

SUFFIXES = (".csv", ".jsonl", ".parquet")

Row = dict[str, Any]


class Asked(NamedTuple):
    """Whose rows are asked for."""

    dataset: str
    alone: bool = True
    """True where the configuration has no other dataset."""
    whole: bool = True
    """False where the dataset was cut down, so that a table may know more items."""


class Line(NamedTuple):
    """A row as it was read."""

    where: str
    """File and row, for messages."""
    values: Row


class ItemRow(NamedTuple):
    """A row and the item that it belongs to."""

    where: str
    item: Row
    """The item's row of the pairs table."""
    values: Row


class ItemRows(NamedTuple):
    rows: list[ItemRow]
    n_left_out: int
    """Rows of items that a `limit` or a choice of tasks left out of the dataset, and of other datasets."""


def read_lines(path: Path) -> list[Line]:
    """All rows of a table, or of all tables of a folder. Columns of audio (structs, bytes) are not read.

    Raises ConfigError where there is nothing, or a file cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return _read_file(path)
    found = next(
        (files for suffix in (".jsonl", ".parquet", ".csv") if (files := sorted(path.rglob(f"*{suffix}")))), None
    )
    if found is None:
        raise ConfigError(f"{path}: holds no table; expected *.jsonl, *.parquet or *.csv")
    return [line for file in found for line in _read_file(file)]


def _read_file(path: Path) -> list[Line]:
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: a table of unknown kind; expected {', '.join(SUFFIXES)}")
    if path.suffix == ".jsonl":
        return _read_json_lines(path)
    try:
        if path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False)
        else:
            frame = _read_parquet(path)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: cannot be read ({detail}); expected a {path.suffix[1:]} table") from error
    first = 2 if path.suffix == ".csv" else 1
    return [Line(f"{path}, row {number}", row) for number, row in enumerate(frame.iter_rows(named=True), start=first)]


def _read_parquet(path: Path) -> pl.DataFrame:
    schema = pq.read_schema(path)
    names = [f.name for f in schema if not (pa.types.is_struct(f.type) or pa.types.is_binary(f.type))]
    frame = pl.from_arrow(pq.read_table(path, columns=names))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _read_json_lines(path: Path) -> list[Line]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read ({detail}); expected a file of JSON lines") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
        if not isinstance(record, dict):
            raise ConfigError(f"{where}: expected a JSON object, got a {type(record).__name__}")
        found.append(Line(where, record))
    return found


def require(lines: Sequence[Line], columns: Iterable[str], path: Path) -> None:
    """Raises ConfigError where the table is empty, or a column is in none of its rows."""
    if not lines:
        raise ConfigError(f"{path}: holds no row")
    have = set().union(*(line.values for line in lines))
    if missing := [name for name in columns if name not in have]:
        raise ConfigError(f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(sorted(have))}")
    if "item_id" not in have and not {"task", "index"} <= have:
        raise ConfigError(f"{path}: lacks the columns task and index (or item_id); it has {', '.join(sorted(have))}")


def rows_of_items(lines: Sequence[Line], pairs: pl.DataFrame, asked: Asked, path: Path) -> ItemRows:
    """The rows of the items of a dataset, in the order of the table.

    Raises ConfigError for rows of unknown items, and where no row is the dataset's.
    """
    items = list(pairs.iter_rows(named=True))
    by_index = {(item["task"], item["index"]): item for item in items}
    by_name = {item["item_id"]: item for item in items}
    found: list[ItemRow] = []
    unknown: dict[str, None] = {}
    others: set[str] = set()
    n_left_out = 0
    for where, values in lines:
        of = values.get("dataset")
        if of is None and not asked.alone:
            raise ConfigError(
                f"{where}: needs a `dataset`, because the configuration has several; expected the name of one of them"
            )
        if of is not None and str(of) != asked.dataset:
            others.add(str(of))
            n_left_out += 1
            continue
        item, name = _item(where, values, by_index, by_name)
        if item is not None:
            found.append(ItemRow(where, item, values))
        elif asked.whole:
            unknown[name] = None
        else:
            n_left_out += 1
    if unknown:
        first = ", ".join(list(unknown)[:8]) + (" ..." if len(unknown) > 8 else "")
        raise ConfigError(
            f"{path}: has rows for {len(unknown)} items that the dataset '{asked.dataset}' does not have: {first}; "
            "take them out, or correct task and index"
        )
    if not found:
        of_others = f"; it has rows of {', '.join(sorted(others))}" if others else ""
        raise ConfigError(f"{path}: has no row for any item of the dataset '{asked.dataset}'{of_others}")
    return ItemRows(found, n_left_out)


def _item(
    where: str, values: Row, by_index: dict[tuple[str, int], Row], by_name: dict[str, Row]
) -> tuple[Row | None, str]:
    """The item of a row, and what the row calls it."""
    name, task, index = values.get("item_id"), values.get("task"), values.get("index")
    of_index: Row | None = None
    if task is not None and index is not None:
        try:
            number = int(str(index))
        except ValueError:
            raise ConfigError(f"{where}: index is '{index}'; expected a whole number") from None
        of_index = by_index.get((str(task), number))
        if name is None:
            return of_index, f"{task}/{index}"
    elif name is None:
        raise ConfigError(f"{where}: names no item; expected task and index, or item_id")
    of_name = by_name.get(str(name))
    if of_name is not None and of_index is not None and of_name is not of_index:
        raise ConfigError(f"{where}: item_id '{name}' is not the item {task}/{index}; expected one item a row")
    return of_name, str(name)


def numbers(value: Any, where: str, column: str) -> list[float] | None:
    """A list of numbers, from a list (of lists) or a string; None where there is none. NaN stands for null within.

    Raises ConfigError for what is no number.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    entries: list[Any]
    if isinstance(value, str):
        entries = [entry for entry in re.split(r"[\s,\[\]]+", value) if entry]
    elif isinstance(value, list):
        entries = [e for entry in value for e in (entry if isinstance(entry, list) else [entry])]
    else:
        entries = [value]
    try:
        return [float("nan") if entry is None else float(entry) for entry in entries]
    except (TypeError, ValueError):
        bad = next(entry for entry in entries if not _is_number(entry))
        raise ConfigError(f"{where}: {column} holds {str(bad)[:40]!r}; expected numbers") from None


def whole_numbers(value: Any, where: str, column: str) -> list[int] | None:
    """The same for whole numbers, none of them missing."""
    found = numbers(value, where, column)
    if found is None:
        return None
    if bad := [entry for entry in found if entry != entry or entry != int(entry)]:
        raise ConfigError(f"{where}: {column} holds {bad[0]}; expected whole numbers")
    return [int(entry) for entry in found]


def _is_number(entry: Any) -> bool:
    try:
        float(entry)
    except (TypeError, ValueError):
        return False
    return True
