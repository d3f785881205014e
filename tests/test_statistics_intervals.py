"""Intervals of shares: known answers, clusters, and no interval where none is honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.intervals import cluster_bootstrap, cluster_wilson, wilson

BLOCKS = np.repeat([1.0] * 14 + [0.0] * 6, 10)
BLOCK_OF = np.repeat(np.arange(20), 10)


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 0.431, 0.569), (0.7, 0.633, 0.759), (0.9, 0.851, 0.934)])
def test_wilson_known_answers_at_200_items(share: float, low: float, high: float) -> None:
    found = wilson(200 * share, 200)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_is_scipys_for_whole_numbers_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found, mirrored = wilson(k, n), wilson(n - k, n)
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-12)


def test_wilson_counts_ties_as_halves() -> None:
    found = wilson(100.5, 200)
    assert found.value == 0.5025
    assert wilson(100, 200).low < found.low < wilson(101, 200).low


def test_wilson_without_items_says_so_and_impossible_counts_are_refused() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.reason == "no items"
    for n_correct, n in ((3, 2), (-1, 2), (math.nan, 5)):
        with pytest.raises(SpokenevalError, match="n_correct"):
            wilson(n_correct, n)
    with pytest.raises(SpokenevalError, match="confidence"):
        wilson(1, 2, confidence=95)


def test_clusters_of_identical_verdicts_widen_the_interval() -> None:
    independent, clustered = wilson(140, 200), cluster_bootstrap(BLOCKS, BLOCK_OF, seed=1)
    assert clustered.n == 200
    assert clustered.n_clusters == 20
    assert (clustered.low, clustered.high) == (pytest.approx(0.48, abs=0.05), pytest.approx(0.85, abs=0.06))
    assert clustered.high - clustered.low > 2.5 * (independent.high - independent.low)
    effective = cluster_wilson(BLOCKS, BLOCK_OF)
    assert (effective.low, effective.high) == (pytest.approx(0.481, abs=1e-3), pytest.approx(0.855, abs=1e-3))


def test_single_item_clusters_are_independent_items() -> None:
    values = np.random.default_rng(0).integers(0, 3, 300) / 2
    found = cluster_bootstrap(values, np.arange(300), seed=3)
    assert (found.low, found.high) == (cluster_bootstrap(values, seed=3).low, cluster_bootstrap(values, seed=3).high)
    half = 1.96 * values.std() / math.sqrt(300)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    binary = (values > 0.5).astype(float)
    plain, effective = wilson(binary.sum(), 300), cluster_wilson(binary)
    assert (effective.low, effective.high) == pytest.approx((plain.low, plain.high), abs=1e-9)


def test_the_bootstrap_mean_is_over_items_of_unequal_clusters() -> None:
    """One cluster of 9 right, one of 1 wrong: draws are 1 (1/4), .9 (1/2), 0 (1/4)."""
    found = cluster_bootstrap([1.0] * 9 + [0.0], ["a"] * 9 + ["b"], seed=0, confidence=0.4)
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == (pytest.approx(0.9), pytest.approx(0.9))
    wide = cluster_bootstrap([1.0] * 9 + [0.0], ["a"] * 9 + ["b"], seed=0)
    assert (wide.low, wide.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "clusters", "reason"),
    [([], [], "no items"), ([1, 0, 1], ["s"] * 3, "one cluster"), ([1, 1, 1], [1, 2, 3], "same mean")],
)
def test_no_interval_where_none_is_honest(values: list[float], clusters: list[object], reason: str) -> None:
    found = cluster_bootstrap(values, clusters, seed=0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.reason is not None
    assert reason in found.reason


def test_missing_verdicts_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(SpokenevalError, match="1 of 2 values are not finite"):
        cluster_bootstrap([1.0, math.nan], seed=0)
    with pytest.raises(SpokenevalError, match="one per item"):
        cluster_bootstrap([1.0, 0.0], ["a"], seed=0)


def test_a_seed_gives_the_same_interval_and_row_order_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    values, clusters = rng.integers(0, 2, 60).astype(float), rng.integers(0, 12, 60)
    order = rng.permutation(60)
    first, again = (
        cluster_bootstrap(values, clusters, seed=7),
        cluster_bootstrap(values[order], clusters[order], seed=7),
    )
    assert (first.low, first.high) == (again.low, again.high)


def test_intervals_cover_with_clusters_where_wilson_does_not() -> None:
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(40), 5)
    hits = {"bootstrap": 0, "cluster_wilson": 0, "wilson": 0}
    for k in range(300):
        skill = rng.beta(1.4, 0.6, 40)
        values = (rng.random(200) < skill[clusters]).astype(float)
        found = {
            "bootstrap": cluster_bootstrap(values, clusters, n_draws=500, seed=k),
            "cluster_wilson": cluster_wilson(values, clusters),
            "wilson": wilson(values.sum(), 200),
        }
        for name, interval in found.items():
            hits[name] += interval.low <= 0.7 <= interval.high
    assert hits["bootstrap"] / 300 > 0.91
    assert 0.92 < hits["cluster_wilson"] / 300 < 0.985
    assert hits["wilson"] / 300 < 0.88
