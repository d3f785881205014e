"""The line under each table about people: what it was made with, and whose votes."""

from __future__ import annotations

from typing import Any

import polars as pl

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import ranking_judges
from spokeneval.report.people.naming import question_name
from spokeneval.report.people.votes import Question
from spokeneval.report.signature import judge_fields, signature


def people_signature(inputs: ReportInputs, judges: pl.DataFrame, question: Question, reductions: dict[str, Any]) -> str:
    """judges: the table JUDGES."""
    return signature(
        inputs,
        reductions,
        evaluator="as named",
        delta="as named",
        unconditional="as named",
        codebooks="as named",
        **judge_fields(inputs, ranking_judges(judges)),
        people=f"{question_name(dict(question.key))}, {len(question.votes):,} votes",
    )
