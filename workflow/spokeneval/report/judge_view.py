"""What the page says of judges, as its templates want it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from spokeneval.report.heard import CEILING_PROMPT, CEILING_SELF, CEILING_THIRD, FLOOR, ceiling_sources
from spokeneval.report.inputs import ReportInputs

if TYPE_CHECKING:
    from spokeneval.report.report_tables import ReportTables

SOURCES = {
    "model": "models",
    FLOOR: "floor: continuations of other items",
    "copy": "baseline copy: the prompt's end again",
    "noise_matched": "baseline noise-matched: noise without speech",
    CEILING_PROMPT: "attribute ceiling: the prompt through the codec",
    CEILING_THIRD: "attribute ceiling: a third clip through the codec",
    CEILING_SELF: "self ceiling: the right clip through the codec",
    "prompt": "the recordings themselves (prompts)",
}
"""Sources of judging rows in the order of the page."""

WAYS = {
    "cross_fitted": "The choice is cross-fitted: each half of the items is scored by the judge that was best on the "
    "other half.",
    "paper": "The choice is the paper's (report.judge_choice: paper): the best judge on all items, compared with its "
    "bar by point estimate on the items that it then scores. That is optimistic: of five judges of true accuracy .80 "
    "held against .831, one passes in about half of all runs.",
}
"""How a judge is chosen, as the page says it."""


def judge_values(inputs: ReportInputs, found: ReportTables, tasks: list[str]) -> dict[str, Any]:
    """Everything that the section of judges shows."""
    return {
        "judges": judge_matrix(found.judges, "judge"),
        "judge_way": WAYS[inputs.settings.judge_choice],
        "optimistic": inputs.settings.judge_choice == "paper",
        "choices": _choices(inputs, found, tasks),
        "by_codec": judge_matrix(found.judges_by_codec, "judge", "codec"),
        "heard_by": _heard_by(found.model_judging),
        "placing": _placing(found.model_judging),
        "sources": SOURCES,
    }


def judge_matrix(table: pl.DataFrame, *by: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """`by` -> {"entry": a row, "tasks": task -> row}"""
    matrix: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in table.iter_rows(named=True):
        key = tuple(row[name] for name in by)
        matrix.setdefault(key, {"entry": row, "tasks": {}})["tasks"][row["task"]] = row
    return matrix


def _choices(inputs: ReportInputs, found: ReportTables, tasks: list[str]) -> list[dict[str, Any]]:
    """Task, its judge (None where there is none), and why, without control tasks."""
    chosen = {row["task"]: row for row in found.judges.filter("chosen").iter_rows(named=True)}
    return [
        {
            "task": task,
            "judge": chosen.get(task),
            "why": chosen[task]["note"] if task in chosen else found.no_judge.get(task, "none was tried"),
        }
        for task in tasks
        if task not in inputs.settings.control_tasks
    ]


def _heard_by(judging: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """judge -> rows (source, name, task -> row), models first, floor, baselines and ceilings after them."""
    order = {source: i for i, source in enumerate(SOURCES)}
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in judging.iter_rows(named=True):
        by_name = found.setdefault(row["judge"], {})
        entry = by_name.setdefault(
            (row["source"], row["name"]), {"source": row["source"], "name": row["name"], "tasks": {}}
        )
        entry["tasks"][row["task"]] = row
    return {
        judge: sorted(rows.values(), key=lambda entry: (order.get(entry["source"], 99), entry["name"]))
        for judge, rows in sorted(found.items())
    }


def _placing(judging: pl.DataFrame) -> set[tuple[str, str, str, str]]:
    """(task, judge, codec, source) of the attribute ceilings that place models."""
    return {(*key, source) for key, source in ceiling_sources(judging.filter(pl.col("share").is_not_null())).items()}
