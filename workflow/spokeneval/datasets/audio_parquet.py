"""Parquet files that hold audio, as the hub's `datasets` writes them.

Conventions
-----------
- Audio is a column of structs {bytes, path}: `bytes` is a whole audio file, `path` the name that it had. A struct
  without bytes is a member without audio: its item fails, alone.
- Files are found in a folder and its subfolders (`{config}/train-00000-of-00001.parquet`, `data/train-...`), hidden
  ones left out, in the order of their names. The config is the subfolder, or what the file name begins with.
- Of several splits `train` is read, as every published evaluation does; without it there must be one split only.
- Columns without audio are read at once. Audio is read one row group after the other, 16 rows at a time: memory holds
  a few times a row group (of the hub's files 100 MB at most), never a file.
- A file that cannot be read, or lacks a column, is a ConfigError.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.datasets.audio_pair import Member
from spokeneval.errors import ConfigError

BATCH_ROWS = 16
"""Rows whose audio is taken from a row group at a time."""

_SHARD = re.compile(r"-?\d{5}-of-\d{5}(-[0-9a-f]{16})?$")
_SPLITS = ("train", "validation", "dev", "test")


@dataclass(frozen=True)
class ParquetPlace:
    """A file in a folder of parquet files."""

    path: Path
    name: str
    """Relative to the folder, with '/'."""
    config: str | None
    """None where neither folder nor file name tells."""
    split: str | None


def parquet_places(folder: Path, configs: Collection[str] = ()) -> list[ParquetPlace]:
    """All parquet files below a folder, of one split. configs: names that a file name may begin with.

    Raises ConfigError where there are several splits and none of them is `train`.
    """
    paths = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
    places = [
        _place(path, folder, configs)
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    splits = sorted({place.split for place in places if place.split is not None})
    if len(splits) > 1 and "train" not in splits:
        raise ConfigError(f"{folder}: holds the splits {', '.join(splits)}; expected 'train', or one split only")
    wanted = "train" if "train" in splits else splits[0] if splits else None
    return [place for place in places if place.split in (wanted, None)]


def _place(path: Path, folder: Path, configs: Collection[str]) -> ParquetPlace:
    relative = path.relative_to(folder)
    stem = _SHARD.sub("", path.stem)
    by_name = max((name for name in configs if stem == name or stem.startswith(f"{name}-")), key=len, default=None)
    folders = [part for part in relative.parts[:-1] if part != "data"]
    split = next((name for name in (stem, *reversed(folders)) if name in _SPLITS), None)
    if split is None and by_name is None and stem not in ("", path.stem):
        split = stem
    by_folder = next((part for part in folders if part not in _SPLITS), None)
    return ParquetPlace(path, relative.as_posix(), by_folder or by_name, split)


@dataclass(frozen=True)
class _Batch:
    first: int
    rows: pa.RecordBatch

    @property
    def end(self) -> int:
        return self.first + int(self.rows.num_rows)


class AudioParquet:
    """One file."""

    def __init__(self, place: ParquetPlace, audio: Sequence[str], others: Sequence[str] = ()) -> None:
        """audio: columns of structs. others: columns of plain values.

        Raises ConfigError where the file cannot be read, lacks one of them, or an audio column holds something else.
        """
        self.place = place
        try:
            self._file = pq.ParquetFile(place.path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(place.path, error) from error
        schema = self._file.schema_arrow
        missing = [name for name in (*audio, *others) if name not in schema.names]
        if missing:
            raise ConfigError(
                f"{place.path}: lacks the column(s) {', '.join(missing)}; it has {', '.join(schema.names) or 'none'}"
            )
        for name in audio:
            kind = schema.field(name).type
            if not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
                raise ConfigError(f"{place.path}: column '{name}' is {kind}; expected audio as struct<bytes, path>")
        self._audio = tuple(audio)

    @property
    def columns(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    @property
    def n_rows(self) -> int:
        return int(self._file.metadata.num_rows)

    def values(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Plain columns of all rows."""
        try:
            rows: list[dict[str, Any]] = self._file.read(columns=list(columns)).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.place.path, error) from error
        return rows

    def members(self, wanted: Sequence[int]) -> Iterator[tuple[Member, ...]]:
        """The audio columns of the wanted rows, in the order asked for; fastest in the file's own order."""
        metadata = self._file.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        starts = [0, *accumulate(sizes)]
        stream: Iterator[_Batch] = iter(())
        batch, open_group = None, -1
        for row in wanted:
            if batch is None or not batch.first <= row < batch.end:
                group = bisect_right(starts, row) - 1
                if batch is None or group != open_group or row < batch.first:
                    stream, open_group = self._batches(group, starts[group]), group
                batch = next(found for found in stream if row < found.end)
            values = batch.rows.slice(row - batch.first, 1).to_pylist()[0]
            yield tuple(self._member(name, row, values[name]) for name in self._audio)

    def _batches(self, group: int, first: int) -> Iterator[_Batch]:
        try:
            for rows in self._file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(self._audio)):
                yield _Batch(first, rows)
                first += rows.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.place.path, error) from error

    def _member(self, column: str, row: int, value: dict[str, Any] | None) -> Member:
        value = value or {}
        path = value.get("path")
        called = f" ({Path(path).name})" if path else ""
        return Member(f"{self.place.name}, row {row}, {column}{called}", value.get("bytes") or None)


def _unreadable(path: Path, error: Exception) -> ConfigError:
    detail = " ".join(str(error).split())[:200]
    return ConfigError(f"{path}: cannot be read as parquet ({detail}); fetch it again")
