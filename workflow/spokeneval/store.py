"""The store: what jobs have finished so far, addressed by identity.

Parts lie in `{root}/{stage}/{identity}/`, each a parquet table named by the sha256 of its own bytes, holding the rows
of some clips. A job computes only the keys that no part holds and writes each batch as a new part, atomically; the
tables that the workflow declares are assembled from parts. So a killed job loses one batch, new items cost only
their own clips, several runs may share one store, and a damaged part is found by its name, set aside and made again.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.atomic import atomic_path
from spokeneval.errors import ArtefactError
from spokeneval.table_schema import TableSchema
from spokeneval.tables import AUDIO_ROWS

Key = tuple[Any, ...]


@dataclass(frozen=True)
class PartStore:
    """All parts of one stage under one identity."""

    root: Path
    stage: str
    identity: str
    schema: TableSchema

    @property
    def folder(self) -> Path:
        return Path(self.root) / self.stage / self.identity[:32]

    def _parts(self) -> list[Path]:
        """The parts on disk, damaged ones set aside."""
        good = []
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                sound = hashlib.sha256(path.read_bytes()).hexdigest()[:32] == path.stem
            except FileNotFoundError:  # another run has just set it aside
                continue
            if sound:
                good.append(path)
                continue
            aside = path.with_suffix(".damaged")
            print(
                f"warning: {path} does not match its digest; set aside as {aside.name}, its rows are made again",
                file=sys.stderr,
            )
            path.replace(aside)
        return good

    def done(self) -> set[Key]:
        """Keys that some part holds (permanent failures among them)."""
        keys: set[Key] = set()
        for path in self._parts():
            keys.update(self._keys(path))
        return keys

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add a part; written atomically, and the same rows give the same file."""
        if not rows:
            return
        table = self.schema.from_rows(rows)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", compression_level=6)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:32]
        with atomic_path(self.folder / f"{digest}.parquet") as temporary:
            temporary.write_bytes(buffer.getvalue())

    def collect(self, keys: Sequence[Key], columns: list[str] | None = None) -> pa.Table:
        """The rows of these keys, each once; all columns or these. Raises ArtefactError where a row is missing."""
        parts = _by_part(self._whereabouts(keys).items())
        tables = [self._rows(path, [row for _, row in found], columns) for path, found in parts.items()]
        empty = self.schema.empty()
        return pa.concat_tables(tables) if tables else empty.select(columns or empty.column_names)

    def collect_batches(self, keys: Sequence[Key], n_rows: int = 4 * AUDIO_ROWS) -> Iterator[pa.Table]:
        """The same in the order of the keys, n_rows at a time: no more than that and one part is in memory.

        A part is read again for every batch that has rows of it: small batches are read often.
        """
        where = self._whereabouts(keys)
        ordered = sorted(where.items(), key=lambda entry: tuple((part is not None, part) for part in entry[0]))
        for start in range(0, len(ordered), n_rows):
            by_part = _by_part(ordered[start : start + n_rows])
            tables = [self._rows(path, [row for _, row in found]) for path, found in by_part.items()]
            came = [key for found in by_part.values() for key, _ in found]
            place = {key: number for number, key in enumerate(came)}
            yield pa.concat_tables(tables).take([place[key] for key, _ in ordered[start : start + n_rows]])

    def _whereabouts(self, keys: Sequence[Key]) -> dict[Key, tuple[Path, int]]:
        """Key -> the first part that holds it, and the row there. Raises ArtefactError where none does."""
        want = set(keys)
        where: dict[Key, tuple[Path, int]] = {}
        for path in self._parts():
            for row, key in enumerate(self._keys(path)):
                if key in want:
                    where.setdefault(key, (path, row))
        missing = want - set(where)
        if missing:
            raise ArtefactError(
                f"{self.folder}: {len(missing)} of {len(want)} rows of stage '{self.stage}' are missing, "
                f"e.g. {sorted(missing, key=str)[0]}; run the workflow again"
            )
        return where

    def _keys(self, path: Path) -> Iterator[Key]:
        table = pq.read_table(path, columns=list(self.schema.key))
        return zip(*(table[name].to_pylist() for name in self.schema.key), strict=True)

    def _rows(self, path: Path, rows: Sequence[int], columns: list[str] | None = None) -> pa.Table:
        names = columns or self.schema.arrow.names
        wanted = pa.schema([self.schema.arrow.field(name) for name in names])
        return pq.read_table(path, columns=names).cast(wanted).take(rows)


def _by_part(found: Iterable[tuple[Key, tuple[Path, int]]]) -> dict[Path, list[tuple[Key, int]]]:
    """Part -> the keys that are taken from it, with their rows."""
    by_part: dict[Path, list[tuple[Key, int]]] = {}
    for key, (path, row) in found:
        by_part.setdefault(path, []).append((key, row))
    return by_part
