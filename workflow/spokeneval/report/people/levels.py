"""One evaluator against one question, at every level: the rows of the table PEOPLE.

Conventions
-----------
- System level: evaluator means over the items, MOS over the votes of the same tasks; systems that lack one of the tasks
  on either side are left out and counted. A task that no system has on both sides is not part of it.
- 'system_task_within' is the mean over tasks of the coefficients of the tasks that have one, each over its own systems;
  it has no interval: that of each task stands in its own row. 'system_task_pooled' has none either, as the cells of a
  system are not independent.
- Two estimands. Over new systems: Fisher's interval around the observed r. Over these systems: the correlation of
  expected values, `corrected`, with the items-and-listeners interval (`statistics.reliability`): 10,000 draws in the
  primary family, fewer elsewhere.
- Ceilings: the attribute ceiling of a system is what the task's judge hears of the right thing through its codec.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from spokeneval.report.people.against import Against, Codes, rated_means, vote_means
from spokeneval.report.people.naming import POOLED, SYSTEM_LEVEL, TASK_LEVEL, WITHIN
from spokeneval.report.schemas_people import PEOPLE
from spokeneval.report.text import count, listed
from spokeneval.statistics.adjusted import group_centred, partial_correlation
from spokeneval.statistics.correlation import (
    Correlation,
    kendall,
    pairwise_accuracy,
    pearson,
    soft_pairwise_accuracy,
    spearman,
)
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.reliability import expected_correlation

CHEAP_DRAWS = 1000
"""Draws of intervals outside the primary family."""
_MOST_SOFT = 500_000_000
"""Draws x pairs x items of a soft pairwise accuracy: fewer draws beyond."""
_COEFFICIENTS = {"pearson": pearson, "spearman": spearman, "kendall": kendall}
Row = dict[str, Any]


def level_rows(pair: Against) -> list[Row]:
    """The rows of all levels but 'item'; a system or task that is left out is named in `note`."""
    tasks = pair.tasks
    if not len(tasks):
        return []
    of_tasks = [_independent(pair, TASK_LEVEL, np.array([task])) for task in tasks]
    return [*of_tasks, _within(pair, tasks, of_tasks), _pooled(pair, tasks), _independent(pair, SYSTEM_LEVEL, tasks)]


def _base(pair: Against, level: str, tasks: Codes, systems: Codes) -> Row:
    votes = pair.question.of(systems, tasks)
    items = pair.items_in(tasks)
    halves = pair.question.halves(systems, tasks)
    return {
        **dict.fromkeys(PEOPLE.arrow.names),
        **pair.question.key,
        **pair.evaluator.key,
        "level": level,
        "task": pair.question.tasks[tasks[0]] if level == TASK_LEVEL else "all",
        "n_systems": len(systems),
        "n_tasks": len(tasks),
        "tasks": ", ".join(pair.question.tasks[task] for task in tasks),
        "n_items": int(np.isfinite(pair.x[np.ix_(systems, items)]).any(axis=0).sum()) if len(systems) else 0,
        "n_rated_items": votes["item"].n_unique(),
        "n_votes": len(votes),
        "split_half": or_none(halves.value),
        "max_r": math.sqrt(halves.value) if halves.value >= 0 else None,
    }


def _independent(pair: Against, level: str, tasks: Codes) -> Row:
    """A level at which systems are independent of each other: all tasks, or one."""
    question, settings = pair.question, pair.inputs.settings
    systems = pair.complete(tasks)
    row = _base(pair, level, tasks, systems)
    reasons = []
    missing = len(question.systems) - len(systems)
    if missing:
        reasons.append(f"{count(missing, 'system')} without a value on one side in {_of(level)} left out")
    x = pair.means(systems, tasks)
    y_votes = question.of(systems, tasks)
    y = vote_means(y_votes["system"].to_numpy(), y_votes["score"].to_numpy(), systems)
    reasons += _coefficients(row, x, y, settings.confidence)
    if row["pearson"] is not None:
        reasons += _these(row, pair, systems, tasks)
        if pair.evaluator.primary:
            row["soft_pairwise_accuracy"] = _soft(pair, systems, tasks)
        _beside(row, pair, systems, tasks, y)
    row["note"] = joined(reasons)
    return row


def _of(level: str) -> str:
    return "one of the tasks" if level == SYSTEM_LEVEL else "the task"


def _coefficients(row: Row, x: FloatArray, y: FloatArray, confidence: float, interval: bool = True) -> list[str]:
    """Fill in the coefficients; say why what is missing is."""
    reasons = []
    for name, coefficient in _COEFFICIENTS.items():
        found = coefficient(x, y, confidence=confidence)
        row[name] = or_none(found.value)
        if interval:
            row[f"{name}_low"], row[f"{name}_high"] = or_none(found.low), or_none(found.high)
        if found.reason and (interval or math.isnan(found.value)):
            reasons.append(_in_words(found.reason))
    pairs = pairwise_accuracy(x, y)
    row["n_pairs"], row["n_tied_pairs"] = pairs.n_pairs, pairs.n_tied_x + pairs.n_tied_y + pairs.n_tied_both
    # an evaluator that ties everything orders nothing
    row["pairwise_accuracy"] = None if row["pearson"] is None else or_none(pairs.value)
    return reasons


def _in_words(reason: str) -> str:
    """x and y of the statistics as they are called here."""
    for side, name in (("x and y are", "evaluator and MOS are"), ("x is", "the evaluator is"), ("y is", "MOS is")):
        if reason.startswith(side):
            return name + reason[len(side) :]
    return reason


def _these(row: Row, pair: Against, systems: Codes, tasks: Codes) -> list[str]:
    """The correlation of expected values over these systems."""
    settings = pair.inputs.settings
    x, y = pair.noisy(systems, tasks), pair.question.noisy(systems, tasks)
    if isinstance(x, str) or isinstance(y, str):
        return [side for side in (x, y) if isinstance(side, str)]
    n_draws = settings.n_draws if pair.evaluator.primary else min(CHEAP_DRAWS, settings.n_draws)
    found = expected_correlation(x, y, n_draws, settings.seed, settings.confidence)
    row |= {
        "corrected": or_none(found.corrected),
        "disattenuated": or_none(found.disattenuated),
        "these_low": or_none(found.low),
        "these_high": or_none(found.high),
        "reliability_evaluator": or_none(found.reliability_x),
        "reliability_mos": or_none(found.reliability_y),
        "n_draws": None if math.isnan(found.low) else n_draws,
    }
    return [f"items and listeners: {found.reason}"] if found.reason else []


def _soft(pair: Against, systems: Codes, tasks: Codes) -> float | None:
    items = pair.items_in(tasks)
    x, y = pair.x[np.ix_(systems, items)], pair.question.items[np.ix_(systems, items)]
    if not np.isfinite(y).any(axis=1).all():
        return None
    size = len(systems) * (len(systems) - 1) // 2 * len(items)
    n_draws = int(np.clip(_MOST_SOFT // max(size, 1), 100, 1000))
    return or_none(soft_pairwise_accuracy(x, y, n_draws, pair.inputs.settings.seed).value)


def _beside(row: Row, pair: Against, systems: Codes, tasks: Codes, y: FloatArray) -> None:
    """The same r with something held fixed, or over other items and samples."""
    confidence = pair.inputs.settings.confidence
    x = pair.means(systems, tasks)
    models = [pair.inputs.models[pair.question.systems[k]] for k in systems]
    groups = {
        "codec": [f"{entry.tokenizer}\x1f{entry.vocoder}" for entry in models],
        "family": [entry.family for entry in models],
    }
    for name, of_system in groups.items():
        if len(set(of_system)) > 1:
            _fill(row, f"pearson_within_{name}", f"within_{name}", group_centred(x, y, of_system, True, confidence))
    given = pair.ceilings[np.ix_(systems, tasks)].mean(axis=1)
    if np.isfinite(given).all() and np.ptp(given) > 0:
        _fill(row, "pearson_given_ceiling", "given_ceiling", partial_correlation(x, y, given, True, confidence))
    rated, other = rated_means(pair, systems, tasks)
    row["pearson_rated"] = _plain_r(rated, y)
    row["pearson_other_samples"] = None if other is None else _plain_r(other, y)


def _fill(row: Row, value: str, bounds: str, found: Correlation) -> None:
    row[value] = or_none(found.value)
    row[f"{bounds}_low"], row[f"{bounds}_high"] = or_none(found.low), or_none(found.high)


def _plain_r(x: FloatArray, y: FloatArray) -> float | None:
    return or_none(pearson(x, y).value) if np.isfinite(x).all() else None


def _pooled(pair: Against, tasks: Codes) -> Row:
    """All cells of systems and tasks in one coefficient, and the same with task means removed."""
    both = np.isfinite(pair.x_cells) & np.isfinite(pair.question.cells)
    system, task = np.nonzero(both[:, tasks])
    at = (system, tasks[task])
    systems = np.unique(system)
    row = _base(pair, POOLED, tasks, systems)
    x, y = pair.x_cells[at], pair.question.cells[at]
    reasons = _coefficients(row, x, y, pair.inputs.settings.confidence, interval=False)
    reasons.append("no interval: the cells of a system are not independent")
    if row["pearson"] is not None:
        models = [pair.inputs.models[pair.question.systems[k]] for k in system]
        for name, groups in (
            ("pearson_within_codec", [f"{entry.tokenizer}\x1f{entry.vocoder}" for entry in models]),
            ("pearson_within_family", [entry.family for entry in models]),
        ):
            if len(set(groups)) > 1:
                row[name] = or_none(group_centred(x, y, groups, False).value)
        row["pearson_task_centred"] = or_none(group_centred(x, y, at[1], False).value)
        given = pair.ceilings[at]
        if np.isfinite(given).all() and np.ptp(given) > 0:
            row["pearson_given_ceiling"] = or_none(partial_correlation(x, y, given, False).value)
    row["note"] = joined(reasons)
    return row


def _within(pair: Against, tasks: Codes, of_tasks: list[Row]) -> Row:
    """The mean over tasks of what each task has."""
    used = [row for row in of_tasks if row["pearson"] is not None]
    systems = np.unique(np.concatenate([pair.complete(np.array([task])) for task in tasks]))
    row = _base(pair, WITHIN, tasks, systems)
    names = [name for name in _AVERAGED if any(r[name] is not None for r in used)]
    for name in names:
        row[name] = float(np.mean([r[name] for r in used if r[name] is not None]))
    for name in ("n_pairs", "n_tied_pairs"):
        row[name] = sum(r[name] for r in of_tasks if r[name] is not None)
    row["n_systems"] = min((r["n_systems"] for r in used), default=0)
    row["n_tasks"], row["tasks"] = len(used), ", ".join(r["task"] for r in used)
    without = [f"{r['task']} ({r['note']})" for r in of_tasks if r["pearson"] is None]
    reasons = ["no interval: a mean over tasks; each task has its own"] if used else []
    if without:
        reasons.append(f"without a coefficient: {listed(without, 4)}")
    partly = [name for name in names if any(r[name] is None for r in used)]
    if partly:
        reasons.append(f"over fewer tasks: {listed(partly, 12)}")
    row["note"] = joined(reasons)
    return row


_AVERAGED = (
    "pearson",
    "spearman",
    "kendall",
    "pairwise_accuracy",
    "soft_pairwise_accuracy",
    "corrected",
    "disattenuated",
    "reliability_evaluator",
    "reliability_mos",
    "split_half",
    "max_r",
    "pearson_rated",
    "pearson_other_samples",
    "pearson_within_codec",
    "pearson_within_family",
    "pearson_given_ceiling",
)
"""What level 'system_task_within' is a mean of."""


def or_none(value: float) -> float | None:
    """Tables hold null where a number is not defined."""
    return None if math.isnan(value) else float(value)


def joined(reasons: Iterable[str]) -> str | None:
    """Each reason once."""
    return "; ".join(dict.fromkeys(reasons)) or None
