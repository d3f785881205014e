"""What a table is: its columns, its key, and how rows become one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from spokeneval.errors import ArtefactError

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The struct that `datasets.Audio` reads: FLAC bytes and a relative name."""


@dataclass(frozen=True)
class Column:
    name: str
    type: pa.DataType
    doc: str
    optional: bool = False
    """True where a row may leave it out; it is null then."""


@dataclass(frozen=True)
class TableSchema:
    """One kind of table. `key` columns identify a row and give the order in which rows are stored."""

    name: str
    version: int
    key: tuple[str, ...]
    doc: str
    columns: tuple[Column, ...]

    @cached_property
    def arrow(self) -> pa.Schema:
        return pa.schema([pa.field(c.name, c.type) for c in self.columns])

    @property
    def holds_audio(self) -> bool:
        return AUDIO in self.arrow.types

    def empty(self) -> pa.Table:
        return self.arrow.empty_table()

    def from_rows(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Rows to a table of this schema; a row must name every column that is not optional, and no other."""
        names = set(self.arrow.names)
        needed = {column.name for column in self.columns if not column.optional}
        for row in rows:
            if not needed <= set(row) <= names:
                wrong = sorted((needed - set(row)) | (set(row) - names))
                raise ArtefactError(f"table '{self.name}': a row has columns {wrong} too few or too many")
        return pa.Table.from_pylist(rows, schema=self.arrow)


def text(name: str, doc: str, optional: bool = False) -> Column:
    return Column(name, pa.string(), doc, optional)


def real(name: str, doc: str) -> Column:
    return Column(name, pa.float64(), doc)


def whole(name: str, doc: str) -> Column:
    return Column(name, pa.int32(), doc)


def truth(name: str, doc: str) -> Column:
    return Column(name, pa.bool_(), doc)
