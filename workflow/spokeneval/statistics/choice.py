"""Choosing one evaluator, or combining several, judged only on systems that the choice has not seen.

Conventions
-----------
- Evaluators (n_evaluators, n_systems, n_tasks) and target (n_systems, n_tasks) are finite and oriented so that higher
  is better. The unit of the choice is the system, all its tasks together: splitting items protects nothing, since the
  items of one system share its quality.
- **Leave-pair-out**: for each pair of systems everything is chosen, standardised and fitted without the two (or,
  with groups, without all systems of their groups), then both are predicted; right where the prediction orders them
  as the target does, ties one half; averaged over tasks and pairs. Chance is .5. Why not r over left-out predictions:
  the training mean falls where the left-out value is high, so that a constant predictor has r = -1; of a pair both are
  out of the same training set and nothing of the kind happens (Airola et al. 2011, Comput. Stat. Data Anal. 55).
- 'best': the evaluator with the highest Pearson's r within task, mean over tasks, on the training systems.
- 'ridge' and 'non_negative' (Lawson & Hanson 1974, by scipy): weights of the evaluators, standardised and centred by
  task on the training systems. The penalty of ridge is chosen by leaving out one training system after the other
  (squared error), so that the choice is nested.
- Combination against best: the jackknife over systems of the difference in accuracy (Arvesen 1969, Ann. Math. Stat.
  40), with Student's t. The choices share training systems, so that it is a little liberal: among evaluators that are
  all noise p < .05 came in .04 to .11 of studies of 9 and 14 systems, p < .01 in .01 to .03. Take .01 as the bar.
- Systems of a pair need 3 others to choose on: 5 systems at least. Of many pairs a seeded sample is taken, counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from scipy.special import stdtr

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.correlation import MIN_SYSTEMS, pair_signs, unit_vectors
from spokeneval.statistics.intervals import FloatArray, cluster_codes

Method = Literal["best", "ridge", "non_negative"]
METHODS: tuple[Method, ...] = ("best", "ridge", "non_negative")
MIN_SYSTEMS_CHOICE = MIN_SYSTEMS + 2
MAX_PAIRS = 2_000
PENALTIES = tuple(10.0**k for k in range(-2, 4))
"""Of ridge, in units of the number of training rows."""
BAR = 0.01
"""A combination differs from the best single evaluator where p is below it."""


@dataclass(frozen=True)
class Chosen:
    """One method on systems that it has not seen."""

    method: Method
    accuracy: float
    """share of pairs of left-out systems ordered as the target orders them, in [0, 1]; NaN where there is none"""
    weights: dict[str, float]
    """'best': evaluator -> share of the choices that took it; otherwise its mean weight, per standard deviation"""
    difference: float
    """accuracy minus that of 'best'; NaN for 'best' itself"""
    p: float
    """two-sided, of the difference, see BAR; NaN likewise, and where all systems are in every pair"""


@dataclass(frozen=True)
class Choice:
    methods: tuple[Chosen, ...]
    n_systems: int
    n_pairs: int
    """pairs of systems that were left out in turn"""
    n_pairs_without: int
    """pairs that leave fewer than 3 systems to choose on: not judged"""
    n_pairs_not_drawn: int
    reason: str | None = None


def choose_out_of_fold(
    evaluators: ArrayLike,
    target: ArrayLike,
    names: Sequence[str],
    groups: Sequence[Any] | NDArray[Any] | None = None,
    seed: int | np.random.Generator = 0,
    max_pairs: int = MAX_PAIRS,
) -> Choice:
    """What choosing or combining evaluators gives on systems that took no part in it.

    evaluators: (n_evaluators, n_systems) or (..., n_tasks), target: (n_systems,) or (n_systems, n_tasks). groups:
    (n_systems,) families that are left out whole; None: each system by itself. Raises SpokenevalError for shapes that
    do not fit or values that are not finite.
    """
    x, y = _checked(evaluators, target, names)
    n = len(y)
    codes, _ = cluster_codes(groups, n)
    pairs = np.array(list(combinations(range(n), 2)), dtype=np.int64).reshape(-1, 2)
    others = [int((~np.isin(codes, codes[pair])).sum()) for pair in pairs]
    usable = pairs[np.array(others, dtype=np.int64) >= MIN_SYSTEMS]
    n_without = len(pairs) - len(usable)
    if not len(usable):
        what = f"{n} systems" if groups is None else f"{n} systems in {len(set(codes.tolist()))} groups"
        reason = f"{what}: no pair leaves {MIN_SYSTEMS} others to choose on"
        nothing = tuple(Chosen(m, math.nan, {}, math.nan, math.nan) for m in METHODS)
        return Choice(nothing, n, 0, n_without, 0, reason)
    n_left = max(0, len(usable) - max_pairs)
    if n_left:
        usable = usable[np.sort(np.random.default_rng(seed).choice(len(usable), max_pairs, replace=False))]
    predicted = np.empty((len(METHODS), len(usable), 2, y.shape[1]))
    weights = np.zeros((len(METHODS), len(names)))
    for k, pair in enumerate(usable):
        train = ~np.isin(codes, codes[pair])
        for m, (prediction, weight) in enumerate(_predict(x[:, train], y[train], x[:, pair])):
            predicted[m, k] = prediction
            weights[m] += weight / len(usable)
    wanted = _pair_signs(y[usable])
    right = (1 + _pair_signs(predicted) * wanted).mean(axis=-1) / 2
    found = []
    for m, method in enumerate(METHODS):
        difference, p = math.nan, math.nan
        if m:
            difference = float((right[m] - right[0]).mean())
            p = _jackknife_p(usable, n, right[m] - right[0])
        shares = {name: float(weight) for name, weight in zip(names, weights[m], strict=True)}
        found.append(Chosen(method, float(right[m].mean()), shares, difference, p))
    return Choice(tuple(found), n, len(usable), n_without, n_left)


def _checked(evaluators: ArrayLike, target: ArrayLike, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    y = np.asarray(target, dtype=np.float64)
    x = np.asarray(evaluators, dtype=np.float64)
    if y.ndim == 1 and x.ndim == 2:
        x, y = x[..., None], y[:, None]
    if x.ndim != 3 or y.ndim != 2 or x.shape[1:] != y.shape or len(x) != len(names) or not len(x):
        raise SpokenevalError(
            f"choice: expected evaluators ({len(names)}, {', '.join(map(str, y.shape))}), got {x.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SpokenevalError("choice: expected finite values; leave out systems that lack one, and say so")
    return x, y


def _predict(x: FloatArray, y: FloatArray, out: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Per method: predictions (2, n_tasks) of the systems left out, in training sd, and the weights of evaluators."""
    n, n_tasks = y.shape
    mean = x.mean(axis=1, keepdims=True)
    sd = np.sqrt(((x - mean) ** 2).mean(axis=(1, 2)))
    sd[sd == 0] = np.inf  # the same for all training systems: says nothing
    rows = ((x - mean) / sd[:, None, None]).reshape(len(x), -1).T
    new = ((out - mean) / sd[:, None, None]).reshape(len(x), -1).T
    goal = (y - y.mean(axis=0)).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (unit_vectors(x.transpose(0, 2, 1), "pearson") * unit_vectors(y.T, "pearson")).sum(axis=-1)
    r = np.nan_to_num(r, nan=0.0).mean(axis=-1)
    best = np.zeros(len(x))
    best[int(np.argmax(r))] = 1.0
    fits = [best, _ridge(rows, goal, n, n_tasks), nnls(rows, goal)[0]]
    predictions = []
    for weight in fits:
        spread = float(np.std(rows @ weight))
        shown = new @ weight / spread if spread > 0 else np.zeros(len(new))
        predictions.append((shown.reshape(2, n_tasks), weight))
    return predictions


def _ridge(rows: FloatArray, goal: FloatArray, n: int, n_tasks: int) -> FloatArray:
    """Weights under the penalty that predicts training systems best, each left out with all its tasks."""
    k = rows.shape[1]
    blocks, goals = rows.reshape(n, n_tasks, k), goal.reshape(n, n_tasks)
    of_system = np.einsum("stk,stl->skl", blocks, blocks)
    cross = np.einsum("stk,st->sk", blocks, goals)
    penalty = np.array(PENALTIES) * len(rows)
    ridge = penalty[:, None, None] * np.eye(k)
    left = (of_system.sum(axis=0) - of_system)[:, None] + ridge
    weights = np.linalg.solve(left, np.repeat((cross.sum(axis=0) - cross)[:, None, :, None], len(penalty), axis=1))
    error = goals[:, None] - np.einsum("stk,spk->spt", blocks, weights[..., 0])
    chosen = int(np.argmin((error**2).sum(axis=(0, 2))))
    fitted: FloatArray = np.linalg.solve(of_system.sum(axis=0) + ridge[chosen], cross.sum(axis=0))
    return fitted


def _pair_signs(of_pairs: FloatArray) -> NDArray[np.int8]:
    """(..., 2, n_tasks) -> (..., n_tasks): sign of first minus second, ties (up to rounding) 0."""
    signs: NDArray[np.int8] = pair_signs(np.moveaxis(of_pairs, -2, -1))[..., 0, 1]
    return signs


def _jackknife_p(pairs: NDArray[np.int64], n: int, differences: FloatArray) -> float:
    """Two-sided p that the mean over pairs of systems is 0, by leaving out one system after the other."""
    sums, counts = np.zeros(n), np.zeros(n)
    for k in (0, 1):
        np.add.at(sums, pairs[:, k], differences)
        np.add.at(counts, pairs[:, k], 1)
    rest = len(pairs) - counts
    if (rest == 0).any():
        return math.nan
    without = (differences.sum() - sums) / rest
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    mean = float(differences.mean())
    if error == 0:
        return 1.0 if mean == 0 else math.nan
    return 2 * float(stdtr(n - 1, -abs(mean) / error))
