"""Agreement within a prompt: of the systems' continuations of one item, are the better ones those that people prefer?

Conventions
-----------
- Coefficients over the systems of an item, averaged over items (`statistics.within_item`); items with fewer than three
  systems, or with one side the same for all, are dropped and counted. The interval resamples clusters of items.
- A judge's margin and a naturalness score have one scale for all systems and are held against the item's MOS as they
  are. Likelihood margins of different tokenizers have none: 'margin_rank' ranks them within system and task, over the
  rated items, and the MOS likewise: does a system do better on the prompts on which people say so? It
  cannot see which system is better on the whole. Judges are ranked as well, to be compared with likelihoods.
- Where people heard this project's audio a judge's value is that of the rated samples.
- pairwise_accuracy is acc23 with ties calibrated on these data. It, Spearman and Kendall are for the primary family and
  judges: windows and conventions have Pearson's r.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import rankdata

from spokeneval.report.people.against import Against, rated_samples_matrix
from spokeneval.report.people.levels import CHEAP_DRAWS, joined, or_none
from spokeneval.report.people.naming import ITEM_LEVEL
from spokeneval.report.schemas_people import PEOPLE
from spokeneval.report.text import count
from spokeneval.statistics.correlation import Coefficient
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.within_item import tie_calibrated_accuracy, within_item

_COEFFICIENTS: tuple[Coefficient, ...] = ("pearson", "spearman", "kendall")
RANKED = "margin_rank"


def item_rows(pair: Against) -> list[dict[str, Any]]:
    """One row for each value that the evaluator has item by item."""
    return [_row(pair, value) for value in pair.by_item]


def _row(pair: Against, value: str) -> dict[str, Any]:
    settings, question = pair.inputs.settings, pair.question
    heard = rated_samples_matrix(pair)
    tasks = pair.tasks
    items = pair.items_in(tasks)
    x = (pair.by_item[value] if heard is None else heard)[:, items]
    y = question.items[:, items]
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    if value == RANKED:
        of_task = pair.task_of_item[items]
        x, y = _ranked(x, of_task), _ranked(y, of_task)
    used = both.any(axis=0)
    x, y, clusters = x[:, used], y[:, used], pair.items.cluster[items[used]]
    row: dict[str, Any] = {
        **dict.fromkeys(PEOPLE.arrow.names),
        **question.key,
        **pair.evaluator.key,
        "value": value,
        "level": ITEM_LEVEL,
        "task": "all",
        "n_tasks": len(tasks),
        "tasks": ", ".join(question.tasks[task] for task in tasks),
        "n_systems": int(both.sum(axis=0).max(initial=0)),
        "n_rated_items": int((np.isfinite(y).sum(axis=0) >= 2).sum()),
    }
    n_draws = settings.n_draws if pair.evaluator.primary else min(CHEAP_DRAWS, settings.n_draws)
    reasons = []
    whole = pair.evaluator.primary or pair.evaluator.kind in ("judge", "naturalness")
    for coefficient in _COEFFICIENTS if whole else _COEFFICIENTS[:1]:
        found = within_item(x, y, coefficient, list(clusters), n_draws, settings.seed, settings.confidence)
        row[coefficient] = or_none(found.value)
        row[f"{coefficient}_low"], row[f"{coefficient}_high"] = or_none(found.low), or_none(found.high)
        reasons += [found.reason] if found.reason else []
        if coefficient == "pearson":
            row["n_items"] = found.n_items
            row["n_draws"] = None if math.isnan(found.low) else n_draws
            if found.n_constant:
                reasons.append(f"{count(found.n_constant, 'prompt')} dropped: a side is the same for all systems")
            if found.n_few:
                reasons.append(f"{count(found.n_few, 'prompt')} dropped: fewer than three systems have both sides")
    # where a side is all tied the calibration makes everything right
    if whole and row["pearson"] is not None:
        pairs = tie_calibrated_accuracy(x, y)
        row["pairwise_accuracy"], row["n_pairs"] = or_none(pairs.value), pairs.n_pairs
    return row | {"note": joined(reasons)}


def _ranked(values: FloatArray, task: np.ndarray[Any, Any]) -> FloatArray:
    """Ranks within system and task, as shares: (rank - 1/2) / n, ties share their mean rank."""
    ranked = np.full_like(values, np.nan)
    for code in np.unique(task):
        columns = np.flatnonzero(task == code)
        for system, row in enumerate(values[:, columns]):
            there = np.isfinite(row)
            if there.any():
                ranked[system, columns[there]] = (rankdata(row[there]) - 0.5) / there.sum()
    return ranked
