"""Two models on the same items: tests of the difference, adjustment for many pairs, and what could have been seen.

Conventions
-----------
- A difference is verdict(A) - verdict(B) of one item, in {-1, -0.5, 0, 0.5, 1}. Items that either model lacks are
  left out by the caller.
- Sign-flip test (Fisher 1935): under the null hypothesis the two models may be exchanged. Items of one cluster are
  exchanged together. Two-sided; exact where there are at most 2^16 sign patterns, otherwise by seeded draws with
  p = (b + 1) / (m + 1), b of m draws at least as far from 0 as what was seen (Phipson & Smyth 2010).
- Exact McNemar (1947) is the same test for independent items without ties.
- Holm (1979) over a family fixed beforehand. Compact letters: Piepho 2004, by insertion and absorption.
- Minimal detectable difference: (z_{1 - alpha/2} + z_{power}) sqrt(discordance / n), discordance the mean of the
  squared differences (the share of items on which the two models differ, where there are no ties). 2.80
  sqrt(discordance / n) at 80 % power, 5 %.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.intervals import N_DRAWS, FloatArray, cluster_codes, finite_vector

MAX_EXACT_CLUSTERS = 16
"""2^16 sign patterns are enumerated; more are drawn."""
_FLIPS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class SignFlip:
    """A two-sided sign-flip test."""

    p: float
    """in (0, 1]; NaN without items"""
    difference: float
    """mean of the differences"""
    n: int
    n_clusters: int
    n_informative: int
    """clusters whose differences do not cancel: only these can be flipped to effect"""
    method: str
    reason: str | None = None


@dataclass(frozen=True)
class McNemar:
    p: float
    n: int
    n_only_a: int
    """items that A alone has right"""
    n_only_b: int


def sign_flip(
    differences: ArrayLike,
    clusters: Sequence[Any] | NDArray[Any] | None = None,
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
) -> SignFlip:
    """Sign-flip permutation test of mean difference 0.

    differences: (n_items,), finite; clusters: (n_items,) labels, None for independent items. p is 1 where every
    cluster's differences cancel. Raises SpokenevalError for NaN.
    """
    d = finite_vector(differences, "differences")
    codes, n_clusters = cluster_codes(clusters, len(d))
    if len(d) == 0:
        return SignFlip(math.nan, math.nan, 0, 0, 0, "none", "no items")
    sums = np.bincount(codes, d, n_clusters)
    slack = 1e-9 * max(float(np.abs(d).max()), 1e-300)
    informative = sums[np.abs(sums) > slack]
    k = len(informative)
    # a draw that equals what was seen up to the order of addition counts as equal
    bar = abs(float(informative.sum())) - slack
    if k <= MAX_EXACT_CLUSTERS:
        p = float(np.mean(np.abs(_all_signs(k) @ informative) >= bar))
        method = f"exact sign flip, 2^{k} patterns"
    else:
        rng = np.random.default_rng(seed)
        at_once = max(1, _FLIPS_AT_ONCE // k)
        b = 0
        for start in range(0, n_draws, at_once):
            signs = rng.integers(0, 2, size=(min(at_once, n_draws - start), k), dtype=np.int8) * 2.0 - 1.0
            b += int(np.count_nonzero(np.abs(signs @ informative) >= bar))
        p = (b + 1) / (n_draws + 1)
        method = f"sign flip, {n_draws} draws"
    return SignFlip(p, float(d.mean()), len(d), n_clusters, k, method)


def _all_signs(k: int) -> FloatArray:
    """(2^k, k) of -1 and 1."""
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    return bits.astype(np.float64) * 2 - 1


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of two models' verdicts on independent items, all 0 or 1.

    Raises SpokenevalError where there are ties: use `sign_flip`.
    """
    x, y = finite_vector(a, "a"), finite_vector(b, "b")
    if len(x) != len(y):
        raise SpokenevalError(f"mcnemar: a has {len(x)} verdicts and b has {len(y)}; expected the same items")
    if not (np.isin(x, (0.0, 1.0)).all() and np.isin(y, (0.0, 1.0)).all()):
        raise SpokenevalError("mcnemar: expected verdicts 0 and 1 only; where there are ties use sign_flip")
    only_a, only_b = int(np.count_nonzero(x > y)), int(np.count_nonzero(y > x))
    p = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return McNemar(p, len(x), only_a, only_b)


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's adjusted p-values, in the order given, at most 1. Raises SpokenevalError outside [0, 1] or for NaN."""
    p = finite_vector(p_values, "p_values")
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise SpokenevalError(f"holm: expected p-values in [0, 1], got {p.min()} .. {p.max()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def compact_letters(
    names: Sequence[str], adjusted_p: Mapping[tuple[str, str], float], alpha: float = 0.05
) -> dict[str, str]:
    """Letters such that two names share one exactly where their adjusted p is >= alpha.

    names: best first (letters begin there); adjusted_p: one entry a pair, in either order. Raises SpokenevalError
    where a pair is missing or NaN. A-B .2, B-C .2, A-C .01 -> a, ab, b.
    """
    if len(set(names)) != len(names):
        raise SpokenevalError("compact_letters: a name occurs twice")
    groups: list[frozenset[int]] = [frozenset(range(len(names)))] if names else []
    for i, j in combinations(range(len(names)), 2):
        p = adjusted_p.get((names[i], names[j]), adjusted_p.get((names[j], names[i]), math.nan))
        if math.isnan(p):
            raise SpokenevalError(f"compact_letters: no p-value for '{names[i]}' and '{names[j]}'")
        if p < alpha:
            split = {g - {k} for g in groups if i in g and j in g for k in (i, j)}
            groups = _maximal([g for g in groups if not (i in g and j in g)] + sorted(split, key=sorted))
    groups.sort(key=sorted)
    letters = [*string.ascii_lowercase, *string.ascii_uppercase, *(f"({k})" for k in range(53, len(groups) + 1))]
    return {name: "".join(letters[k] for k, g in enumerate(groups) if i in g) for i, name in enumerate(names)}


def _maximal(groups: list[frozenset[int]]) -> list[frozenset[int]]:
    """Groups that are in no other group."""
    unique = list(dict.fromkeys(groups))
    return [g for g in unique if not any(g < other for other in unique)]


def design_effect(differences: ArrayLike, clusters: Sequence[Any] | NDArray[Any]) -> float:
    """How many times the variance of the mean exceeds that of independent items, under the null hypothesis of no
    difference.

    Sum over clusters of the squared sum of differences, over the sum of squared differences; NaN where all
    differences are 0. 1 for clusters of one item, the cluster size for identical differences in a cluster.
    """
    d = finite_vector(differences, "differences")
    codes, n_clusters = cluster_codes(clusters, len(d))
    squares = float(d @ d)
    sums = np.bincount(codes, d, n_clusters)
    return float(sums @ sums) / squares if squares > 0 else math.nan


def minimal_detectable_difference(
    discordance: float, n: int, alpha: float = 0.05, power: float = 0.8, effect_of_design: float = 1.0
) -> float:
    """Difference in share, in [0, 1], that a two-sided test at `alpha` sees with probability `power`.

    discordance: mean squared difference of verdicts, in [0, 1]; n: items; alpha / m gives the strictest level of Holm
    over m pairs; effect_of_design: `design_effect` where items are clustered. n = 200, discordance .30: .108. Never
    above 1.
    """
    if not 0 <= discordance <= 1 or n < 1 or not 0 < alpha < 1 or not 0 < power < 1 or not effect_of_design > 0:
        raise SpokenevalError(
            "minimal_detectable_difference: expected discordance in [0, 1], n >= 1, alpha and power in (0, 1), "
            f"effect_of_design > 0, got {discordance}, {n}, {alpha}, {power}, {effect_of_design}"
        )
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return min(1.0, z * math.sqrt(discordance * effect_of_design / n))
