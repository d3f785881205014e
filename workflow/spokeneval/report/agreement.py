"""Do the evaluators order the models as the judge does? Agreement with a judge, not with people.

Conventions
-----------
- Systems are models that can be heard. The values are accuracy under the evaluator and share nearer to the right
  continuation under the judge; control tasks are left out; log-likelihoods of different tokenizers are never pooled.
- Only what a judge ranks enters (`report.ranking`): it qualifies on the task in real audio, and does not fail through
  the codec of the system. A task without such a judge has no agreement.
- Level 'task': over systems within one task, with each judge that ranks. Level 'system': each system's mean over the
  tasks whose chosen judge qualifies (tasks alike), the same tasks for every system.
- Intervals are for new systems (Fisher z and its relatives); below five systems the value is printed without one.
  They carry no item noise: see the tables for the intervals of both axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import ranking_judges
from spokeneval.report.schemas import AGREEMENT, CELL
from spokeneval.statistics.correlation import kendall, pearson, spearman

_COEFFICIENTS = {"pearson": pearson, "spearman": spearman, "kendall": kendall}
TITLE = "Agreement of the evaluators with the judge (not with people)"


def agreement_table(
    inputs: ReportInputs, accuracy: pl.DataFrame, model_judging: pl.DataFrame, judges: pl.DataFrame
) -> pl.DataFrame:
    """Both levels, for evaluators and controls that belong to a model, in the schema AGREEMENT."""
    ranked = (pl.col("source") == "model") & pl.col("share").is_not_null() & pl.col("ranked").fill_null(False)
    heard = model_judging.filter(ranked).select("task", "judge", pl.col("name").alias("model"), "share")
    scored = accuracy.filter(pl.col("role").is_in(("evaluator", "control")) & pl.col("accuracy").is_not_null())
    scored = scored.select("task", "model", *CELL, "primary", "accuracy")
    scored = scored.filter(~pl.col("task").is_in(inputs.settings.control_tasks))
    both = scored.join(heard, on=["task", "model"])
    chosen = ranking_judges(judges)
    rows = []
    for key, cell in both.group_by("task", "judge", *CELL, "primary", maintain_order=True):
        named = dict(zip(("task", "judge", *CELL, "primary"), key, strict=True))
        marks = {"level": "task", "chosen": chosen.get(named["task"]) == named["judge"], "n_tasks": 1}
        rows.append(named | marks | _coefficients(cell, inputs.settings.confidence))
    rows += _system_level(inputs, both, chosen)
    return pl.DataFrame(pl.from_arrow(AGREEMENT.from_rows(rows))).sort(AGREEMENT.key, nulls_last=False)


def _system_level(inputs: ReportInputs, both: pl.DataFrame, chosen: dict[str, str]) -> list[dict[str, Any]]:
    """Means over tasks; a system that lacks one of the tasks is left out, and the note says so."""
    pick = pl.lit(False)
    for task, judge in chosen.items():
        pick = pick | ((pl.col("task") == task) & (pl.col("judge") == judge))
    rows = []
    for key, cell in both.filter(pick).group_by(*CELL, "primary", maintain_order=True):
        means = cell.group_by("model").agg(pl.col("accuracy").mean(), pl.col("share").mean(), pl.len().alias("_n"))
        n_tasks = int(cell["task"].n_unique())
        complete = means.filter(pl.col("_n") == n_tasks).sort("model")
        found = _coefficients(complete, inputs.settings.confidence)
        if len(complete) < len(means):
            left_out = f"{len(means) - len(complete)} systems without all {n_tasks} tasks are left out"
            found["note"] = "; ".join(filter(None, [found["note"], left_out]))
        named = dict(zip((*CELL, "primary"), key, strict=True))
        marks = {"level": "system", "task": "all", "judge": "chosen", "chosen": True, "n_tasks": n_tasks}
        rows.append(named | marks | found)
    return rows


def _coefficients(cell: pl.DataFrame, confidence: float) -> dict[str, Any]:
    x, y = cell["accuracy"].to_numpy().astype(np.float64), cell["share"].to_numpy().astype(np.float64)
    found: dict[str, Any] = {"n_systems": len(x)}
    notes = []
    for name, coefficient in _COEFFICIENTS.items():
        result = coefficient(x, y, confidence=confidence)
        for suffix, value in (("", result.value), ("_low", result.low), ("_high", result.high)):
            found[name + suffix] = None if value is None or math.isnan(value) else float(value)
        if result.reason and result.reason not in notes:
            notes.append(result.reason)
    return found | {"note": "; ".join(notes) or None}
