"""System means with the noise that items and listeners put on them.

Conventions
-----------
- The systems are fixed; items, and listeners where there are ratings, are samples. Noise is the covariance matrix of
  the system means over such samples, `(n_systems, n_systems)`: means share items and listeners, so it is not diagonal.
- What is common to all systems (an easy item, a strict listener) cancels in a correlation, so noise and signal are
  those of the means centred over systems.
- Two-way clustering (Cameron, Gelbach & Miller 2011): V(items) + V(listeners) - V(item and listener), each with g /
  (g - 1). Such a difference can have negative eigenvalues; draws from it use the nearest matrix without them.
- Reliability of an axis = signal variance / observed variance, over these systems; it can come out negative, and is
  not clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.intervals import FloatArray, cluster_codes, finite_vector


@dataclass(frozen=True)
class NoisyMeans:
    """Means of systems, and how they move with items."""

    systems: tuple[str, ...]
    mean: FloatArray
    """(n_systems,)"""
    covariance: FloatArray
    """(n_systems, n_systems) of the means"""
    items: tuple[str, ...]
    item_influence: FloatArray
    """(n_systems, n_items): what each item adds to the deviation of a mean"""
    noise_df: float
    """degrees of freedom that the noise variance is known with (Satterthwaite 1946, over items and listeners)"""


@dataclass(frozen=True)
class Reliability:
    """Variances are over systems, of means centred over systems (divisor n_systems - 1)."""

    value: float
    """signal / observed; NaN where the observed variance is 0"""
    signal_variance: float
    noise_variance: float
    observed_variance: float


def item_means(
    values: ArrayLike,
    systems: Sequence[str],
    items: Sequence[str],
    clusters: Sequence[Any] | None = None,
) -> NoisyMeans:
    """Means over items of a metric that has one value per system and item.

    values: (n_systems, n_items), NaN where missing. clusters: of the items that move together (speaker, sentence),
    None for independent items. Raises SpokenevalError where a system has no item, or there are fewer than 2 clusters.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.shape != (len(systems), len(items)) or np.isinf(table).any():
        raise SpokenevalError(
            f"item_means: expected finite or missing values ({len(systems)}, {len(items)}), got {table.shape}"
        )
    present = ~np.isnan(table)
    counts = present.sum(axis=1)
    _every_system(systems, counts)
    mean = np.where(present, table, 0.0).sum(axis=1) / counts
    influence = np.where(present, table - mean[:, None], 0.0) / counts[:, None]
    codes, n_clusters = cluster_codes(clusters, len(items))
    moved = np.zeros((len(systems), n_clusters))
    np.add.at(moved.T, codes, influence.T)
    correction = np.sqrt(_correction(n_clusters, "items"))
    return NoisyMeans(
        systems=tuple(systems),
        mean=mean,
        covariance=_outer(moved) * correction**2,
        items=tuple(map(str, items)),
        item_influence=influence * correction,
        noise_df=float(n_clusters - 1),
    )


def rating_means(
    score: ArrayLike,
    system: Sequence[Any] | NDArray[Any],
    item: Sequence[Any] | NDArray[Any],
    listener: Sequence[Any] | NDArray[Any] | None,
) -> NoisyMeans:
    """Means of ratings in long form, with the noise of items and of listeners.

    All (n_ratings,). listener None: not known, and each rating then counts as from a listener of its own. An item is
    what systems share (the prompt). Systems come out sorted by name.
    """
    scores = finite_vector(score, "score")
    n = len(scores)
    names, codes = np.unique(np.asarray(system).astype(str), return_inverse=True)
    if codes.shape != (n,):
        raise SpokenevalError(f"rating_means: {n} scores and {codes.size} systems; expected one system a score")
    item_names, item_codes = np.unique(np.asarray(item).astype(str), return_inverse=True)
    n_items = len(item_names)
    if item_codes.shape != (n,):
        raise SpokenevalError(f"rating_means: {n} scores and {item_codes.size} items; expected one item a score")
    counts = np.bincount(codes, minlength=len(names)).astype(np.int64)
    mean = np.bincount(codes, scores, len(names)) / np.maximum(counts, 1)
    residual = (scores - mean[codes]) / counts[codes]

    def moved(by: NDArray[np.int64], n_groups: int, what: str) -> csr_array:
        scaled = residual * np.sqrt(_correction(n_groups, what))
        return csr_array((scaled, (codes, by)), shape=(len(names), n_groups))

    by_item = moved(item_codes, n_items, "items")
    covariance = (by_item @ by_item.T).toarray()
    noise_df = float(n_items - 1)
    if listener is not None:
        listener_codes, n_listeners = cluster_codes(listener, n)
        by_listener = moved(listener_codes, n_listeners, "listeners")
        cells, n_cells = cluster_codes(item_codes * n_listeners + listener_codes, n)
        by_cell = moved(cells, n_cells, "ratings")
        more = (by_listener @ by_listener.T).toarray() - (by_cell @ by_cell.T).toarray()
        parts = centred_trace(covariance), max(centred_trace(more), 0.0)
        squares = parts[0] ** 2 / (n_items - 1) + parts[1] ** 2 / (n_listeners - 1)
        noise_df = sum(parts) ** 2 / squares if squares > 0 else noise_df
        covariance = covariance + more
    return NoisyMeans(
        systems=tuple(str(name) for name in names),
        mean=mean,
        covariance=covariance,
        items=tuple(str(name) for name in item_names),
        item_influence=by_item.toarray(),
        noise_df=noise_df,
    )


def shared_noise(x: NoisyMeans, y: NoisyMeans) -> FloatArray:
    """(n_systems, n_systems) covariance of the two sides' means through the items that both have."""
    at = {item: k for k, item in enumerate(y.items)}
    both = [(k, at[item]) for k, item in enumerate(x.items) if item in at]
    if not both:
        return np.zeros((len(x.systems), len(y.systems)))
    first, second = np.array(both).T
    shared: FloatArray = x.item_influence[:, first] @ y.item_influence[:, second].T
    return shared


def centred_trace(covariance: FloatArray) -> float:
    """Sum of squared deviations over systems that a covariance puts on centred means: trace(C V), C the centring
    matrix."""
    return float(np.trace(covariance) - covariance.sum() / len(covariance))


def reliability(means: NoisyMeans) -> Reliability:
    """Signal and noise of the system means. Raises SpokenevalError for fewer than 2 systems."""
    n = len(means.mean)
    if n < 2:
        raise SpokenevalError(f"reliability: expected at least 2 systems, got {n}")
    observed = float(np.var(means.mean, ddof=1))
    noise = centred_trace(means.covariance) / (n - 1)
    value = (observed - noise) / observed if observed > 0 else float("nan")
    return Reliability(value, observed - noise, noise, observed)


def _every_system(systems: Sequence[str], counts: NDArray[np.int64]) -> None:
    empty = [name for name, count in zip(systems, counts, strict=True) if count == 0]
    if empty:
        raise SpokenevalError(f"systems without any value: {', '.join(map(str, empty))}; leave them out and say so")


def _correction(n_groups: int, what: str) -> float:
    if n_groups < 2:
        raise SpokenevalError(f"the noise of {n_groups} {what} cannot be told: at least 2 are needed")
    return n_groups / (n_groups - 1)


def _outer(matrix: FloatArray) -> FloatArray:
    product: FloatArray = matrix @ matrix.T
    return product
