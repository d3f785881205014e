"""Cluster-bootstrap intervals of many means at once.

Conventions
-----------
- `values` is (n_items, n_cells), NaN where an item has none in a cell; a cell's mean is over its own items.
- Whole clusters are drawn with replacement, the same draws for every cell, so that cells can be compared; the
  interval is the percentile interval of the mean over the items drawn (`spokeneval.statistics.intervals` does it
  for one mean).
- Where all clusters agree, a bootstrap would print a point, which reads as certainty. Shares of exactly 0 or 1 then get
  Wilson's interval for as many independent observations as there are clusters; anything else (all ties) gets none.
- Fewer than two clusters: no interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spokeneval.statistics.intervals import wilson

FloatArray = NDArray[np.float64]

_CELLS_AT_ONCE = 256


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


def cluster_means(
    values: FloatArray,
    clusters: NDArray[np.int64],
    *,
    n_draws: int,
    seed: int,
    confidence: float = 0.95,
    shares: bool = True,
) -> Means:
    """Means of the columns with percentile cluster-bootstrap intervals.

    values: (n_items, n_cells); clusters: (n_items,) any integers. Shares are in [0, 1].
    """
    n_items, n_cells = values.shape
    _, codes = np.unique(clusters, return_inverse=True)
    n_codes = int(codes.max()) + 1 if n_items else 0
    present = ~np.isnan(values)
    sums, counts = np.zeros((n_codes, n_cells)), np.zeros((n_codes, n_cells))
    np.add.at(sums, codes, np.where(present, values, 0.0))
    np.add.at(counts, codes, present.astype(np.float64))
    n = counts.sum(axis=0).astype(np.int64)
    n_clusters = (counts > 0).sum(axis=0).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / counts.sum(axis=0)
    low, high = np.full(n_cells, np.nan), np.full(n_cells, np.nan)
    if n_codes >= 2:
        weights = np.random.default_rng(seed).multinomial(n_codes, np.full(n_codes, 1 / n_codes), size=n_draws)
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        for start in range(0, n_cells, _CELLS_AT_ONCE):
            cells = slice(start, start + _CELLS_AT_ONCE)
            with np.errstate(invalid="ignore", divide="ignore"):
                draws = (weights @ sums[:, cells]) / (weights @ counts[:, cells])
            low[cells], high[cells] = _quantiles(draws, tails)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_cluster = sums / counts
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
