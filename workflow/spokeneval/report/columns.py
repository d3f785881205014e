"""Columns of the report's tables, by type."""

from __future__ import annotations

import pyarrow as pa

from spokeneval.tables import Column


def text(name: str, doc: str) -> Column:
    return Column(name, pa.string(), doc)


def real(name: str, doc: str) -> Column:
    return Column(name, pa.float64(), doc)


def whole(name: str, doc: str) -> Column:
    return Column(name, pa.int32(), doc)


def truth(name: str, doc: str) -> Column:
    return Column(name, pa.bool_(), doc)
