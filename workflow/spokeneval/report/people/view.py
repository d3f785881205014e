"""What the page says of people, as its template wants it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from spokeneval.ratings.schemas import SYSTEM
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.people.answer import SIMULATED, verdicts
from spokeneval.report.people.figures import figure_names
from spokeneval.report.people.item_level import RANKED
from spokeneval.report.people.metrics import RANKING_JUDGE
from spokeneval.report.people.naming import (
    ITEM_LEVEL,
    SYSTEM_LEVEL,
    TASK_LEVEL,
    WITHIN,
    marks,
    name_of,
    question_name,
)
from spokeneval.report.people.signatures import people_signature
from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.people.votes import Question, of_question
from spokeneval.report.text import percent
from spokeneval.statistics.reliability import TOO_NOISY

MOST_SYSTEMS = 40
"""Rows of a table of MOS that stand open."""

Row = dict[str, Any]


def people_view(
    inputs: ReportInputs, found: PeopleTables, judges: pl.DataFrame, reductions: dict[str, Any]
) -> dict[str, Any] | None:
    """Everything of the section and the first screen; None where there is no study."""
    if not found:
        return None
    said = verdicts(found)
    return {
        "simulated": SIMULATED if found.mos["simulated"].any() else None,
        "verdicts": said,
        "questions": [
            _question(inputs, found, question, judges, reductions) | {"verdict": verdict, "figures": figure_names(k)}
            for k, (question, verdict) in enumerate(zip(found.questions, said, strict=True))
        ],
        "screening": found.screening.to_dicts(),
        "unanswered": _unanswered(found),
        "most_systems": MOST_SYSTEMS,
    }


def _unanswered(found: PeopleTables) -> list[str]:
    """Questions of which no vote counts."""
    asked = {(question.test_id, question.dimension) for question in found.questions}
    there = found.mos.select("test_id", "dimension").unique(maintain_order=True).iter_rows()
    return [f"{test}: {dimension}" for test, dimension in there if (test, dimension) not in asked]


def _question(
    inputs: ReportInputs, found: PeopleTables, question: Question, judges: pl.DataFrame, reductions: dict[str, Any]
) -> dict[str, Any]:
    people = of_question(found.people, question)
    mos, differences = of_question(found.mos, question), of_question(found.differences, question)
    of_judge = of_question(found.judges, question)
    return {
        "name": question_name(dict(question.key)),
        "marks": marks(dict(question.key)),
        "evaluators": _evaluators(people.filter("primary")),
        "others": _others(people.filter(~pl.col("primary"))),
        "by_task": _by_task(people),
        "differences": _pairs(differences),
        "beside": _beside(people),
        "prompts": _prompts(people),
        "choice": _choice(of_question(found.choice, question)),
        "mos": _mos(mos, question),
        "tasks": list(question.tasks),
        "listeners": of_question(found.listeners, question).to_dicts(),
        "judges": _judges(of_judge),
        "quintiles": _quintiles(of_judge),
        "disagreements": of_question(found.disagreements, question).filter(_shown_judge(of_judge)).to_dicts(),
        "signature": people_signature(inputs, judges, question, reductions),
    }


def _evaluators(primary: pl.DataFrame) -> list[Row]:
    """The primary family: one row an evaluator, with its level within tasks and its system level; the best first."""
    rows: dict[str, Row] = {}
    for row in primary.filter(pl.col("level").is_in([WITHIN, SYSTEM_LEVEL])).iter_rows(named=True):
        entry = rows.setdefault(name_of(row), {"name": name_of(row), WITHIN: None, SYSTEM_LEVEL: None})
        entry[row["level"]] = row
    return sorted(rows.values(), key=_by_r)


def _by_r(entry: Row) -> tuple[bool, float, str]:
    within = entry[WITHIN]
    r = None if within is None else within["pearson"]
    return (r is None, 0.0 if r is None else -r, entry["name"])


_BESIDE = {
    "spearman": "Spearman",
    "kendall": "Kendall",
    "soft_pairwise_accuracy": "soft pairs",
    "pearson_rated": "rated items only",
    "pearson_other_samples": "other samples",
    "pearson_within_codec": "within codec",
    "pearson_within_family": "within family",
    "pearson_given_ceiling": "given the ceiling",
}


def _beside(people: pl.DataFrame) -> dict[str, str]:
    """The columns beside r that hold anything, with their headings."""
    shown = people.filter(pl.col("level").is_in([WITHIN, SYSTEM_LEVEL]))
    return {name: title for name, title in _BESIDE.items() if shown[name].null_count() < len(shown)}


def _prompts(people: pl.DataFrame) -> list[Row]:
    """Level 'item': the primary family and all judges, ranks within the model first."""
    shown = (pl.col("level") == ITEM_LEVEL) & (pl.col("primary") | pl.col("kind").is_in(["judge", "naturalness"]))
    rows = people.filter(shown).sort(
        pl.col("value") != RANKED, pl.col("value"), -pl.col("pearson"), nulls_last=True, maintain_order=True
    )
    return [row | {"name": name_of(row), "ranked": row["value"] == RANKED} for row in rows.iter_rows(named=True)]


def _choice(choice: pl.DataFrame) -> list[Row]:
    """One row for each set and what was left out, with its methods."""
    rows: dict[tuple[str, str], Row] = {}
    for row in choice.iter_rows(named=True):
        entry = rows.setdefault((row["among"], row["left_out"]), row | {"methods": {}})
        weights = sorted(json.loads(row["weights"]).items(), key=lambda pair: (-pair[1], pair[0]))
        picked = [f"{name} {percent(share)} %" for name, share in weights if share > 0][:3]
        entry["methods"][row["method"]] = row | {"picked": ", ".join(picked)}
    return list(rows.values())


def _pairs(differences: pl.DataFrame) -> list[Row]:
    """One row a pair: within tasks, which decides, and system means."""
    rows: dict[tuple[str, str], Row] = {}
    for row in differences.iter_rows(named=True):
        rows.setdefault((row["a"], row["b"]), {"a": row["a"], "b": row["b"]})[row["level"]] = row
    return list(rows.values())


def _others(people: pl.DataFrame) -> list[Row]:
    """Judges and naturalness judges by themselves: one row each; windows and conventions are in the tables."""
    return _evaluators(people.filter(pl.col("kind").is_in(["judge", "naturalness"])))


def _by_task(people: pl.DataFrame) -> list[Row]:
    rows = people.filter((pl.col("level") == TASK_LEVEL) & pl.col("primary"))
    return [
        row | {"name": name_of(row), "note": _without_noise(row["note"])}
        for row in rows.sort("task", maintain_order=True).iter_rows(named=True)
    ]


def _without_noise(note: str | None) -> str | None:
    """What the reliabilities and the empty interval beside it say already."""
    kept = [part for part in (note or "").split("; ") if not part.startswith(f"items and listeners: {TOO_NOISY}")]
    return "; ".join(kept) or None


def _mos(mos: pl.DataFrame, question: Question) -> list[Row]:
    """Systems by MOS, then anchors and human recordings, each with its tasks."""
    tasks: dict[str, dict[str, Row]] = {}
    for row in mos.filter(pl.col("level") == "system_task").iter_rows(named=True):
        tasks.setdefault(row["system_id"], {})[row["task"]] = row
    rows = mos.filter(pl.col("level") == "system").sort(
        pl.col("role") != SYSTEM, -pl.col("mos"), "system_id", nulls_last=True
    )
    return [row | {"tasks": tasks.get(row["system_id"], {})} for row in rows.iter_rows(named=True)]


def _judges(rows: pl.DataFrame) -> list[Row]:
    """All rows of a judge and task, the ranking judge first."""
    shown = rows.filter(pl.col("quintile") == 0)
    return shown.sort(pl.col("judge") != RANKING_JUDGE, "judge", pl.col("task") == "all", "task").to_dicts()


def _quintiles(rows: pl.DataFrame) -> list[Row]:
    """judge -> shares of the fifths over all tasks."""
    found: dict[str, Row] = {}
    chosen = rows.filter((pl.col("task") == "all") & (pl.col("quintile") > 0)).sort("judge", "quintile")
    for row in chosen.iter_rows(named=True):
        found.setdefault(row["judge"], {"judge": row["judge"], "fifths": []})["fifths"].append(row)
    return sorted(found.values(), key=lambda entry: (entry["judge"] != RANKING_JUDGE, entry["judge"]))


def _shown_judge(rows: pl.DataFrame) -> pl.Expr:
    """The ranking judge's disagreements; without one, all judges'."""
    return pl.col("judge") == RANKING_JUDGE if RANKING_JUDGE in set(rows["judge"]) else pl.lit(True)
