"""How evaluators and questions are called, and the words of a comparison."""

from __future__ import annotations

from typing import Any

from spokeneval.report.schemas import CELL
from spokeneval.report.text import evaluator_name

SYSTEM_LEVEL, TASK_LEVEL, POOLED, WITHIN, ITEM_LEVEL = (
    "system",
    "task",
    "system_task_pooled",
    "system_task_within",
    "item",
)
CANNOT_TELL, A_BETTER, B_BETTER = "cannot tell", "a agrees better", "b agrees better"


def name_of(row: dict[str, Any]) -> str:
    """An evaluator as the tables and the page call it: 'localized 0.5 s', 'judge: share', 'judge:x: margin'."""
    name = evaluator_name({column: row[column] for column in CELL})
    return name if row["value"] in ("accuracy", "margin_rank") else f"{name}: {row['value']}"


def marks(row: dict[str, Any]) -> str:
    """', SIMULATED', ', external audio', both or nothing: what must stand wherever a study is named."""
    simulated = ", SIMULATED" if row["simulated"] else ""
    return simulated + (", external audio" if row["audio"] == "external" else "")


def question_name(row: dict[str, Any]) -> str:
    return f"{row['test_id']}: {row['dimension']}{marks(row)}"
