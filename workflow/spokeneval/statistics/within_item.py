"""Agreement item by item: for the same prompt, does the evaluator order the models as people do?

Conventions
-----------
- Metric and target are (n_systems, n_items), higher is better, NaN where missing. A coefficient is taken over the
  systems of one item that have both, and averaged over items (mt-metrics-eval's `average_by=item`): what makes an
  item easy for all systems is not in it.
- Items with fewer than 3 systems, or with one side the same for all of them, have no coefficient: they are dropped,
  counted, and never taken as 0.
- The interval is a cluster bootstrap over the items kept, systems fixed. Ratings of single items are noisy: the mean
  is far below 1 for a perfect metric, and is to be compared between evaluators, not with 1.
- acc23 (Deutsch, Foster & Freitag 2023, arXiv 2305.14324): over the pairs of systems of an item, (concordant + tied in
  both) / all, averaged over items. A metric of real numbers never ties, people do; so metric differences up to one
  epsilon count as ties, and epsilon is the one that makes acc23 largest **on these data**: it favours every metric a
  little, all alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.correlation import MIN_SYSTEMS, Coefficient, is_constant, pair_signs, unit_vectors
from spokeneval.statistics.intervals import N_DRAWS, FloatArray, cluster_bootstrap, cluster_codes


@dataclass(frozen=True)
class WithinItem:
    """Mean over items of the coefficient over systems; NaN where no item has one."""

    value: float
    low: float
    high: float
    n_items: int
    """items with a coefficient"""
    n_constant: int
    """items dropped because one side is the same for all systems"""
    n_few: int
    """items dropped because fewer than 3 systems have both sides"""
    reason: str | None = None


@dataclass(frozen=True)
class TieCalibrated:
    """acc23 with the epsilon that makes it largest; NaN where no item has a pair of systems."""

    value: float
    epsilon: float
    """metric differences up to it count as ties; 0 where only equal values tie"""
    uncalibrated: float
    """with epsilon 0"""
    n_items: int
    n_pairs: int
    reason: str | None = None


def within_item(
    metric: ArrayLike,
    target: ArrayLike,
    coefficient: Coefficient = "pearson",
    clusters: Sequence[Any] | NDArray[Any] | None = None,
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> WithinItem:
    """Mean over items of the coefficient over systems; both (n_systems, n_items), NaN where missing.

    clusters: (n_items,) of items that move together; None for independent items. Raises SpokenevalError for unequal
    shapes or infinite values.
    """
    x, y = _both(metric, target)
    codes, _ = cluster_codes(clusters, x.shape[1])
    present = ~np.isnan(x + y)
    counts = present.sum(axis=0)
    found = np.full(x.shape[1], np.nan)
    for pattern in np.unique(present.T, axis=0):
        if pattern.sum() < MIN_SYSTEMS:
            continue
        of_pattern = np.flatnonzero((pattern == present.T).all(axis=1))
        rows = np.flatnonzero(pattern)
        a, b = x[np.ix_(rows, of_pattern)].T, y[np.ix_(rows, of_pattern)].T
        live = np.array([not (is_constant(u) or is_constant(v)) for u, v in zip(a, b, strict=True)], dtype=bool)
        if live.any():
            products = (unit_vectors(a[live], coefficient) * unit_vectors(b[live], coefficient)).sum(axis=-1)
            found[of_pattern[live]] = np.clip(products, -1.0, 1.0)
    kept = np.isfinite(found)
    n_few = int((counts < MIN_SYSTEMS).sum())
    n_constant = int((~kept).sum()) - n_few
    if not kept.any():
        reason = f"no item has {MIN_SYSTEMS} systems that differ on both sides"
        return WithinItem(math.nan, math.nan, math.nan, 0, n_constant, n_few, reason)
    interval = cluster_bootstrap(found[kept], codes[kept], n_draws, seed, confidence)
    return WithinItem(
        float(found[kept].mean()), interval.low, interval.high, int(kept.sum()), n_constant, n_few, interval.reason
    )


def tie_calibrated_accuracy(metric: ArrayLike, target: ArrayLike) -> TieCalibrated:
    """acc23 by item with one epsilon for all items; both (n_systems, n_items), NaN where missing."""
    x, y = _both(metric, target)
    first, second = np.triu_indices(len(x), 1)
    apart, wanted = x[first] - x[second], _signs(y, first, second)
    present = ~np.isnan(apart) & ~np.isnan(y[first] - y[second])
    n_of_item = present.sum(axis=0)
    used = int((n_of_item > 0).sum())
    if not used:
        return TieCalibrated(math.nan, math.nan, math.nan, 0, 0, "no item has two systems")
    weight = np.where(n_of_item > 0, 1.0 / np.maximum(n_of_item, 1) / used, 0.0)
    weights = np.broadcast_to(weight, apart.shape)[present]
    size, sign, goal = np.abs(apart)[present], _signs(x, first, second)[present], wanted[present]
    size = np.where(sign == 0, 0.0, size)
    # what a pair adds while it is told apart, and once it counts as tied
    told, tied = weights * ((sign == goal) & (sign != 0)), weights * (goal == 0)
    order = np.argsort(size, kind="stable")
    size, gain = size[order], (tied - told)[order]
    at_epsilon = told.sum() + np.concatenate([[0.0], np.cumsum(gain)])
    # only where the next size is larger do all equal differences tie together
    ends = np.flatnonzero(np.append(np.diff(size) > 0, True)) + 1
    if size[0] > 0:
        ends = np.insert(ends, 0, 0)
    best = ends[int(np.argmax(np.round(at_epsilon[ends], 12)))]
    epsilon = 0.0 if best == 0 else float(size[best - 1])
    exact = int(np.searchsorted(size, 0.0, side="right"))
    return TieCalibrated(float(at_epsilon[best]), epsilon, float(at_epsilon[exact]), used, int(present.sum()))


def _signs(values: FloatArray, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.int8]:
    """(n_pairs, n_items) sign of the difference of two systems, ties up to rounding 0; of missing ones anything."""
    signs: NDArray[np.int8] = pair_signs(np.nan_to_num(values.T))[:, first, second].T
    return signs


def _both(metric: ArrayLike, target: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(metric, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.ndim != 2 or x.shape != y.shape or np.isinf(x).any() or np.isinf(y).any():
        raise SpokenevalError(
            f"within item: expected finite or missing values (n_systems, n_items) twice, got {x.shape} and {y.shape}"
        )
    return x, y
