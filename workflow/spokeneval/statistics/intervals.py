"""Intervals of one share or mean over items.

Conventions
-----------
- Verdicts are 1 (right), 0.5 (tie) or 0 (wrong); a share is their mean, in [0, 1]. Failed items are no verdicts: the
  caller leaves them out and counts them, and a NaN here is an error.
- Wilson's score interval (Wilson 1927) is for independent items. It takes the real-valued number of right ones, ties
  counted 1/2.
- Items that share a speaker, sentence, noise or room are not independent: the percentile cluster bootstrap draws whole
  clusters with replacement and takes the mean over the items drawn (Davison & Hinkley 1997, section 3.8).
- Wilson's interval at the effective number of items (Kish 1965: n over the design effect) holds where a bootstrap of
  few clusters is coarse: 20 clusters of 10 identical verdicts at .70 give [.48, .85].
- Where no honest interval exists (no items, one cluster, all clusters alike) the bounds are NaN and `reason` says
  why: a point printed as an interval reads as certainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from spokeneval.errors import SpokenevalError

FloatArray = NDArray[np.float64]

N_DRAWS = 10_000
_WEIGHTS_AT_ONCE = 4_000_000
"""Entries of the (draws, clusters) weights held at a time: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds; bounds are NaN where there is no interval, and `reason` says why."""

    value: float
    low: float
    high: float
    n: int
    """items"""
    n_clusters: int
    """independent units; equals n where items are taken as independent"""
    method: str
    reason: str | None = None


def normal_quantile(confidence: float) -> float:
    """Two-sided standard normal quantile: 1.96 for 0.95. Raises SpokenevalError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise SpokenevalError(f"confidence: expected a number between 0 and 1, got {confidence}")
    return float(ndtri((1 + confidence) / 2))


def finite_vector(values: ArrayLike, name: str) -> FloatArray:
    """`values` as a float64 vector. Raises SpokenevalError where it is not one-dimensional or not finite."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise SpokenevalError(f"{name}: expected a vector, got shape {vector.shape}")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise SpokenevalError(
            f"{name}: {len(bad)} of {len(vector)} values are not finite (first at position {bad[0]}); "
            "leave failed items out and report how many they are"
        )
    return vector


def cluster_codes(clusters: Sequence[Any] | NDArray[Any] | None, n: int) -> tuple[NDArray[np.int64], int]:
    """Codes 0 .. n_clusters - 1 of the items, and n_clusters. None: each item is its own cluster."""
    if clusters is None:
        return np.arange(n, dtype=np.int64), n
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise SpokenevalError(f"clusters: expected one per item, shape ({n},), got shape {labels.shape}")
    unique, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int64).reshape(n), len(unique)


def wilson(n_correct: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share of independent items.

    n_correct: in [0, n], ties counted 1/2, so not always whole. With n = 0 everything is NaN, with a reason.
    """
    z = normal_quantile(confidence)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, "wilson", "no items")
    # accuracy * n need not come back as the exact product: allow rounding, nothing more
    if n < 0 or not -1e-9 * n <= n_correct <= n * (1 + 1e-9):
        raise SpokenevalError(f"wilson: expected 0 <= n_correct <= n, got n_correct = {n_correct}, n = {n}")
    p = min(max(n_correct / n, 0.0), 1.0)
    low, high = _wilson_bounds(p, n, z)
    return Interval(p, low, high, n, n, "wilson")


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[Any] | NDArray[Any] | None = None,
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of the mean over items, whole clusters drawn with replacement.

    values: (n_items,), finite; clusters: (n_items,) labels, None for independent items. The result depends on the
    labels only through the partition and its sorted order. No interval for no items, one cluster, or clusters whose
    means are all equal.
    """
    normal_quantile(confidence)
    if n_draws < 1:
        raise SpokenevalError(f"n_draws: expected at least 1, got {n_draws}")
    vector = finite_vector(values, "values")
    n = len(vector)
    codes, n_clusters = cluster_codes(clusters, n)
    method = "cluster bootstrap" if clusters is not None else "bootstrap"
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, method, "no items")
    sums = np.bincount(codes, vector, n_clusters).astype(np.float64)
    counts = np.bincount(codes, minlength=n_clusters).astype(np.float64)
    mean = float(vector.mean())
    if n_clusters < 2:
        return Interval(mean, math.nan, math.nan, n, n_clusters, method, "all items are of one cluster: no interval")
    if np.ptp(sums / counts) <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, math.nan, math.nan, n, n_clusters, method, "all clusters have the same mean: no interval")
    draws = _draw_means(sums, counts, n_draws, np.random.default_rng(seed))
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high), n, n_clusters, method)


def _draw_means(sums: FloatArray, counts: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """(n_draws,) means over the items of the clusters drawn."""
    n_clusters = len(sums)
    at_once = max(1, _WEIGHTS_AT_ONCE // n_clusters)
    equal = np.full(n_clusters, 1 / n_clusters)
    parts = []
    for start in range(0, n_draws, at_once):
        weights = rng.multinomial(n_clusters, equal, size=min(at_once, n_draws - start)).astype(np.float64)
        parts.append((weights @ sums) / (weights @ counts))
    return np.concatenate(parts)


def cluster_wilson(
    values: ArrayLike, clusters: Sequence[Any] | NDArray[Any] | None = None, confidence: float = 0.95
) -> Interval:
    """Wilson's interval of a share at the effective number of items, p (1 - p) / (variance of the mean over clusters).

    values: (n_items,) in [0, 1]. The effective number is at most n; where all clusters have the same mean the
    variance says nothing and the number of clusters is taken. No interval for fewer than 2 clusters.
    """
    vector = finite_vector(values, "values")
    if len(vector) and (vector.min() < 0 or vector.max() > 1):
        raise SpokenevalError(f"cluster_wilson: expected values in [0, 1], got {vector.min()} .. {vector.max()}")
    n = len(vector)
    codes, n_clusters = cluster_codes(clusters, n)
    method = "wilson over clusters"
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, method, "no items")
    p = float(vector.mean())
    if n_clusters < 2:
        return Interval(p, math.nan, math.nan, n, n_clusters, method, "all items are of one cluster: no interval")
    residuals = np.bincount(codes, vector - p, n_clusters)
    variance = float(residuals @ residuals) / n**2
    n_effective = p * (1 - p) / variance if variance > 1e-18 else float(n_clusters)
    low, high = _wilson_bounds(p, min(n_effective, float(n)), normal_quantile(confidence))
    return Interval(p, low, high, n, n_clusters, method)


def _wilson_bounds(p: float, n: float, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # at p = 0 and 1 the bound is p itself; rounding must not push it past p
    return min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p)
