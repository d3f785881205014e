"""What the answer file of a tool is: how its rows are read, and which columns then hold what.

Conventions
-----------
- A format gives rows of texts: a vote a row, or a row with several columns of scores (`wide`). It judges nothing; what
  a score, a name or a listener may be is checked for all formats alike.
- `row` is the row of the file that a person finds: of a CSV the header is 1. Of JSON it is the number of the entry.
- Columns that a tool writes and that no field is read from (comments, age ...) are left where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.problems import ROW

Rows = pl.DataFrame
"""`row` and columns of texts; missing is null."""


@dataclass(frozen=True)
class Format:
    """Answer files of one tool."""

    read: Callable[[Path], Rows]
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


def read_csv(path: Path, separator: str = ",") -> Rows:
    """A CSV as texts, with or without byte order mark. Lines without anything are skipped, and count as rows.

    Raises ConfigError where it cannot be read.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    return frame.rename({name: name.strip() for name in frame.columns}).with_row_index(ROW, offset=2)


def require(path: Path, frame: Rows, needed: tuple[str, ...], tool: str) -> None:
    """Raises ConfigError where a file has not the columns that the tool writes."""
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        has = ", ".join(name for name in frame.columns if name != ROW)
        raise ConfigError(f"{path}: not a file of {tool}: lacks {', '.join(missing)}; it has {has}")


def unreadable(path: Path, error: Exception) -> ConfigError:
    detail = " ".join(str(error).split())[:200]
    return ConfigError(f"{path}: cannot be read ({detail}); expected a table of votes")
