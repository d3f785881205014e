"""What the answer files of a tool are: how rows are read, and which columns then hold what.

Conventions
-----------
- A format gives rows of texts: a vote a row, or a row with several columns of scores (`wide`). It judges no vote: what
  a score, a name or a listener may be is checked for all formats alike. What it leaves out, it counts.
- `row` is the row of the file that a person finds: of a CSV the header is 1. Of JSON it is the number of the entry.
- Columns that a tool writes and that no field is read from (age, browser ...) are left where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.problems import ROW


@dataclass(frozen=True)
class Rows:
    """The rows of one file."""

    frame: pl.DataFrame
    """`row` and columns of texts; missing is null"""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What is no vote, in the plural -> how many there were"""


@dataclass(frozen=True)
class Format:
    """Answer files of one tool."""

    read: Callable[[Path], Rows]
    """Raises ConfigError where the file is not one of the tool's."""
    endings: tuple[str, ...]
    """Of the files that are read where the study names a folder."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field -> column that holds it, where the study says nothing else."""
    audio: Mapping[str, str] = field(default_factory=dict)
    """The same for what names the audio, where there is no manifest."""
    heard_as: str | None = None
    """Column of the name under which the audio was heard: blinded_name where there is a manifest."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> column of its scores."""
    knows_listeners: bool = True
    """False where the tool writes votes without who gave them."""


def read_csv(path: Path, tool: str, needed: Iterable[str]) -> pl.DataFrame:
    """A CSV as texts, with or without byte order mark, and `row`.

    Raises ConfigError where it cannot be read, or lacks what the tool writes.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"{path}: not a file of {tool}: lacks {', '.join(missing)}; it has {', '.join(frame.columns)}"
        )
    return frame.drop(ROW, strict=False).with_row_index(ROW, offset=2)


def without(frame: pl.DataFrame, bad: pl.Expr, what: str) -> Rows:
    """The rows where `bad` is not true, and how many there were of the others."""
    kept = frame.filter(~bad.fill_null(False))
    n = len(frame) - len(kept)
    return Rows(kept, {what: n} if n else {})


def unreadable(path: Path, error: Exception) -> ConfigError:
    detail = " ".join(str(error).split())[:200]
    return ConfigError(f"{path}: cannot be read ({detail}); expected a table of votes")
