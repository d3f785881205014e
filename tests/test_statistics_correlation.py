"""Coefficients against scipy and by hand; intervals by the recipe's figures; NaN with a reason, never 0."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.adjusted import group_centred, partial_correlation
from spokeneval.statistics.correlation import (
    fisher_interval,
    kendall,
    pairwise_accuracy,
    pearson,
    soft_pairwise_accuracy,
    spearman,
)

GRID = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=25)


@given(pairs=GRID)
@settings(max_examples=150, deadline=None)
def test_coefficients_are_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T / 7
    if len(set(x)) < 2 or len(set(y)) < 2:
        for coefficient in (pearson, spearman, kendall):
            found = coefficient(x, y)
            assert math.isnan(found.value)
            assert "the same for all systems" in (found.reason or "")
        return
    assert pearson(x, y).value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert kendall(x, y).value == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)


@given(pairs=GRID)
@settings(max_examples=60, deadline=None)
def test_a_flipped_metric_flips_the_sign(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    for coefficient in (pearson, spearman, kendall):
        found, flipped = coefficient(x, y), coefficient(-x, y)
        assert flipped.value == pytest.approx(-found.value, nan_ok=True)
        assert (flipped.low, flipped.high) == pytest.approx((-found.high, -found.low), nan_ok=True)


@pytest.mark.parametrize(
    ("n", "low", "high"), [(6, 0.33, 0.99), (8, 0.53, 0.98), (10, 0.62, 0.98), (12, 0.67, 0.97), (20, 0.76, 0.96)]
)
def test_interval_for_new_systems_at_r_090(n: int, low: float, high: float) -> None:
    found = fisher_interval(0.9, n, 1 / (n - 3))
    assert found[:2] == (pytest.approx(low, abs=5e-3), pytest.approx(high, abs=5e-3))


def test_pearson_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=9)
    y = x + rng.normal(size=9)
    theirs = stats.pearsonr(x, y).confidence_interval(0.95)
    found = pearson(x, y)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_spearman_and_kendall_intervals_by_hand() -> None:
    """Ranks 1..6 with the last two exchanged: rho = 1 - 6 * 2 / 210, tau = 13 / 15."""
    x, y = [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5]
    rho, tau = spearman(x, y), kendall(x, y)
    assert rho.value == pytest.approx(1 - 12 / 210)
    assert tau.value == pytest.approx(13 / 15)
    z = 1.959963984540054
    assert rho.low == pytest.approx(math.tanh(math.atanh(rho.value) - z * math.sqrt(1.06 / 3)))
    assert tau.high == pytest.approx(math.tanh(math.atanh(tau.value) + z * math.sqrt(0.437 / 2)))


def test_few_systems_have_a_value_and_no_interval() -> None:
    four, two = pearson([1, 2, 3, 4], [1, 2, 3, 5]), pearson([1, 2], [1, 2])
    assert four.value == pytest.approx(0.9827, abs=1e-4)
    assert math.isnan(four.low)
    assert "needs 5" in (four.reason or "")
    assert math.isnan(two.value)
    assert "needs 3" in (two.reason or "")


def test_metric_equal_to_mos_is_one_and_has_no_fisher_interval() -> None:
    mos = [1.2, 3.4, 2.2, 4.1, 3.3, 2.9]
    for coefficient in (pearson, spearman, kendall):
        found = coefficient(mos, mos)
        assert found.value == pytest.approx(1)
        assert math.isnan(found.low)
        assert "exactly +1" in (found.reason or "")


def test_rounding_does_not_break_ties() -> None:
    assert 0.1 + 0.2 != 0.3
    assert (
        spearman([0.1 + 0.2, 0.3, 0.5, 0.9], [1, 2, 3, 4]).value == spearman([0.3, 0.3, 0.5, 0.9], [1, 2, 3, 4]).value
    )
    assert "x" in (pearson([0.1 + 0.2, 0.3, 0.3], [1, 2, 3]).reason or "")


def test_missing_values_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(SpokenevalError, match="not finite"):
        pearson([1, 2, math.nan], [1, 2, 3])
    with pytest.raises(SpokenevalError, match="x has 2 values and y has 3"):
        kendall([1, 2], [1, 2, 3])


def test_interval_covers_zero_for_shuffled_mos() -> None:
    rng = np.random.default_rng(2)
    mos, metric = rng.normal(size=9), rng.normal(size=9)
    for coefficient in (pearson, spearman, kendall):
        covered = 0
        for _ in range(600):
            found = coefficient(metric, rng.permutation(mos))
            covered += found.low <= 0 <= found.high
        assert 0.92 <= covered / 600 <= 0.98


def test_pairwise_accuracy_counts_ties_by_hand() -> None:
    """Pairs of a < b = c < d against 1, 1, 1, 0: ab tied in y, ac tied in y, ad wrong, bc tied in both, bd and cd
    wrong."""
    found = pairwise_accuracy([1, 2, 2, 3], [1, 1, 1, 0])
    assert (found.n_pairs, found.n_concordant, found.n_discordant) == (6, 0, 3)
    assert (found.n_tied_x, found.n_tied_y, found.n_tied_both) == (0, 2, 1)
    assert found.value == pytest.approx(1 / 6)
    assert pairwise_accuracy([1, 2, 3], [4, 5, 9]).value == 1
    assert math.isnan(pairwise_accuracy([1], [1]).value)


def test_soft_pairwise_accuracy_rewards_the_same_certainty() -> None:
    rng = np.random.default_rng(0)
    ratings = rng.normal(size=(4, 60)) + np.array([0.0, 0.1, 0.5, 2.0])[:, None]
    same = soft_pairwise_accuracy(ratings, ratings, seed=1)
    assert same.n_pairs == 6
    assert same.value > 0.98
    assert soft_pairwise_accuracy(-ratings, ratings, seed=1).value < 0.25
    equal = soft_pairwise_accuracy(np.ones((4, 10)), ratings, seed=1)
    """All p of the evaluator are .5: the score is 1 - mean |p_y - .5|, between .5 and 1."""
    assert 0.5 <= equal.value < 0.8
    both = soft_pairwise_accuracy(-ratings, -ratings, seed=1)
    assert both.value == pytest.approx(same.value)


def test_soft_pairwise_accuracy_of_systems_without_shared_items_has_a_reason() -> None:
    apart = np.array([[1.0, math.nan], [math.nan, 1.0]])
    found = soft_pairwise_accuracy(apart, [[1, 2], [2, 3]], seed=0)
    assert math.isnan(found.value)
    assert "share no item" in (found.reason or "")


def test_partial_correlation_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(size=12)
    x, y = z + rng.normal(size=12), z + rng.normal(size=12)
    xy, xz, yz = (np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (x, z), (y, z)))
    found = partial_correlation(x, y, z)
    assert found.value == pytest.approx((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    low, high, _ = fisher_interval(found.value, 11, 1 / 8)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert math.isnan(partial_correlation(x, y, x).value)
    assert math.isnan(partial_correlation(x, y, z, interval=False).low)
    assert math.isnan(partial_correlation(x[:4], y[:4], rng.normal(size=(4, 2))).value)


def test_two_families_show_a_pooled_r_with_nothing_behind_it() -> None:
    rng = np.random.default_rng(6)
    family = np.array(["hubert"] * 5 + ["mimi"] * 4)
    shift = np.where(family == "mimi", 1.5, 0.0)
    pooled, centred = [], []
    for _ in range(400):
        x, y = shift + rng.normal(0, 0.3, 9), shift + rng.normal(0, 0.3, 9)
        pooled.append(pearson(x, y).value)
        centred.append(group_centred(x, y, family).value)
    assert np.mean(pooled) == pytest.approx(0.88, abs=0.03)
    assert np.mean(centred) == pytest.approx(0, abs=0.06)


def test_a_system_alone_in_its_family_adds_nothing_to_the_centred_r() -> None:
    x, y = [1.0, 2, 3, 4, 5, 9], [2.0, 1, 4, 3, 6, 0]
    alone = group_centred(x, y, ["a"] * 5 + ["b"])
    assert alone.value == pytest.approx(pearson(x[:5], y[:5]).value)
    assert (alone.low, alone.high) == pytest.approx((pearson(x[:5], y[:5]).low, pearson(x[:5], y[:5]).high))
