"""Which evaluator agrees with people, question by question, as plain text. Reads written tables only."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.report.people.naming import CANNOT_TELL, SYSTEM_LEVEL, WITHIN, name_of, question_name
from spokeneval.report.schemas_people import EVALUATOR_DIFFERENCES, PEOPLE
from spokeneval.report.text import coefficient
from spokeneval.tables import read_table

HEADER = ["evaluator", "systems", "r within tasks", "max r", "r of means [new systems]", "expected r [these]"]


def people_rows(folder: Path) -> list[tuple[str, list[list[str]], str]]:
    """(title, rows under HEADER, line below) of each question; nothing where the report has no study."""
    path = Path(folder) / "tables" / "people.parquet"
    if not path.exists():
        return []
    people = read_table(path, PEOPLE)
    differences = read_table(path.with_name("people_differences.parquet"), EVALUATOR_DIFFERENCES).filter("primary")
    found = []
    for key, rows in people.filter("primary").group_by("test_id", "dimension", maintain_order=True):
        title = f"evaluator against people, {question_name(rows.row(0, named=True))}"
        tests = differences.filter((pl.col("test_id") == key[0]) & (pl.col("dimension") == key[1]))
        told = len(tests.filter(pl.col("verdict") != CANNOT_TELL))
        below = f"{told} of {len(tests)} pairs of evaluators can be told apart (Holm)" if len(tests) else ""
        found.append((title, _lines(rows), below))
    return found


def _lines(rows: pl.DataFrame) -> list[list[str]]:
    within = rows.filter(pl.col("level") == WITHIN).sort("pearson", descending=True, nulls_last=True)
    system = {name_of(row): row for row in rows.filter(pl.col("level") == SYSTEM_LEVEL).iter_rows(named=True)}
    lines = []
    for row in within.iter_rows(named=True):
        means = system[name_of(row)]
        new = coefficient(means["pearson"], means["pearson_low"], means["pearson_high"])
        noisy = means["corrected"] is not None and means["these_low"] is None
        these = coefficient(means["corrected"], means["these_low"], means["these_high"])
        r = (coefficient(row[name]) for name in ("pearson", "max_r"))
        lines.append([name_of(row), str(row["n_systems"]), *r, new, "too noisy" if noisy else these])
    return lines
