"""What is wrong with files of votes, collected over all their rows before anything is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError

SHOWN = 20
ROW = "row"
FILE = "file"
PLACE = (FILE, ROW)
"""Where a vote stands; also the order in which votes are looked at."""


@dataclass
class Problems:
    """Problems by file and row. The first SHOWN rows of each kind are kept, and how many there are."""

    where: str
    """What the study says the votes are: a file, a folder or a pattern."""
    paths: Mapping[str, Path]
    """Name of a file, as votes bear it -> the file itself."""
    _rows: list[pl.DataFrame] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, votes: pl.DataFrame, bad: pl.Expr, message: pl.Expr) -> None:
        """Rows of `votes` where `bad` is true. kind: in the plural, for the count; message: one text a row."""
        found = votes.filter(bad)
        if found.is_empty():
            return
        self._counts[kind] = self._counts.get(kind, 0) + len(found)
        # order first: a message that looks at other rows sees all that were found
        shown = found.sort(PLACE).select(*PLACE, message.alias("message")).head(SHOWN)
        self._rows.append(shown.with_columns(pl.col(ROW).cast(pl.Int64)))

    def refuse(self) -> None:
        """Raises ConfigError with the first SHOWN problems in the order of rows, and the count of each kind."""
        if not self._rows:
            return
        rows = pl.concat(self._rows).sort(PLACE, maintain_order=True)
        lines = [f"{self.paths[file]}, row {row}: {message}" for file, row, message in rows.head(SHOWN).iter_rows()]
        n = sum(self._counts.values())
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items())
        if n > len(lines):
            lines.append(f"{self.where}: {n - len(lines):,} more problems; in all {kinds}")
        raise ConfigError("\n".join(lines))
