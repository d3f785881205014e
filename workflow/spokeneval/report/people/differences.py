"""Which of two primary evaluators agrees better with people?

Conventions
-----------
- The primary family is fixed beforehand: the primary likelihood evaluators at the primary window and the judge that
  ranks, Pearson's r, level 'system_task_within'. p by PERM-BOTH (`statistics.compare`): whole systems, with all their
  tasks, are exchanged between the two; Holm over the pairs of a study and dimension.
- Level 'system' stands beside, with Williams' test, and is no part of the family.
- Both evaluators are compared on the systems and tasks that both have. A task on which one side is the same for all
  systems has no coefficient and is left out.
- Power is Williams' at the effect seen, level 'system' (`statistics.power`): for planning, a lower bound.
- 'cannot tell' is what most studies with few systems end with; it is not 'equal'.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from spokeneval.report.people.against import Against, Codes, vote_means
from spokeneval.report.people.levels import joined, or_none
from spokeneval.report.people.naming import A_BETTER, B_BETTER, CANNOT_TELL, SYSTEM_LEVEL, WITHIN, name_of
from spokeneval.report.text import count
from spokeneval.statistics.compare import permute_both, williams
from spokeneval.statistics.correlation import is_constant, pearson_r
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.noise import reliability
from spokeneval.statistics.paired import holm
from spokeneval.statistics.power import ToldApart, told_apart

Row = dict[str, Any]
_NUMBERS = (
    *("pearson_a", "pearson_b", "difference", "p", "p_holm", "p_williams", "method"),
    *("power", "n_systems_needed", "times_items", "times_votes", "power_in_words"),
)


def difference_rows(primary: list[Against]) -> list[Row]:
    """Every pair of primary evaluators of one question, at both levels."""
    rows: list[Row] = []
    for level in (WITHIN, SYSTEM_LEVEL):
        of_level = [_row(level, a, b) for a, b in combinations(primary, 2)]
        tested = [row for row in of_level if row["p"] is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
            row["p_holm"] = float(p)
            alpha = 1 - primary[0].inputs.settings.confidence
            row["verdict"] = CANNOT_TELL if p >= alpha else A_BETTER if row["difference"] > 0 else B_BETTER
        rows += of_level
    return rows


def _row(level: str, a: Against, b: Against) -> Row:
    tasks = np.intersect1d(a.tasks, b.tasks)
    systems = np.intersect1d(a.complete(tasks), b.complete(tasks)) if len(tasks) else tasks
    reasons = []
    missing = len(a.question.systems) - len(systems)
    if missing:
        reasons.append(f"{count(missing, 'system')} without all values left out")
    if level == WITHIN:
        x, z, y = (side[np.ix_(systems, tasks)] for side in (a.x_cells, b.x_cells, a.question.cells))
        useful = [k for k in range(len(tasks)) if not any(is_constant(side[:, k]) for side in (x, z, y))]
        if len(useful) < len(tasks):
            reasons.append(f"{count(len(tasks) - len(useful), 'task')} without a coefficient left out")
        x, z, y, tasks = x[:, useful], z[:, useful], y[:, useful], tasks[useful]
    else:
        x, z = (side.means(systems, tasks)[:, None] for side in (a, b))
        y = _mos(a, systems, tasks)[:, None]
    row: Row = {
        **a.question.key,
        "level": level,
        "a": name_of(a.evaluator.key),
        "b": name_of(b.evaluator.key),
        "primary": level == WITHIN,
        "n_systems": len(systems),
        "n_tasks": len(tasks),
        **dict.fromkeys(_NUMBERS),
        "verdict": CANNOT_TELL,
    }
    if not len(tasks):
        return row | {"note": joined([*reasons, "no task on which both have a coefficient"])}
    settings = a.inputs.settings
    found = permute_both(x, z, y, within_task=level == WITHIN, n_draws=settings.n_draws, seed=settings.seed)
    row |= {
        "pearson_a": or_none(found.a),
        "pearson_b": or_none(found.b),
        "difference": or_none(found.difference),
        "p": or_none(found.p),
        "method": f"PERM-BOTH, {found.method}",
    }
    reasons += [found.reason.replace("target", "MOS")] if found.reason else []
    if level == SYSTEM_LEVEL and found.reason is None:
        p_williams, why = _williams(x[:, 0], z[:, 0], y[:, 0])
        row["p_williams"] = p_williams
        reasons += [why] if why else []
        row |= _power(a, b, systems, tasks, x[:, 0], z[:, 0], y[:, 0])
    return row | {"note": joined(reasons)}


def _power(a: Against, b: Against, systems: Codes, tasks: Codes, x: FloatArray, z: FloatArray, y: FloatArray) -> Row:
    """What would tell the two apart, at the effect seen; reliabilities that are not known count as 1."""
    means = (a.noisy(systems, tasks), b.noisy(systems, tasks), a.question.noisy(systems, tasks))
    of_a, of_b, of_mos = (1.0 if isinstance(side, str) else reliability(side).value for side in means)
    alpha = 1 - a.inputs.settings.confidence
    found = told_apart(pearson_r(x, y), pearson_r(z, y), pearson_r(x, z), len(y), of_a, of_b, of_mos, alpha=alpha)
    return {
        "power": or_none(found.power),
        "n_systems_needed": found.n_systems,
        "times_items": None if found.times_items is None else or_none(found.times_items),
        "times_votes": None if found.times_votes is None else or_none(found.times_votes),
        "power_in_words": _in_words(found),
    }


def _in_words(found: ToldApart) -> str:
    """Where the reliabilities are no help, what the systems alone tell is still said."""
    if found.reason is None or math.isnan(found.power) or found.n_systems is None:
        return found.in_words()
    return (
        f"a difference like this is seen in {found.power:.0%} of studies like this one, in 80% with about "
        f"{found.n_systems} systems like these; what more items or votes would do cannot be said ({found.reason})"
    )


def _mos(pair: Against, systems: Codes, tasks: Codes) -> FloatArray:
    votes = pair.question.of(systems, tasks)
    return vote_means(votes["system"].to_numpy(), votes["score"].to_numpy(), systems)


def _williams(x: FloatArray, z: FloatArray, y: FloatArray) -> tuple[float | None, str | None]:
    found = williams(pearson_r(x, y), pearson_r(z, y), pearson_r(x, z), len(y))
    return or_none(found.p_two_sided), found.reason
