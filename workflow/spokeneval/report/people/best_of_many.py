"""How good would the best of all evaluators look by chance? p for having looked at all of them.

Conventions
-----------
- Exploratory: every evaluator of the report, all windows, codebooks, conventions, placebos and judges, at the levels
  'system' and 'system_task_within', Pearson, one-sided (agrees better than chance).
- Max-statistic (`statistics.compare`): the systems of the MOS are permuted, and each evaluator's r is held against the
  best of all that have the same systems and tasks. For means within tasks both sides are standardised task by task
  first: their pooled r is then the mean of the tasks' r.
- Evaluators that are the same for all systems on a task take no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from spokeneval.report.people.against import Against, vote_means
from spokeneval.report.people.levels import or_none
from spokeneval.report.people.naming import SYSTEM_LEVEL, WITHIN
from spokeneval.statistics.compare import max_statistic
from spokeneval.statistics.correlation import MIN_SYSTEMS, is_constant
from spokeneval.statistics.intervals import FloatArray


class Chance(NamedTuple):
    """Columns of PEOPLE."""

    p_max: float | None
    r_by_chance: float | None
    n_tried: int


@dataclass(frozen=True, eq=False)
class Tried:
    """What is kept of an evaluator: its means, not its items."""

    name: tuple[Any, ...]
    systems: tuple[int, ...]
    tasks: tuple[int, ...]
    means: FloatArray
    """(n_systems,) over all of these tasks"""
    cells: FloatArray
    """(n_systems, n_tasks)"""
    kind: str
    primary: bool

    def over(self, systems: list[int], tasks: list[int]) -> FloatArray:
        """The cells of some of its systems and tasks."""
        rows = [self.systems.index(system) for system in systems]
        return self.cells[np.ix_(rows, [self.tasks.index(task) for task in tasks])]


def tried(pair: Against) -> Tried:
    tasks = pair.tasks
    systems = pair.complete(tasks)
    cells = pair.x_cells[np.ix_(systems, tasks)]
    means = pair.means(systems, tasks)
    evaluator = pair.evaluator
    at = tuple(systems.tolist()), tuple(tasks.tolist())
    return Tried(evaluator.name, *at, means, cells, evaluator.kind, evaluator.primary)


def against_chance(pair: Against, all_tried: list[Tried]) -> dict[tuple[str, tuple[Any, ...]], Chance]:
    """(level, evaluator) -> its columns; evaluators without a coefficient are absent. pair: any of the question."""
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Tried]] = {}
    for entry in all_tried:
        groups.setdefault((entry.systems, entry.tasks), []).append(entry)
    found: dict[tuple[str, tuple[Any, ...]], Chance] = {}
    for (systems, tasks), group in groups.items():
        if len(systems) < MIN_SYSTEMS or not tasks:
            continue
        at = np.array(systems), np.array(tasks)
        votes = pair.question.of(*at)
        mos = vote_means(votes["system"].to_numpy(), votes["score"].to_numpy(), at[0])
        live = [(entry.name, entry.means[:, None]) for entry in group if not is_constant(entry.means)]
        if not is_constant(mos):
            found |= _of_level(pair, SYSTEM_LEVEL, live, mos[:, None])
        cells = pair.question.cells[np.ix_(*at)]
        useful = [k for k in range(len(tasks)) if not is_constant(cells[:, k])]
        varied = [
            (entry.name, _standardised(entry.cells[:, useful]))
            for entry in group
            if useful and not any(is_constant(entry.cells[:, k]) for k in useful)
        ]
        if useful:
            found |= _of_level(pair, WITHIN, varied, _standardised(cells[:, useful]))
    return found


def _of_level(
    pair: Against, level: str, live: list[tuple[tuple[Any, ...], FloatArray]], mos: FloatArray
) -> dict[tuple[str, tuple[Any, ...]], Chance]:
    if not live:
        return {}
    settings = pair.inputs.settings
    matrix = np.stack([values for _, values in live])
    result = max_statistic(matrix, mos, n_draws=settings.n_draws, seed=settings.seed)
    return {
        (level, name): Chance(or_none(float(p)), or_none(result.critical), len(live))
        for (name, _), p in zip(live, result.p, strict=True)
    }


def _standardised(cells: FloatArray) -> FloatArray:
    """Each task's column with mean 0 and standard deviation 1 over systems."""
    scaled: FloatArray = (cells - cells.mean(axis=0)) / cells.std(axis=0)
    return scaled
