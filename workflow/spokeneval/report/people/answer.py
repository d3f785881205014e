"""Which evaluator to believe, in plain words: what the study says, and what it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from spokeneval.report.people.metrics import RANKING_JUDGE
from spokeneval.report.people.naming import A_BETTER, B_BETTER, SYSTEM_LEVEL, WITHIN, name_of, question_name
from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.people.votes import Question, of_question
from spokeneval.report.text import coefficient, count, listed, p_value

SIMULATED = "SIMULATED: no person voted. The listeners are a model; nothing here is evidence about an evaluator."
CHANCE = 0.05


@dataclass
class Verdict:
    """What one question says of the primary evaluators."""

    title: str
    simulated: bool
    believe: str
    """one sentence: the answer"""
    why: list[str] = field(default_factory=list)
    """what it rests on, and what is in its way"""
    left_out: list[str] = field(default_factory=list)
    """votes that are not correlated"""


def verdicts(found: PeopleTables) -> list[Verdict]:
    """One for each question, in the order of the studies."""
    return [_verdict(found, question) for question in found.questions]


def _verdict(found: PeopleTables, question: Question) -> Verdict:
    title = question_name(dict(question.key))
    verdict = Verdict(title, question.simulated, "")
    rows = of_question(found.people, question).filter((pl.col("level") == WITHIN) & pl.col("primary"))
    ranked = rows.filter(pl.col("pearson").is_not_null()).sort("pearson", descending=True, maintain_order=True)
    if ranked.is_empty():
        verdict.believe = "No evaluator can be held against these votes."
        verdict.why = _why_none(question, rows)
        verdict.left_out = list(question.left_out)
        return verdict
    best = ranked.row(0, named=True)
    better, apart = _beaten(found, question, name_of(best), [name_of(row) for row in ranked.iter_rows(named=True)])
    verdict.believe = _believe(best, better, apart)
    power = _power(found, question, name_of(best), apart[0]) if apart else []
    verdict.why = [*_why(best, ranked), *power, *_least(found, question)]
    verdict.left_out = list(question.left_out)
    return verdict


def _power(found: PeopleTables, question: Question, best: str, rival: str) -> list[str]:
    """What would tell the best from the next one."""
    pair = pl.col("a").is_in([best, rival]) & pl.col("b").is_in([best, rival]) & (pl.col("level") == SYSTEM_LEVEL)
    rows = of_question(found.differences, question).filter(pair & pl.col("power_in_words").is_not_null())
    return [f"{best} against {rival}, system means: {words}." for words in rows["power_in_words"]]


def _least(found: PeopleTables, question: Question) -> list[str]:
    """Whether any pair could be told apart at all: a permutation of few systems has a smallest p."""
    tests = of_question(found.differences, question).filter(pl.col("primary") & pl.col("p").is_not_null())
    if tests.is_empty():
        return []
    fewest = int(tests["n_systems"].max())  # type: ignore[arg-type]
    least = len(tests) * 2.0 ** (1 - fewest)
    if least < CHANCE:
        return []
    return [
        f"With {count(fewest, 'system')} and {count(len(tests), 'pair')} of evaluators no p could fall below "
        f"{p_value(min(least, 1.0))} after Holm: more systems, or a smaller family fixed beforehand, are needed."
    ]


def _why_none(question: Question, rows: pl.DataFrame) -> list[str]:
    if not question.systems:
        return ["None of the systems that people heard is a model of this report."]
    if rows.is_empty():
        return ["No primary evaluator has a value on a task with votes."]
    return sorted({str(note) for note in rows["note"] if note})[:3]


def _beaten(found: PeopleTables, question: Question, best: str, names: list[str]) -> tuple[list[str], list[str]]:
    """Evaluators that agree less well than the best one, by a test; and those that cannot be told from it."""
    tests = of_question(found.differences, question).filter("primary")
    better, told = [], {best}
    for row in tests.filter((pl.col("a") == best) | (pl.col("b") == best)).iter_rows(named=True):
        other = row["b"] if row["a"] == best else row["a"]
        if row["verdict"] == (A_BETTER if row["a"] == best else B_BETTER):
            better.append(other)
            told.add(other)
    return better, [name for name in names if name not in told]


def _believe(best: dict[str, Any], better: list[str], apart: list[str]) -> str:
    name, r = name_of(best), coefficient(best["pearson"])
    if best["pearson"] <= 0:
        return "No evaluator of the primary family orders the systems as people do."
    if best["p_max"] is not None and best["p_max"] >= CHANCE:
        return (
            f"Cannot tell whether any agrees with people: {name} has the highest r ({r}), and the best of "
            f"{best['n_tried']} would often agree as well by chance."
        )
    if not apart:
        than = f", better than {listed(better, 8)}" if better else "; there is no other to compare it with"
        return f"{name} agrees best with people{than}."
    if not better:
        every = count(len(apart) + 1, "evaluator")
        return f"Cannot tell which of {every} agrees best with people; {name} has the highest r ({r})."
    return f"Cannot tell {listed([name, *apart], 8)} apart; {name} agrees better than {listed(better, 8)}."


def _why(best: dict[str, Any], ranked: pl.DataFrame) -> list[str]:
    over = count(best["n_tasks"], "task")
    ceiling = "" if best["max_r"] is None else f"; the most that listeners allow is {coefficient(best['max_r'])}"
    lines = [
        f"{name_of(best)}: r {coefficient(best['pearson'])} with MOS (mean within {over}, "
        f"{count(best['n_systems'], 'system')}, {count(best['n_votes'], 'vote')}){ceiling}."
    ]
    others = ranked.slice(1).to_dicts()
    if others:
        lines.append("Others: " + listed([f"{name_of(r)} {coefficient(r['pearson'])}" for r in others], 8) + ".")
    if best["p_max"] is not None:
        lines.append(
            f"Having looked at {best['n_tried']} evaluators, p for this one is {p_value(best['p_max'])}; by chance the "
            f"best of them exceeds {coefficient(best['r_by_chance'])} one time in twenty."
        )
    against = [name_of(row) for row in others if row["pearson"] < 0]
    if against:
        lines.append(f"{listed(against, 4)}: r below 0, the other way round than people.")
    if RANKING_JUDGE not in set(ranked["evaluator"]):
        lines.append("No judge qualified on a task with votes: the family holds likelihood evaluators only.")
    return lines
