"""What is wrong with a file of votes, collected over all its rows before anything is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError

SHOWN = 20
ROW = "row"


@dataclass
class Problems:
    """Problems by row of one file. The first SHOWN rows of each kind are kept, and how many there are."""

    path: Path
    _rows: list[pl.DataFrame] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, votes: pl.DataFrame, bad: pl.Expr, message: pl.Expr) -> None:
        """Rows of `votes` where `bad` is true. kind: in the plural, for the count; message: one text a row."""
        found = votes.filter(bad)
        if found.is_empty():
            return
        self._counts[kind] = self._counts.get(kind, 0) + len(found)
        # order first: a message that looks at other rows sees all that were found
        shown = found.sort(ROW).select(ROW, message.alias("message")).head(SHOWN)
        self._rows.append(shown.with_columns(pl.col(ROW).cast(pl.Int64)))

    def refuse(self) -> None:
        """Raises ConfigError with the first SHOWN problems in the order of rows, and the count of each kind."""
        if not self._rows:
            return
        rows = pl.concat(self._rows).sort(ROW, maintain_order=True)
        lines = [f"{self.path}, row {row}: {message}" for row, message in rows.head(SHOWN).iter_rows()]
        n = sum(self._counts.values())
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items())
        if n > len(lines):
            lines.append(f"{self.path}: {n - len(lines):,} more problems; in all {kinds}")
        raise ConfigError("\n".join(lines))
