"""Which evaluator agrees better, and what the best of many reaches by chance."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.compare import max_statistic, permute_both, williams


@pytest.mark.parametrize(("n", "p"), [(6, 0.115), (8, 0.056), (10, 0.028), (15, 0.006)])
def test_williams_known_one_sided_p(n: int, p: float) -> None:
    found = williams(0.95, 0.80, 0.85, n)
    assert found.p_one_sided == pytest.approx(p, abs=5e-4)
    assert found.p_two_sided == pytest.approx(2 * found.p_one_sided)
    back = williams(0.80, 0.95, 0.85, n)
    assert back.t == -found.t
    assert back.p_one_sided == pytest.approx(1 - found.p_one_sided)


def test_williams_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[1, 0.6, 0.6], [0.6, 1, 0.5], [0.6, 0.5, 1]])
    rejected = 0
    for _ in range(1500):
        r = np.corrcoef(rng.multivariate_normal(np.zeros(3), covariance, size=9).T)
        rejected += williams(r[0, 1], r[0, 2], r[1, 2], 9).p_two_sided <= 0.05
    assert 0.03 <= rejected / 1500 <= 0.07


def test_williams_says_why_there_is_none() -> None:
    assert "needs 4" in (williams(0.5, 0.4, 0.3, 3).reason or "")
    assert "same up to scale" in (williams(0.8, 0.8, 1.0, 9).reason or "")
    with pytest.raises(SpokenevalError, match="together"):
        williams(0.95, -0.95, 0.9, 9)
    with pytest.raises(SpokenevalError, match=r"\[-1, 1\]"):
        williams(1.2, 0.5, 0.5, 9)


def _scipy(coefficient: str, x: np.ndarray, y: np.ndarray) -> float:
    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[coefficient]
    return float(function(x, y).statistic)


@pytest.mark.parametrize("coefficient", ["pearson", "spearman", "kendall"])
@pytest.mark.parametrize("within_task", [False, True])
def test_permute_both_is_the_enumeration_with_whole_systems_swapped(coefficient: str, within_task: bool) -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(5, 2))
    a, b = y + rng.normal(0, 0.3, (5, 2)), y + rng.normal(0, 1, (5, 2))
    axis = 0 if within_task else None
    za, zb = (a - a.mean(axis)) / a.std(axis), (b - b.mean(axis)) / b.std(axis)

    def statistic(v: np.ndarray) -> float:
        if within_task:
            return float(np.mean([_scipy(coefficient, v[:, t], y[:, t]) for t in range(2)]))
        return _scipy(coefficient, v.ravel(), y.ravel())

    observed = statistic(za) - statistic(zb)
    null = []
    for swap in product([False, True], repeat=5):
        mask = np.array(swap)[:, None]
        null.append(statistic(np.where(mask, zb, za)) - statistic(np.where(mask, za, zb)))
    found = permute_both(a, b, y, coefficient=coefficient, within_task=within_task)  # type: ignore[arg-type]
    assert found.difference == pytest.approx(observed)
    assert found.p == pytest.approx(np.mean(np.abs(null) >= abs(observed) - 1e-9))
    assert found.method == "exact, 2^5 exchanges"


def test_permute_both_draws_where_there_are_too_many_exchanges() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=20)
    a, b = y + rng.normal(0, 0.1, 20), rng.normal(size=20)
    found = permute_both(a, b, y, n_draws=999, seed=2)
    assert found.p <= 0.01
    assert found.p * 1000 == pytest.approx(round(found.p * 1000))
    assert found == permute_both(a, b, y, n_draws=999, seed=2)
    assert permute_both(b, a, y, alternative="greater", n_draws=999, seed=2).p > 0.9
    assert permute_both(a, a, y, n_draws=999, seed=2).p == 1


def test_permute_both_holds_its_level_with_cells_of_one_system_alike() -> None:
    """Equally good evaluators whose errors are a system's, the same in its 6 tasks."""
    rng = np.random.default_rng(7)
    rejected = 0
    for k in range(200):
        y = np.repeat(rng.normal(size=(9, 1)), 6, axis=1)
        a, b = (y + rng.normal(size=(9, 1)) + rng.normal(0, 0.1, (9, 6)) for _ in range(2))
        rejected += permute_both(a, b, y, n_draws=512, seed=k).p <= 0.05
    assert rejected / 200 <= 0.085


def test_permute_both_says_why_there_is_none() -> None:
    assert "target" in (permute_both([1, 2, 3], [1, 3, 2], [1, 1, 1]).reason or "")
    assert "needs 3" in (permute_both([1, 2], [1, 3], [1, 2]).reason or "")
    with pytest.raises(SpokenevalError, match="equal shapes"):
        permute_both([1, 2, 3], [1, 2], [1, 2, 3])


def test_the_best_of_33_noise_evaluators_is_no_finding() -> None:
    rng = np.random.default_rng(9)
    best, naive, rejected = [], 0, 0
    for k in range(400):
        evaluators, y = rng.normal(size=(33, 9)), rng.normal(size=9)
        found = max_statistic(evaluators, y, n_draws=400, seed=k)
        best.append(found.coefficients.max())
        naive += best[-1] > 0.666
        rejected += found.p.min() <= 0.05
    assert np.median(best) == pytest.approx(0.69, abs=0.02)
    assert np.quantile(best, 0.95) == pytest.approx(0.86, abs=0.03)
    assert naive / 400 > 0.5
    assert 0.03 <= rejected / 400 <= 0.07


def test_max_statistic_finds_a_planted_evaluator_and_leaves_constant_ones_out() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=(9, 4)) + rng.normal(size=(9, 1)) * 2
    evaluators = rng.normal(size=(10, 9, 4))
    evaluators[3] = y + rng.normal(0, 0.1, (9, 4))
    evaluators[5] = 0.5
    found = max_statistic(evaluators, y, coefficient="spearman", n_draws=999, seed=0)
    assert found.p[3] == 1 / 1000
    assert math.isnan(found.p[5])
    assert math.isnan(found.coefficients[5])
    assert "1 of 10" in (found.reason or "")
    others = np.delete(found.p, [3, 5])
    assert (others > 0.05).all()
    assert found.critical < found.coefficients[3]


@pytest.mark.parametrize("coefficient", ["pearson", "spearman", "kendall"])
def test_one_evaluator_of_few_systems_has_the_exact_permutation_p(coefficient: str) -> None:
    x, y = np.array([1.0, 2, 4, 3, 5]), np.array([1.0, 2, 3, 4, 6])
    found = max_statistic(x[None], y, coefficient=coefficient)  # type: ignore[arg-type]
    theirs = stats.permutation_test(
        (x,), lambda v: _scipy(coefficient, v, y), permutation_type="pairings", alternative="greater", n_resamples=1000
    )
    assert found.p[0] == pytest.approx(theirs.pvalue)
    assert found.coefficients[0] == pytest.approx(theirs.statistic)
    assert found.method == "exact, 5! permutations"
