"""Cluster-bootstrap intervals of many means at once.

Conventions
-----------
- `values` is (n_items, n_cells), NaN where an item has none in a cell; a cell's mean is over its own items, or, where a
  benchmark averages so (`averaging` 'clusters'), over the means of its clusters.
- Whole clusters are drawn with replacement, the same draws for every cell, so that cells can be compared; the
  interval is the percentile interval of the mean over what was drawn (`spokeneval.statistics.intervals` does it
  for one mean).
- Where all clusters agree, a bootstrap would print a point, which reads as certainty. Shares of exactly 0 or 1 then get
  Wilson's interval for as many independent observations as there are clusters; anything else (all ties) gets none.
- Fewer than two clusters: no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spokeneval.statistics.intervals import wilson

FloatArray = NDArray[np.float64]
Averaging = Literal["items", "clusters"]

_CELLS_AT_ONCE = 256
_WEIGHTS_AT_ONCE = 4_000_000
"""Entries of the (draws, clusters) weights held at a time: 32 MB."""


class Means(NamedTuple):
    """One entry a cell."""

    mean: FloatArray
    """NaN where no item has a value."""
    low: FloatArray
    high: FloatArray
    """NaN where there is no interval; `note` says why."""
    n: NDArray[np.int64]
    n_clusters: NDArray[np.int64]
    note: list[str | None]


class Ratio(NamedTuple):
    """A ratio of sums."""

    ratio: float | None
    """None where the denominators sum to 0."""
    low: float | None
    high: float | None
    """None where there is no interval; `note` says why."""
    note: str | None


class _Totals(NamedTuple):
    """What a mean is made of, (n_codes, n_cells) each: its mean is sum(sums) / sum(counts)."""

    sums: FloatArray
    counts: FloatArray


def cluster_means(
    values: FloatArray,
    clusters: NDArray[np.int64],
    *,
    n_draws: int,
    seed: int,
    confidence: float = 0.95,
    shares: bool = True,
    averaging: Averaging = "items",
) -> Means:
    """Means of the columns with percentile cluster-bootstrap intervals.

    values: (n_items, n_cells); clusters: (n_items,) any integers. Shares are in [0, 1].
    """
    _, n_cells = values.shape
    items = _totals(values, clusters, "items")
    totals = items if averaging == "items" else _of_clusters(items)
    n = items.counts.sum(axis=0).astype(np.int64)
    n_clusters = (items.counts > 0).sum(axis=0).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = totals.sums.sum(axis=0) / totals.counts.sum(axis=0)
        by_cluster = items.sums / items.counts
    low, high = np.full(n_cells, np.nan), np.full(n_cells, np.nan)
    if len(items.sums) >= 2:
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        for start in range(0, n_cells, _CELLS_AT_ONCE):
            cells = slice(start, start + _CELLS_AT_ONCE)
            of_cells = _Totals(totals.sums[:, cells], totals.counts[:, cells])
            low[cells], high[cells] = _quantiles(_draw(of_cells, n_draws, seed), tails)
    spread = np.nan_to_num(
        np.fmax.reduce(by_cluster, axis=0, initial=-np.inf) - np.fmin.reduce(by_cluster, axis=0, initial=np.inf)
    )
    note: list[str | None] = [None] * n_cells
    for cell in range(n_cells):
        if n[cell] == 0:
            note[cell] = "no item has a value"
        elif n_clusters[cell] < 2:
            note[cell] = "all items are of one cluster: no interval"
        elif spread[cell] <= 1e-12 * max(1.0, abs(mean[cell])):
            if shares and mean[cell] in (0.0, 1.0):
                bounds = wilson(float(mean[cell] * n_clusters[cell]), int(n_clusters[cell]), confidence)
                low[cell], high[cell] = bounds.low, bounds.high
                note[cell] = "all clusters agree: Wilson over clusters"
                continue
            note[cell] = "all clusters agree: no interval"
        else:
            continue
        low[cell] = high[cell] = np.nan
    return Means(mean, low, high, n, n_clusters, note)


def cluster_ratio(
    numerators: FloatArray,
    denominators: FloatArray,
    clusters: NDArray[np.int64],
    *,
    n_draws: int,
    seed: int,
    confidence: float = 0.95,
) -> Ratio:
    """sum(numerators) / sum(denominators) over items, (n_items,) each, with its percentile cluster-bootstrap interval.

    Draws whose denominators sum to 0 have no ratio and are left out.
    """
    _, codes = np.unique(clusters, return_inverse=True)
    n_codes = int(codes.max()) + 1 if len(codes) else 0
    sums, counts = (np.bincount(codes, v, n_codes).astype(np.float64)[:, None] for v in (numerators, denominators))
    totals = _Totals(sums, counts)
    whole = float(totals.counts.sum())
    if whole == 0:
        return Ratio(None, None, None, "nothing to divide by")
    ratio = float(totals.sums.sum()) / whole
    if n_codes < 2:
        return Ratio(ratio, None, None, "all items are of one cluster: no interval")
    draws = _draw(totals, n_draws, seed)[:, 0]
    low, high = interval_of(np.where(np.isfinite(draws), draws, np.nan), confidence)
    return Ratio(ratio, low, high, "all clusters agree: no interval" if low is None else None)


def draw_means(
    values: FloatArray, clusters: NDArray[np.int64], *, n_draws: int, seed: int, averaging: Averaging = "items"
) -> FloatArray:
    """(n_draws, n_cells) means of the columns over whole clusters drawn with replacement; NaN where none was drawn.

    The draws are those of `cluster_means` for the same items, so that differences of columns are paired.
    """
    return _draw(_totals(values, clusters, averaging), n_draws, seed)


def means_of(values: FloatArray, clusters: NDArray[np.int64], averaging: Averaging) -> FloatArray:
    """(n_cells,) means of the columns; NaN where a column is empty."""
    totals = _totals(values, clusters, averaging)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals.sums.sum(axis=0) / totals.counts.sum(axis=0))


def _totals(values: FloatArray, clusters: NDArray[np.int64], averaging: Averaging) -> _Totals:
    n_items, n_cells = values.shape
    _, codes = np.unique(clusters, return_inverse=True)
    n_codes = int(codes.max()) + 1 if n_items else 0
    present = ~np.isnan(values)
    sums, counts = np.zeros((n_codes, n_cells)), np.zeros((n_codes, n_cells))
    np.add.at(sums, codes, np.where(present, values, 0.0))
    np.add.at(counts, codes, present.astype(np.float64))
    totals = _Totals(sums, counts)
    return totals if averaging == "items" else _of_clusters(totals)


def _of_clusters(items: _Totals) -> _Totals:
    """Each cluster with an item counts once, with its mean."""
    seen = items.counts > 0
    return _Totals(np.divide(items.sums, items.counts, out=np.zeros_like(items.sums), where=seen), seen.astype(float))


def _draw(totals: _Totals, n_draws: int, seed: int) -> FloatArray:
    n_codes, n_cells = totals.sums.shape
    draws = np.empty((n_draws, n_cells))
    start = 0
    for weights in _weights(n_codes, n_draws, seed):
        rows = slice(start, start + len(weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            draws[rows] = (weights @ totals.sums) / (weights @ totals.counts)
        start += len(weights)
    return draws


def _weights(n_codes: int, n_draws: int, seed: int) -> Iterator[FloatArray]:
    """How often each cluster is drawn, (some draws, n_codes) at a time."""
    if n_codes * n_draws <= _WEIGHTS_AT_ONCE:
        yield _kept_weights(n_codes, n_draws, seed)
        return
    rng = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // n_codes)
    for start in range(0, n_draws, at_once):
        yield _multinomial(rng, n_codes, min(at_once, n_draws - start))


@lru_cache(maxsize=4)
def _kept_weights(n_codes: int, n_draws: int, seed: int) -> FloatArray:
    """Many tables of one report draw the same clusters: drawing takes longer than the products."""
    return _multinomial(np.random.default_rng(seed), n_codes, n_draws)


def _multinomial(rng: np.random.Generator, n_codes: int, n_draws: int) -> FloatArray:
    return rng.multinomial(n_codes, np.full(n_codes, 1 / n_codes), size=n_draws).astype(np.float64)


def _quantiles(draws: FloatArray, tails: list[float]) -> FloatArray:
    """Quantiles of the columns; draws that hold no item of a cell (NaN) are left out of that cell."""
    empty = np.isnan(draws)
    if not empty.any():
        return np.asarray(np.quantile(draws, tails, axis=0))
    found = np.full((len(tails), draws.shape[1]), np.nan)
    for cell in range(draws.shape[1]):
        column = draws[~empty[:, cell], cell]
        if len(column):
            found[:, cell] = np.quantile(column, tails)
    return found


def interval_of(draws: FloatArray, confidence: float) -> tuple[float | None, float | None]:
    """The percentile interval of (n_draws,) values; (None, None) where all are equal, or a bound is not finite."""
    found = draws[~np.isnan(draws)]
    if not len(found) or np.all(found == found[0]):
        return None, None
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (None, None)
