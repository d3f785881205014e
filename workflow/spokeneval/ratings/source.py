"""The file of votes, with its columns renamed to what the study says they mean; still texts, nothing is judged.

Conventions
-----------
- A vote is a row. Rows are numbered as lines of a CSV (the first after the header is 2), of a parquet file from 1.
- A UTF-8 byte order mark is skipped, and so are lines without anything. Texts lose blanks at both ends (" 4 "); how
  many identifiers had some is returned, because 'A' and 'A ' are one listener then.
- Every column of the file is mapped or ignored by the study: one that is neither is an error, as is one that lacks.
- Empty texts are missing values.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.errors import ConfigError
from spokeneval.ratings.problems import ROW, Problems
from spokeneval.ratings.study import FIELDS, Names, Study, parts
from spokeneval.registry import closest_match

_NAME = "_name"
_IDENTIFIERS = ("listener_id", "system_id", "task", "item_id", "dimension", "blinded_name")


class Source(NamedTuple):
    votes: pl.DataFrame
    """`row` and the fields that the study gives, texts (numbers of a parquet file stay numbers); missing is null"""
    n_padded: int
    """identifiers with blanks at their ends"""


def read_source(study: Study, problems: Problems) -> Source:
    """The votes of a study. Names that the pattern does not match are added to `problems`.

    Raises ConfigError where the file cannot be read, is empty, or its columns are not those of the study.
    """
    path = Path(study.ratings)
    needed = [*study.columns.values(), *([] if study.names is None else [study.names.column])]
    frame, first = _read(path, study, list(dict.fromkeys(needed)))
    frame = frame.with_row_index(ROW, offset=first)
    frame = frame.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))
    if frame.is_empty():
        raise ConfigError(f"{path}: holds no vote")
    raw = frame.select(ROW, **{f: pl.col(c) for f, c in study.columns.items()}, **_named(study))
    texts = [name for name, dtype in raw.schema.items() if dtype == pl.String]
    identifiers = [name for name in texts if name in (*_IDENTIFIERS, _NAME)]
    padded = raw.select(pl.col(n).str.contains(r"^\s|\s$").fill_null(False).sum() for n in identifiers)
    votes = raw.with_columns(_bare(pl.col(name)).alias(name) for name in texts)
    votes = votes.with_columns(pl.lit(text).alias(field) for field, text in study.constants.items())
    if study.names is not None:
        votes = _parted(votes, study.names, problems)
    return Source(votes.select(ROW, *(f for f in FIELDS if f in votes.columns)), sum(padded.row(0), 0))


def _named(study: Study) -> dict[str, pl.Expr]:
    return {} if study.names is None else {_NAME: pl.col(study.names.column)}


def _bare(text: pl.Expr) -> pl.Expr:
    bare = text.str.strip_chars()
    return pl.when(bare == "").then(None).otherwise(bare)


def _read(path: Path, study: Study, needed: list[str]) -> tuple[pl.DataFrame, int]:
    """The columns that are needed, and the number of the first row."""
    try:
        if path.suffix == ".parquet":
            _check_columns(path, pq.read_schema(path).names, study, needed)
            frame = pl.from_arrow(pq.read_table(path, columns=needed))
            assert isinstance(frame, pl.DataFrame)
            others = [n for n, t in frame.schema.items() if t != pl.String and not t.is_numeric()]
            return frame.with_columns(pl.col(others).cast(pl.String)), 1
        if path.suffix not in (".csv", ".tsv", ".txt"):
            raise ConfigError(f"{path}: a table of unknown kind; expected .csv (.tsv, .txt) or .parquet")
        header = pl.read_csv(path, infer_schema=False, n_rows=0, separator=study.separator)
        _check_columns(path, header.columns, study, needed)
        return pl.read_csv(path, infer_schema=False, separator=study.separator, columns=needed), 2
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: cannot be read ({detail}); expected a table of votes") from error


def _check_columns(path: Path, found: list[str], study: Study, needed: list[str]) -> None:
    known = [*needed, *study.ignore_columns]
    lines = [
        f"{path}: lacks the column '{name}', which the study names; {closest_match(name, found)}"
        for name in dict.fromkeys(known)
        if name not in found
    ]
    lines += [
        f"{path}: has the column '{name}', which the study does not mention; map it, or put it in ignore_columns"
        for name in found
        if name not in known
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
