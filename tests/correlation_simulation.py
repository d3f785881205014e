"""Simulated studies of evaluators and people with a known correlation, and what intervals of it cover.

The model: expected accuracies and expected MOS of the systems have exactly the correlation r; verdicts are Bernoulli
draws of the accuracy; a rating is the MOS + item + system x item + listener + system x listener + noise, all normal.
No person voted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spokeneval.statistics.noise import NoisyMeans, item_means, rating_means
from spokeneval.statistics.reliability import expected_correlation


class Study(NamedTuple):
    metric: NDArray[np.float64]
    """(n_systems, n_items) verdicts"""
    ratings: NDArray[np.float64]
    """(n_systems, n_rated, n_raters)"""
    listener: NDArray[np.int64]
    """(n_rated, n_raters)"""
    true_r: float

    def means(self) -> tuple[NoisyMeans, NoisyMeans]:
        n_systems, n_rated, n_raters = self.ratings.shape
        systems = [f"s{k:02d}" for k in range(n_systems)]
        items = [f"i{k:03d}" for k in range(self.metric.shape[1])]
        s = np.repeat(systems, n_rated * n_raters)
        i = np.tile(np.repeat(items[:n_rated], n_raters), n_systems)
        listener = np.tile(self.listener.ravel(), n_systems)
        return item_means(self.metric, systems, items), rating_means(self.ratings.ravel(), s, i, listener)


def simulate(
    rng: np.random.Generator,
    r: float,
    n_items: int = 200,
    n_systems: int = 9,
    n_rated: int = 50,
    n_raters: int = 5,
    crossed: bool = False,
    interaction: float = 0.1,
) -> Study:
    """Expected accuracy .7 +- .12 and expected MOS 3 +- .5 with exactly the correlation r (up to clipping)."""
    u, v = rng.normal(size=(2, n_systems))
    u = (u - u.mean()) / u.std()
    v = v - v.mean() - (v @ u) / n_systems * u
    v = v / v.std()
    share = np.clip(0.7 + 0.12 * u, 0.02, 0.98)
    mos = 3 + 0.5 * (r * u + math.sqrt(1 - r * r) * v)
    pool = n_raters if crossed else 12 * n_raters
    listener = rng.permuted(np.tile(np.arange(pool), (n_rated, 1)), axis=1)[:, :n_raters]
    ratings = mos[:, None, None] + rng.normal(0, 0.4, (1, n_rated, 1)) + rng.normal(0, 0.4, (n_systems, n_rated, 1))
    ratings = ratings + rng.normal(0, 0.4, pool)[listener] + rng.normal(0, interaction, (n_systems, pool))[:, listener]
    ratings = ratings + rng.normal(0, 0.7, (n_systems, n_rated, n_raters))
    metric = (rng.random((n_systems, n_items)) < share[:, None]).astype(float)
    return Study(metric, ratings, listener, float(np.corrcoef(share, mos)[0, 1]))


def coverage(seed: int, n_studies: int, **how: float) -> tuple[float, int]:
    """Share of the printed intervals that hold the true r, and how many were printed."""
    rng = np.random.default_rng(seed)
    hits = []
    for _ in range(n_studies):
        study = simulate(rng, **how)  # type: ignore[arg-type]
        found = expected_correlation(*study.means(), n_draws=1000, seed=rng)
        if not math.isnan(found.low):
            hits.append(found.low <= study.true_r <= found.high)
    return float(np.mean(hits)), len(hits)


def percentile(study: Study, rng: np.random.Generator, n_draws: int = 400) -> tuple[float, float]:
    """The plain way: items and ratings drawn with replacement, r of what was drawn, its 2.5 % and 97.5 % quantiles."""
    _, n_rated, n_raters = study.ratings.shape
    n_items = study.metric.shape[1]
    rated = rng.multinomial(n_rated, np.full(n_rated, 1 / n_rated), size=n_draws)
    n_rest = n_items - n_rated
    rest = rng.multinomial(n_rest, np.full(n_rest, 1 / max(n_rest, 1)), size=n_draws) if n_rest else rated[:, :0]
    x = np.hstack([rated, rest]) @ study.metric.T / n_items
    r = np.empty(n_draws)
    for k in range(n_draws):
        raters = rng.integers(0, n_raters, (n_rated, n_raters))
        drawn = study.ratings[:, np.arange(n_rated)[:, None], raters].mean(axis=2)
        r[k] = np.corrcoef(x[k], drawn @ rated[k])[0, 1]
    low, high = np.quantile(r, [0.025, 0.975])
    return float(low), float(high)


def percentile_coverage(seed: int, n_studies: int, **how: float) -> float:
    """Share of plain percentile intervals that hold the true r."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(n_studies):
        study = simulate(rng, **how)  # type: ignore[arg-type]
        low, high = percentile(study, rng)
        hits += low <= study.true_r <= high
    return hits / n_studies
