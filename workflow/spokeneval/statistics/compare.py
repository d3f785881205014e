"""Which of two evaluators agrees better with the target, and what the best of many would reach by chance.

Conventions
-----------
- Evaluators and target are oriented so that higher is better, `(n_systems,)` or `(n_systems, n_tasks)`.
- Cells of one system are not independent: permutations exchange whole systems, all their tasks together.
- Williams' test (Williams 1959; Steiger 1980, eq. 7) compares two Pearson correlations that share the target, at the
  system level only. One-sided p is for 'a agrees better than b'.
- PERM-BOTH (Deutsch, Dror & Roth 2021, arXiv 2104.00054): both evaluators are standardised, then exchanged system by
  system with probability 1/2; the statistic is the difference of the coefficients.
- Max-statistic (Westfall & Young 1993): the systems of the target are permuted, and each evaluator is compared with
  the best of all.
- p = (b + 1) / (m + 1) over m seeded draws; exact, over all permutations, where there are at most m of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.correlation import MIN_SYSTEMS, Coefficient, is_constant, unit_vectors
from spokeneval.statistics.intervals import N_DRAWS, FloatArray

Alternative = Literal["greater", "two-sided"]

_SLACK = 1e-10
"""Permutations whose statistic equals what was seen up to the order of addition count as equal."""
_ENTRIES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Williams:
    t: float
    df: int
    p_one_sided: float
    p_two_sided: float
    reason: str | None = None


@dataclass(frozen=True)
class PermutedDifference:
    """Difference of two coefficients with its permutation p; NaN with a reason where there is none."""

    difference: float
    a: float
    b: float
    p: float
    n_systems: int
    method: str
    reason: str | None = None


@dataclass(frozen=True)
class MaxStatistic:
    """Coefficients of many evaluators, with p-values that account for having looked at all."""

    coefficients: FloatArray
    """(n_evaluators,) NaN where an evaluator is the same everywhere"""
    p: FloatArray
    """(n_evaluators,) adjusted; NaN likewise"""
    critical: float
    """what the best of them exceeds by chance in 5 % of permutations"""
    n_systems: int
    method: str
    reason: str | None = None


def williams(r_a: float, r_b: float, r_ab: float, n: int) -> Williams:
    """Williams' t for r(a, target) > r(b, target), with r_ab = r(a, b), over n systems; df = n - 3.

    r .95 against .80, r_ab .85: one-sided p .115 (n = 6), .056 (8), .028 (10), .006 (15). Raises SpokenevalError
    outside [-1, 1] and where no data could have the three correlations.
    """
    if not all(-1 <= r <= 1 for r in (r_a, r_b, r_ab)):
        raise SpokenevalError(f"williams: expected correlations in [-1, 1], got {r_a}, {r_b}, {r_ab}")
    determinant = 1 - r_a**2 - r_b**2 - r_ab**2 + 2 * r_a * r_b * r_ab
    if determinant < -1e-9:
        raise SpokenevalError(f"williams: no data have the correlations {r_a}, {r_b}, {r_ab} together")
    if n < 4:
        return Williams(math.nan, n - 3, math.nan, math.nan, f"{n} systems: Williams' test needs 4")
    mean = (r_a + r_b) / 2
    variance = 2 * (n - 1) / (n - 3) * max(determinant, 0.0) + mean**2 * (1 - r_ab) ** 3
    if variance <= 1e-15:
        return Williams(math.nan, n - 3, math.nan, math.nan, "the two evaluators are the same up to scale")
    t = (r_a - r_b) * math.sqrt((n - 1) * (1 + r_ab) / variance)
    return Williams(t, n - 3, float(stdtr(n - 3, -t)), 2 * float(stdtr(n - 3, -abs(t))))


def permute_both(
    a: ArrayLike,
    b: ArrayLike,
    target: ArrayLike,
    coefficient: Coefficient = "pearson",
    within_task: bool = False,
    alternative: Alternative = "two-sided",
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
) -> PermutedDifference:
    """PERM-BOTH: does evaluator a agree better (or otherwise) with the target than b?

    a, b, target: (n_systems,) or (n_systems, n_tasks), finite. within_task: the coefficient is taken over systems in
    each task and averaged; otherwise over all cells.
    """
    x, z, y = _cells(a, "a"), _cells(b, "b"), _cells(target, "target")
    if not x.shape == z.shape == y.shape:
        raise SpokenevalError(f"permute_both: expected equal shapes, got {x.shape}, {z.shape} and {y.shape}")
    n_systems = len(x)
    blocks = _blocks(x, within_task), _blocks(z, within_task), _blocks(y, within_task)
    constant = [n for n, side in zip(("a", "b", "target"), blocks, strict=True) if any(is_constant(v) for v in side)]
    if n_systems < MIN_SYSTEMS or constant:
        what = f"{n_systems} systems: a correlation needs {MIN_SYSTEMS}"
        reason = f"{', '.join(constant)}: the same for all systems" if constant else what
        return PermutedDifference(math.nan, math.nan, math.nan, math.nan, n_systems, "none", reason)
    first, second = (np.stack([(v - v.mean()) / v.std() for v in side]) for side in blocks[:2])
    goal = unit_vectors(blocks[2], coefficient)
    # system of each column of a block
    owner = np.arange(n_systems) if within_task else np.repeat(np.arange(n_systems), x.shape[1])
    exact = 2**n_systems <= n_draws
    rng = np.random.default_rng(seed)
    if exact:
        swaps = ((np.arange(2**n_systems)[:, None] >> np.arange(n_systems)) & 1).astype(bool)
    else:
        swaps = rng.integers(0, 2, size=(n_draws, n_systems)).astype(bool)
    before = [float((unit_vectors(side, coefficient) * goal).sum(axis=-1).mean()) for side in (first, second)]
    observed = before[0] - before[1]
    size = goal.size * 2
    parts = []
    for start in range(0, len(swaps), max(1, _ENTRIES_AT_ONCE // size)):
        swap = swaps[start : start + max(1, _ENTRIES_AT_ONCE // size)][:, None, owner]
        with np.errstate(invalid="ignore", divide="ignore"):
            ra = (unit_vectors(np.where(swap, second, first), coefficient) * goal).sum(axis=-1).mean(axis=-1)
            rb = (unit_vectors(np.where(swap, first, second), coefficient) * goal).sum(axis=-1).mean(axis=-1)
        parts.append(ra - rb)
    null = np.concatenate(parts)
    # a permutation without a coefficient (NaN) counts against the evaluators
    if alternative == "two-sided":
        extreme = ~(np.abs(null) < abs(observed) - _SLACK)
    else:
        extreme = ~(null < observed - _SLACK)
    p = float(extreme.mean()) if exact else (int(extreme.sum()) + 1) / (n_draws + 1)
    method = f"exact, 2^{n_systems} exchanges" if exact else f"{n_draws} draws"
    return PermutedDifference(observed, before[0], before[1], p, n_systems, method)


def max_statistic(
    evaluators: ArrayLike,
    target: ArrayLike,
    coefficient: Coefficient = "pearson",
    alternative: Alternative = "greater",
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
) -> MaxStatistic:
    """Coefficient of each evaluator with the target, p against the best of all evaluators under permuted systems.

    evaluators: (n_evaluators, n_systems) or (n_evaluators, n_systems, n_tasks); target: (n_systems,) or (n_systems,
    n_tasks), finite. Evaluators that are the same everywhere have NaN and take no part; `reason` counts them.
    """
    y = _cells(target, "target")
    x = np.asarray(evaluators, dtype=np.float64)
    x = x[..., None] if np.ndim(target) == 1 and x.ndim == 2 else x
    if x.ndim != 3 or x.shape[1:] != y.shape or not np.isfinite(x).all():
        raise SpokenevalError(f"max_statistic: expected finite evaluators of shape (k, {y.shape}), got {x.shape}")
    n, n_evaluators = len(y), len(x)
    flat = x.reshape(n_evaluators, -1)
    live = np.array([not is_constant(v) for v in flat], dtype=bool)
    nothing = np.full(n_evaluators, np.nan)
    if n < MIN_SYSTEMS or is_constant(y.ravel()) or not live.any():
        few = f"{n} systems: a correlation needs {MIN_SYSTEMS}"
        reason = few if n < MIN_SYSTEMS else "target or all evaluators are the same for all systems"
        return MaxStatistic(nothing, nothing.copy(), math.nan, n, "none", reason)
    exact = math.factorial(n) <= n_draws
    orders = _orders(n, n_draws, exact, np.random.default_rng(seed))
    sides = unit_vectors(flat[live], coefficient)
    observed = sides @ unit_vectors(y.reshape(1, -1), coefficient)[0]
    best = []
    at_once = max(1, _ENTRIES_AT_ONCE // (sides.shape[1] * 2))
    for start in range(0, len(orders), at_once):
        shuffled = y[orders[start : start + at_once]].reshape(-1, y.size)
        null = unit_vectors(shuffled, coefficient) @ sides.T
        best.append((np.abs(null) if alternative == "two-sided" else null).max(axis=1))
    highest = np.sort(np.concatenate(best))
    seen = np.abs(observed) if alternative == "two-sided" else observed
    at_least = len(highest) - np.searchsorted(highest, seen - _SLACK, side="left")
    coefficients, p = nothing, nothing.copy()
    coefficients[live] = observed
    p[live] = at_least / len(highest) if exact else (at_least + 1) / (n_draws + 1)
    method = f"exact, {n}! permutations" if exact else f"{n_draws} draws"
    constant = int((~live).sum())
    note = f"{constant} of {n_evaluators} evaluators are the same for all systems" if constant else None
    return MaxStatistic(coefficients, p, float(np.quantile(highest, 0.95)), n, method, note)


def _orders(n: int, n_draws: int, exact: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n_permutations, n) orders of the systems."""
    if exact:
        return np.array(list(permutations(range(n))), dtype=np.int64)
    return rng.permuted(np.tile(np.arange(n, dtype=np.int64), (n_draws, 1)), axis=1)


def _cells(values: ArrayLike, name: str) -> FloatArray:
    cells = np.asarray(values, dtype=np.float64)
    cells = cells[:, None] if cells.ndim == 1 else cells
    if cells.ndim != 2 or not np.isfinite(cells).all():
        raise SpokenevalError(f"{name}: expected finite values (n_systems,) or (n_systems, n_tasks), got {cells.shape}")
    return cells


def _blocks(cells: FloatArray, within_task: bool) -> FloatArray:
    """(n_blocks, n_values) that a coefficient is taken over: one row a task, or one row of all cells."""
    return cells.T if within_task else cells.reshape(1, -1)
