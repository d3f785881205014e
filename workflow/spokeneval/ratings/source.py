"""The files of votes, with their columns renamed to what the study says they mean; still texts, nothing is judged.

Conventions
-----------
- A vote is a row, or a cell of a row where the study is `wide`: an empty cell is no vote then, and counted. Rows are
  numbered as lines of a CSV (the first after the header is 2), of a parquet file from 1.
- A UTF-8 byte order mark is skipped, and so are lines without anything. Texts lose blanks at both ends (" 4 "); how
  many identifiers had some is returned, because 'A' and 'A ' are one listener then.
- Every column of a file of format `table` is mapped or ignored by the study: one that is neither is an error, as is one
  that lacks. Of a tool's file, whose columns are known, the others are left where they are.
- Empty texts are missing values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.errors import ConfigError
from spokeneval.ratings.answers import TABLES
from spokeneval.ratings.formats import FORMATS
from spokeneval.ratings.formats.base import unreadable
from spokeneval.ratings.problems import FILE, PLACE, ROW, Problems
from spokeneval.ratings.study import FIELDS, Names, Study, parts
from spokeneval.registry import closest_match

_NAME, _WIDE = "_name", "_wide_"
_IDENTIFIERS = ("listener_id", "system_id", "task", "item_id", "dimension", "blinded_name")


class Source(NamedTuple):
    votes: pl.DataFrame
    """`file`, `row` and the fields that the study gives, texts (numbers of a parquet file stay numbers); missing is
    null"""
    n_padded: int
    """identifiers with blanks at their ends"""
    left_out: dict[str, int]
    """what is no vote, in the plural -> how many there were"""


def read_source(study: Study, problems: Problems) -> Source:
    """The votes of a study, from the files that `problems` names. Names that the pattern does not match are problems.

    Raises ConfigError where a file cannot be read, all are empty, or their columns are not those of the study.
    """
    left_out: Counter[str] = Counter()
    frames = [_of_file(name, path, study, left_out) for name, path in problems.paths.items()]
    if len(frames) > 1:
        texts = pl.all().exclude(ROW).cast(pl.String)
        frames = [frame.with_columns(texts) for frame in frames if not frame.is_empty()] or frames[:1]
    raw = pl.concat(frames, how="vertical")
    if raw.is_empty():
        raise ConfigError(f"{study.ratings}: holds no vote")
    texts_of = [name for name, dtype in raw.schema.items() if dtype == pl.String and name != FILE]
    identifiers = [name for name in texts_of if name in (*_IDENTIFIERS, _NAME)]
    padded = raw.select(pl.col(n).str.contains(r"^\s|\s$").fill_null(False).sum() for n in identifiers)
    votes = raw.with_columns(_bare(pl.col(name)).alias(name) for name in texts_of)
    votes = _long(votes, study.wide_read, left_out)
    if "test_id" in votes.columns:
        other = pl.format("test_id is '{}'; this study is '{}'", "test_id", pl.lit(study.test_id))
        problems.add("votes of another test", votes, pl.col("test_id").cast(pl.String) != study.test_id, other)
    votes = votes.with_columns(pl.lit(text).alias(field) for field, text in study.constants.items())
    if study.names is not None:
        votes = _parted(votes, study.names, problems)
    kept = votes.select(*PLACE, *(f for f in FIELDS if f in votes.columns))
    return Source(kept, sum(padded.row(0), 0) if identifiers else 0, dict(left_out))


def _of_file(name: str, path: Path, study: Study, left_out: Counter[str]) -> pl.DataFrame:
    """The rows of one file: `row`, `file`, and fields, scores and names as texts that may have blanks."""
    wide = study.wide_read.values()
    needed = [*study.columns_read.values(), *wide, *([] if study.names is None else [study.names.column])]
    needed = list(dict.fromkeys(needed))
    if study.format in FORMATS:
        rows = FORMATS[study.format].read(path)
        frame = rows.frame
        left_out.update(rows.left_out)
        _check_columns(path, [c for c in frame.columns if c != ROW], study, needed)
    else:
        frame, first = _read_table(path, study, needed)
        frame = frame.with_row_index(ROW, offset=first)
    frame = frame.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))
    return frame.select(
        ROW,
        pl.lit(name).alias(FILE),
        **{f: pl.col(c) for f, c in study.columns_read.items()},
        **{f"{_WIDE}{k}": pl.col(c) for k, c in enumerate(wide)},
        **({} if study.names is None else {_NAME: pl.col(study.names.column)}),
    )


def _long(votes: pl.DataFrame, wide: Mapping[str, str], left_out: Counter[str]) -> pl.DataFrame:
    """A row a vote."""
    if not wide:
        return votes
    cells = [f"{_WIDE}{k}" for k in range(len(wide))]
    votes = votes.with_columns(pl.col(cells).cast(pl.String))
    others = [name for name in votes.columns if name not in cells]
    melted = votes.unpivot(cells, index=others, variable_name="dimension", value_name="score")
    melted = melted.with_columns(pl.col("dimension").replace_strict(dict(zip(cells, wide, strict=True))))
    kept = melted.filter(pl.col("score").is_not_null())
    if len(kept) < len(melted):
        left_out["empty cells of scores"] += len(melted) - len(kept)
    return kept


def _bare(text: pl.Expr) -> pl.Expr:
    bare = text.str.strip_chars()
    return pl.when(bare == "").then(None).otherwise(bare)


def _read_table(path: Path, study: Study, needed: list[str]) -> tuple[pl.DataFrame, int]:
    """The columns that are needed, and the number of the first row."""
    try:
        if path.suffix == ".parquet":
            _check_columns(path, pq.read_schema(path).names, study, needed)
            frame = pl.from_arrow(pq.read_table(path, columns=needed))
            assert isinstance(frame, pl.DataFrame)
            others = [n for n, t in frame.schema.items() if t != pl.String and not t.is_numeric()]
            return frame.with_columns(pl.col(others).cast(pl.String)), 1
        if path.suffix not in TABLES:
            raise ConfigError(f"{path}: a table of unknown kind; expected .csv (.tsv, .txt) or .parquet")
        header = pl.read_csv(path, infer_schema=False, n_rows=0, separator=study.separator)
        _check_columns(path, header.columns, study, needed)
        return pl.read_csv(path, infer_schema=False, separator=study.separator, columns=needed), 2
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


def _check_columns(path: Path, found: list[str], study: Study, needed: list[str]) -> None:
    """Raises ConfigError for columns that lack, and in a plain table for those that the study does not mention."""
    known = dict.fromkeys([*needed, *study.ignore_columns])
    listener = study.columns_read.get("listener_id")
    means = "; or say `means_only: true` where there are only means"
    lines = [
        f"{path}: lacks the column '{name}', which {'the study' if study.format == 'table' else study.format} names; "
        f"{closest_match(name, found)}{means if name == listener else ''}"
        for name in known
        if name not in found
    ]
    lines += [
        f"{path}: has the column '{name}', which the study does not mention; map it, or put it in ignore_columns"
        for name in found
        if study.format == "table" and name not in known
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _parted(votes: pl.DataFrame, names: Names, problems: Problems) -> pl.DataFrame:
    """The fields that are parts of a name. Each different name is taken apart once."""
    apart = votes.select(pl.col(_NAME).cast(pl.String).unique()).drop_nulls()
    groups = pl.col(_NAME).str.extract_groups(names.whole)
    apart = apart.with_columns(groups.alias("_groups"), pl.col(_NAME).str.contains(names.whole).alias("_fits"))
    apart = apart.with_columns(_composed(text).alias(field) for field, text in names.fields.items())
    votes = votes.with_columns(pl.col(_NAME).cast(pl.String)).join(
        apart.drop("_groups"), on=_NAME, how="left", maintain_order="left"
    )
    shown = pl.format("{} is '{}'; expected a name like {}", pl.lit(names.column), _NAME, pl.lit(names.pattern))
    problems.add("names of another form", votes, ~pl.col("_fits"), shown)
    problems.add("missing names", votes, pl.col(_NAME).is_null(), pl.format("{} is empty", pl.lit(names.column)))
    # what has been said once is not said again as a missing field
    return votes.filter(pl.col("_fits")).drop(_NAME, "_fits")


def _composed(text: str) -> pl.Expr:
    pieces: list[pl.Expr] = []
    for literal, group in parts(text):
        pieces += [pl.lit(literal)] if literal else []
        pieces += [pl.col("_groups").struct.field(group)] if group is not None else []
    return _bare(pl.concat_str(pieces))
