"""The tables about people as LaTeX: the primary family against MOS, and the MOS themselves, one of each a question."""

from __future__ import annotations

from typing import Any

import polars as pl

from spokeneval.ratings.schemas import SYSTEM
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.latex import LatexTable, escape, number
from spokeneval.report.people.naming import SYSTEM_LEVEL, WITHIN, name_of, question_name
from spokeneval.report.people.signatures import people_signature
from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.people.votes import Question, of_question
from spokeneval.report.text import coefficient, p_value, percent

Row = dict[str, Any]


def people_latex(
    inputs: ReportInputs, found: PeopleTables, judges: pl.DataFrame, reductions: dict[str, Any]
) -> dict[str, LatexTable | None]:
    """Name in tables/ -> table; nothing where there is no study."""
    tables: dict[str, LatexTable | None] = {}
    for k, question in enumerate(found.questions):
        line = people_signature(inputs, judges, question, reductions)
        tables[f"people_{k + 1}"] = _agreement(of_question(found.people, question), question, k, line)
        tables[f"people_mos_{k + 1}"] = _mos(of_question(found.mos, question), question, k, line)
    return tables


def _agreement(people: pl.DataFrame, question: Question, k: int, line: str) -> LatexTable | None:
    primary = people.filter("primary")
    within = primary.filter(pl.col("level") == WITHIN).sort("pearson", descending=True, nulls_last=True)
    means = {name_of(row): row for row in primary.filter(pl.col("level") == SYSTEM_LEVEL).iter_rows(named=True)}
    if within.is_empty():
        return None
    rows = []
    for row in within.iter_rows(named=True):
        of_means = means[name_of(row)]
        rows.append(
            [
                escape(name_of(row)),
                number(coefficient(row["pearson"])),
                number(coefficient(row["max_r"])),
                number(p_value(row["p_max"])),
                number(coefficient(of_means["pearson"], of_means["pearson_low"], of_means["pearson_high"])),
                number(_these(of_means)),
                number(percent(of_means["pairwise_accuracy"])),
            ]
        )
    header = ["evaluator", "$r$ within tasks", "ceiling", "$p$, of all tried", "$r$ (new systems)"]
    header += ["expected $r$ (these systems)", r"pairs right (\%)"]
    what = f"Evaluators against MOS, {escape(question_name(dict(question.key)))}: Pearson's $r$."
    return LatexTable(f"people-{k + 1}", header, rows, rf"{what} {{\footnotesize {escape(line)}.}}")


def _these(row: Row) -> str:
    if row["corrected"] is not None and row["these_low"] is None:
        return "too noisy"
    return coefficient(row["corrected"], row["these_low"], row["these_high"])


def _mos(mos: pl.DataFrame, question: Question, k: int, line: str) -> LatexTable:
    """Systems by MOS; anchors and recordings of people below a rule."""
    ordered = mos.filter(pl.col("level") == "system").sort(
        pl.col("role") != SYSTEM, -pl.col("mos"), "system_id", nulls_last=True
    )
    rows = []
    for row in ordered.iter_rows(named=True):
        name = row["system_id"] + ("" if row["role"] == SYSTEM else f" ({row['role']})")
        bounds = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
        value = "--" if row["mos"] is None else number(f"{row['mos']:.2f}{bounds}")
        rows.append([escape(name), value, *(f"{row[n]:,}" for n in ("n_votes", "n_items"))])
    n_systems = len(ordered.filter(pl.col("role") == SYSTEM))
    rules = frozenset({n_systems}) if 0 < n_systems < len(rows) else frozenset()
    what = f"MOS, {escape(question_name(dict(question.key)))}; 95 \\% intervals over new items and listeners."
    caption = rf"{what} {{\footnotesize {escape(line)}.}}"
    return LatexTable(f"people-mos-{k + 1}", ["system", "MOS", "votes", "items"], rows, caption, "llrr", rules)
