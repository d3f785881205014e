"""The points of the scatter: every system's evaluator mean and MOS, both with an interval.

Conventions: x has a normal interval from the spread over clusters of items (the noise that the correlation is corrected
for), MOS the interval over new items and listeners (`statistics.crossed`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spokeneval.report.people.against import Against, Codes
from spokeneval.report.people.levels import or_none
from spokeneval.report.people.naming import SYSTEM_LEVEL, TASK_LEVEL
from spokeneval.statistics.intervals import normal_quantile


def point_rows(pair: Against) -> list[dict[str, Any]]:
    """One row a system, over all tasks and in each."""
    tasks = pair.tasks
    rows = _of_level(pair, SYSTEM_LEVEL, tasks) if len(tasks) else []
    for task in tasks:
        rows += _of_level(pair, TASK_LEVEL, np.array([task]))
    return rows


def _of_level(pair: Against, level: str, tasks: Codes) -> list[dict[str, Any]]:
    question, confidence = pair.question, pair.inputs.settings.confidence
    systems = pair.complete(tasks)
    if not len(systems):
        return []
    x = pair.means(systems, tasks)
    noisy = pair.noisy(systems, tasks)
    half = None if isinstance(noisy, str) else normal_quantile(confidence) * np.sqrt(np.diag(noisy.covariance))
    items = pair.items_in(tasks)
    key = {name: value for name, value in pair.evaluator.key.items() if name not in ("primary", "higher_is_better")}
    rows = []
    for k, system in enumerate(systems):
        mos = question.interval(int(system), tasks, confidence)
        rows.append(
            {
                **question.key,
                **key,
                "level": level,
                "task": question.tasks[tasks[0]] if level == TASK_LEVEL else "all",
                "system_id": question.systems[system],
                "x": float(x[k]),
                "x_low": None if half is None else float(x[k] - half[k]),
                "x_high": None if half is None else float(x[k] + half[k]),
                "mos": mos.value,
                "mos_low": or_none(mos.low),
                "mos_high": or_none(mos.high),
                "n_items": int(np.isfinite(pair.x[system, items]).sum()),
                "n_votes": len(question.of(np.array([system]), tasks)),
            }
        )
    return rows
