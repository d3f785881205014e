"""Coefficients of agreement between an evaluator and a target (people, a judge) over systems or cells.

Conventions
-----------
- x is the evaluator, y the target; one entry a system (or cell), both oriented so that higher is better. Signs are
  kept: no coefficient is made absolute.
- A coefficient of fewer than 3 systems, or of a side that is constant, is NaN with a reason, never 0.
- Values that differ by less than 1e-12 of the larger magnitude are ties: means of the same verdicts added in another
  order are equal.
- The interval is for **new systems** drawn like these, on Fisher's z (Fisher 1921): variance 1 / (n - 3) for Pearson,
  1.06 / (n - 3) for Spearman, 0.437 / (n - 4) for Kendall (Fieller, Hartley & Pearson 1957). It carries no item or
  rater noise of its own, and needs 5 systems: exact two-sided Spearman p cannot go below .083 with 4. For these very
  systems see `reliability`.
- Pairwise accuracy: (concordant + tied in both) / all pairs, 'acc23' of Deutsch, Foster & Freitag 2023; a pair tied
  on one side only is wrong. Soft pairwise accuracy: Thompson et al. 2024 (arXiv 2409.09598).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.intervals import FloatArray, finite_vector, normal_quantile

Coefficient = Literal["pearson", "spearman", "kendall"]

MIN_SYSTEMS = 3
MIN_SYSTEMS_INTERVAL = 5
_TIE = 1e-12


@dataclass(frozen=True)
class Correlation:
    """A coefficient in [-1, 1] (NaN where there is none) and its interval for new systems (NaN where there is none)."""

    value: float
    low: float
    high: float
    n: int
    reason: str | None = None
    """why there is no value, or no interval; None where there are both"""


@dataclass(frozen=True)
class PairwiseAccuracy:
    """Share of pairs of systems that both sides order alike; `value` is NaN without pairs."""

    value: float
    n_pairs: int
    n_concordant: int
    n_discordant: int
    n_tied_x: int
    """tied by the evaluator only"""
    n_tied_y: int
    """tied by the target only"""
    n_tied_both: int
    reason: str | None = None


@dataclass(frozen=True)
class SoftPairwiseAccuracy:
    value: float
    n_pairs: int
    reason: str | None = None


def both_sides(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The two sides as float64 vectors of one length. Raises SpokenevalError for NaN or unequal lengths."""
    a, b = finite_vector(x, "x"), finite_vector(y, "y")
    if len(a) != len(b):
        raise SpokenevalError(f"correlation: x has {len(a)} values and y has {len(b)}; expected one pair a system")
    return a, b


def is_constant(values: FloatArray) -> bool:
    """All values tied, up to rounding."""
    return bool(np.ptp(values) <= _TIE * np.abs(values).max()) if len(values) else True


def pair_signs(values: FloatArray) -> NDArray[np.int8]:
    """(..., n) -> (..., n, n): sign of values[i] - values[j], ties (up to rounding) 0."""
    difference = values[..., :, None] - values[..., None, :]
    scale = np.abs(values).max(axis=-1, initial=0.0)[..., None, None]
    signs: NDArray[np.int8] = (np.sign(difference) * (np.abs(difference) > _TIE * scale)).astype(np.int8)
    return signs


def ranks(values: FloatArray) -> FloatArray:
    """Ranks 1 .. n along the last axis, ties share their mean rank."""
    n = values.shape[-1]
    return np.asarray((n + 1) / 2 + pair_signs(values).sum(axis=-1, dtype=np.int64) / 2, dtype=np.float64)


def unit_vectors(values: FloatArray, coefficient: Coefficient) -> FloatArray:
    """Unit vectors along the last axis whose dot product is the coefficient; NaN where there is none."""
    if coefficient == "kendall":
        signs = pair_signs(values)
        vectors = signs.reshape(*signs.shape[:-2], -1).astype(np.float64)
    elif coefficient in ("pearson", "spearman"):
        vectors = ranks(values) if coefficient == "spearman" else values
        vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    else:
        raise SpokenevalError(f"coefficient: expected pearson, spearman or kendall, got '{coefficient}'")
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: FloatArray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def pearson_r(a: FloatArray, b: FloatArray) -> float:
    """Pearson's r of two vectors that are not constant."""
    u, v = a - a.mean(), b - b.mean()
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return float(np.clip(u @ v, -1.0, 1.0))


def _why_none(a: FloatArray, b: FloatArray) -> str | None:
    if len(a) < MIN_SYSTEMS:
        return f"{len(a)} systems: a correlation needs {MIN_SYSTEMS}"
    constant = [name for name, side in (("x", a), ("y", b)) if is_constant(side)]
    if constant:
        return f"{' and '.join(constant)} {'is' if len(constant) == 1 else 'are'} the same for all systems"
    return None


def fisher_interval(r: float, n: int, variance: float, confidence: float = 0.95) -> tuple[float, float, str | None]:
    """tanh(atanh r -/+ z sqrt(variance)), and a reason where there is none (n < 5; r = 1 or -1)."""
    if n < MIN_SYSTEMS_INTERVAL:
        return math.nan, math.nan, f"{n} systems: an interval for new systems needs {MIN_SYSTEMS_INTERVAL}"
    if abs(r) >= 1 - _TIE:
        return math.nan, math.nan, f"the coefficient is exactly {r:+.0f}: Fisher's z gives no interval"
    half = normal_quantile(confidence) * math.sqrt(variance)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), None


def _with_interval(r: float, n: int, variance: float, confidence: float) -> Correlation:
    low, high, reason = fisher_interval(r, n, variance, confidence)
    return Correlation(r, low, high, n, reason)


def pearson(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Pearson's r with Fisher's interval for new systems, variance 1 / (n - 3)."""
    a, b = both_sides(x, y)
    n, why = len(a), _why_none(a, b)
    if why is not None:
        return Correlation(math.nan, math.nan, math.nan, n, why)
    return _with_interval(pearson_r(a, b), n, 1 / max(n - 3, 1), confidence)


def spearman(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Spearman's rho (mean ranks for ties), variance 1.06 / (n - 3) on Fisher's z."""
    a, b = both_sides(x, y)
    n, why = len(a), _why_none(a, b)
    if why is not None:
        return Correlation(math.nan, math.nan, math.nan, n, why)
    return _with_interval(pearson_r(ranks(a), ranks(b)), n, 1.06 / max(n - 3, 1), confidence)


def kendall(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Kendall's tau-b, variance 0.437 / (n - 4) on Fisher's z. Memory grows with n squared."""
    a, b = both_sides(x, y)
    n, why = len(a), _why_none(a, b)
    if why is not None:
        return Correlation(math.nan, math.nan, math.nan, n, why)
    s, t = pair_signs(a), pair_signs(b)
    product = (s * t).sum(dtype=np.int64)
    norm = math.sqrt(np.count_nonzero(s)) * math.sqrt(np.count_nonzero(t))
    tau = float(np.clip(product / norm, -1.0, 1.0))
    return _with_interval(tau, n, 0.437 / max(n - 4, 1), confidence)


def pairwise_accuracy(x: ArrayLike, y: ArrayLike) -> PairwiseAccuracy:
    """(concordant + tied in both) / pairs, over all pairs of systems, with the counts that it is made of."""
    a, b = both_sides(x, y)
    n = len(a)
    if n < 2:
        return PairwiseAccuracy(math.nan, 0, 0, 0, 0, 0, 0, f"{n} systems: no pair")
    upper = np.triu_indices(n, 1)
    s, t = pair_signs(a)[upper], pair_signs(b)[upper]
    n_pairs = len(s)
    concordant = int(np.count_nonzero(s * t > 0))
    discordant = int(np.count_nonzero(s * t < 0))
    both = int(np.count_nonzero((s == 0) & (t == 0)))
    tied_x = int(np.count_nonzero((s == 0) & (t != 0)))
    tied_y = int(np.count_nonzero((s != 0) & (t == 0)))
    return PairwiseAccuracy((concordant + both) / n_pairs, n_pairs, concordant, discordant, tied_x, tied_y, both)


def soft_pairwise_accuracy(
    x_items: ArrayLike, y_items: ArrayLike, n_draws: int = 1000, seed: int | np.random.Generator = 0
) -> SoftPairwiseAccuracy:
    """Mean over pairs of systems of 1 - |p_x - p_y|, p the one-sided p that the first is better by its items (SPA).

    x_items: (n_systems, n_items) evaluator per item; y_items: (n_systems, n_rated_items) ratings per item, columns
    the same items for all systems, NaN where missing (a pair is compared on the items both have). p by paired sign
    flips, draws that equal what was observed counted 1/2, so that equal systems give .5 and turning both sides round
    changes nothing.
    """
    a, b = np.asarray(x_items, dtype=np.float64), np.asarray(y_items, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise SpokenevalError(
            "soft pairwise accuracy: expected (n_systems, n_items) twice, with equal n_systems, "
            f"got {a.shape} and {b.shape}"
        )
    n = len(a)
    if n < 2:
        return SoftPairwiseAccuracy(math.nan, 0, f"{n} systems: no pair")
    rng = np.random.default_rng(seed)
    px, py = _one_sided(a, n_draws, rng), _one_sided(b, n_draws, rng)
    apart = [f"{i} and {j}" for k, (i, j) in enumerate(combinations(range(n), 2)) if np.isnan(px[k] + py[k])]
    if apart:
        return SoftPairwiseAccuracy(math.nan, len(px), f"systems {apart[0]} share no item ({len(apart)} such pairs)")
    return SoftPairwiseAccuracy(float(np.mean(1 - np.abs(px - py))), len(px))


def _one_sided(items: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """(n_pairs,) mid-p that the first system of a pair is better than the second; NaN where no item is shared."""
    signs = rng.integers(0, 2, size=(n_draws, items.shape[1])).astype(np.float64) * 2 - 1
    first, second = np.array(list(combinations(range(len(items)), 2))).T
    difference = items[first] - items[second]
    empty = np.isnan(difference).all(axis=1)
    difference = np.nan_to_num(difference, nan=0.0)
    observed = difference.sum(axis=1)
    null = signs @ difference.T
    slack = _TIE * np.maximum(np.abs(difference).sum(axis=1), 1e-300)
    above = (null > observed + slack).mean(axis=0)
    equal = (np.abs(null - observed) <= slack).mean(axis=0)
    p: FloatArray = above + equal / 2
    p[empty] = np.nan
    return p
