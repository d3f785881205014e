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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.errors import ArtefactError
from spokeneval.tables import TableSchema, atomic_path

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
            table = pq.read_table(path, columns=list(self.schema.key))
            keys.update(zip(*(table[name].to_pylist() for name in self.schema.key), strict=True))
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

    def collect(self, keys: Sequence[Key]) -> pa.Table:
        """The rows of these keys, each once. Raises ArtefactError where one is missing."""
        tables: list[pa.Table] = []
        seen: set[Key] = set()
        want = set(keys)
        for path in self._parts():
            columns = pq.read_table(path, columns=list(self.schema.key))
            rows = list(zip(*(columns[name].to_pylist() for name in self.schema.key), strict=True))
            take = [i for i, key in enumerate(rows) if key in want and key not in seen]
            if take:
                seen.update(rows[i] for i in take)
                tables.append(pq.read_table(path).cast(self.schema.arrow).take(take))
        missing = want - seen
        if missing:
            raise ArtefactError(
                f"{self.folder}: {len(missing)} of {len(want)} rows of stage '{self.stage}' are missing, "
                f"e.g. {sorted(missing, key=str)[0]}; run the workflow again"
            )
        return pa.concat_tables(tables) if tables else self.schema.empty()
