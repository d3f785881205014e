"""Agreement item by item: mt-metrics-eval's `average_by=item`, and acc23 with tie calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.within_item import tie_calibrated_accuracy, within_item

NAN = math.nan
SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


@pytest.mark.parametrize("coefficient", list(SCIPY))
def test_it_is_scipys_coefficient_of_each_item_averaged(coefficient: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 5, (7, 40)).astype(float)
    y = rng.integers(1, 6, (7, 40)).astype(float)
    x[rng.random(x.shape) < 0.2] = NAN
    y[rng.random(y.shape) < 0.1] = NAN
    x[:, 0], y[:, 1], x[2:, 2] = 3.0, 4.0, NAN  # one side constant, twice; two systems only
    single, n_few, n_constant = [], 0, 0
    for a, b in zip(x.T, y.T, strict=True):
        both = ~np.isnan(a + b)
        if both.sum() < 3:
            n_few += 1
        elif len(set(a[both])) == 1 or len(set(b[both])) == 1:
            n_constant += 1
        else:
            single.append(SCIPY[coefficient](a[both], b[both]).statistic)
    found = within_item(x, y, coefficient, n_draws=500)
    assert found.value == pytest.approx(np.mean(single), abs=1e-12)
    assert (found.n_items, found.n_constant, found.n_few) == (len(single), n_constant, n_few)
    assert n_few >= 1
    assert n_constant >= 2
    assert found.low < found.value < found.high


def test_an_easy_item_counts_nothing_and_a_flipped_metric_flips_the_sign() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(6, 30))
    x = y + 100 * rng.normal(size=30)
    assert within_item(x, y, n_draws=100).value == pytest.approx(1)
    assert within_item(-x, y, n_draws=100).value == pytest.approx(-1)


def test_no_item_that_differs_is_a_reason_and_no_zero() -> None:
    found = within_item(np.ones((5, 4)), np.arange(20.0).reshape(5, 4))
    assert math.isnan(found.value)
    assert found.n_constant == 4
    assert "no item" in (found.reason or "")
    with pytest.raises(SpokenevalError, match=r"\(2, 3\) and \(3, 2\)"):
        within_item(np.ones((2, 3)), np.ones((3, 2)))


def test_tie_calibration_by_hand() -> None:
    # one item, systems a b c: people 1 1 2; the metric .10 .12 .50: a and b tie with epsilon .02
    found = tie_calibrated_accuracy([[0.10], [0.12], [0.50]], [[1.0], [1.0], [2.0]])
    assert found.value == pytest.approx(1)
    assert found.epsilon == pytest.approx(0.02)
    assert found.uncalibrated == pytest.approx(2 / 3)
    assert (found.n_items, found.n_pairs) == (1, 3)


def test_tie_calibration_is_the_best_of_all_epsilons() -> None:
    rng = np.random.default_rng(1)
    x, y = np.round(rng.normal(size=(6, 25)), 1), rng.integers(1, 4, (6, 25)).astype(float)
    x[rng.random(x.shape) < 0.2] = NAN

    def accuracy(epsilon: float) -> float:
        items = []
        for a, b in zip(x.T, y.T, strict=True):
            right = []
            for i in range(6):
                for j in range(i + 1, 6):
                    if math.isnan(a[i] - a[j]):
                        continue
                    tied = abs(a[i] - a[j]) <= epsilon + 1e-9
                    right.append(b[i] == b[j] if tied else (a[i] - a[j]) * (b[i] - b[j]) > 0)
            if right:
                items.append(np.mean(right))
        return float(np.mean(items))

    best = max(accuracy(epsilon) for epsilon in np.arange(0, 6, 0.1))
    found = tie_calibrated_accuracy(x, y)
    assert found.value == pytest.approx(best, abs=1e-12)
    assert found.value == pytest.approx(accuracy(found.epsilon), abs=1e-12)
    assert found.uncalibrated == pytest.approx(accuracy(0.0), abs=1e-12)
    assert found.value > found.uncalibrated
