"""Choosing or combining evaluators, judged on systems that took no part in it."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.choice import MIN_SYSTEMS_CHOICE, choose_out_of_fold


def noise_study(rng: np.random.Generator, n: int, k: int, n_tasks: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(k, n, 1)) + 0.3 * rng.normal(size=(k, n, n_tasks))
    return x, rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, n_tasks))


def test_evaluators_of_noise_order_unseen_systems_half_right() -> None:
    """Neither above .5 (the choice is nested) nor below (no r of left-out predictions, which would be negative)."""
    found = []
    for seed in range(120):
        x, y = noise_study(np.random.default_rng(seed), 9, 6, 2)
        found.append([m.accuracy for m in choose_out_of_fold(x, y, list("abcdef")).methods])
    error = np.std(found, axis=0) / math.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - 0.5) < 3 * error).all()
    assert (error < 0.02).all()


def test_the_bar_keeps_combinations_of_noise_out() -> None:
    p = []
    for seed in range(150):
        x, y = noise_study(np.random.default_rng(seed), 9, 5, 2)
        p.append([m.p for m in choose_out_of_fold(x, y, list("abcde")).methods[1:]])
    assert (np.mean(np.array(p) < 0.01, axis=0) <= 0.05).all()


def test_two_halves_of_the_truth_are_better_together() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 16, 1))
    y = a + b + 0.1 * rng.normal(size=(16, 3))
    x = np.stack([a + 0.1 * rng.normal(size=(16, 3)), b + 0.1 * rng.normal(size=(16, 3))])
    best, ridge, non_negative = choose_out_of_fold(x, y, ["a", "b"]).methods
    assert ridge.accuracy > 0.9 > best.accuracy
    assert non_negative.accuracy > 0.9
    assert ridge.p < 0.01
    assert ridge.difference == pytest.approx(ridge.accuracy - best.accuracy)
    assert min(ridge.weights.values()) > 0.2


def test_best_is_the_enumeration_over_left_out_pairs() -> None:
    rng = np.random.default_rng(5)
    n, n_tasks, names = 7, 2, ["a", "b", "c"]
    q = rng.normal(size=(n, 1))
    y = q + 0.5 * rng.normal(size=(n, n_tasks))
    x = np.stack([q + s * rng.normal(size=(n, n_tasks)) for s in (0.8, 1.0, 1.2)])
    right, taken = [], []
    for i, j in combinations(range(n), 2):
        train = [s for s in range(n) if s not in (i, j)]
        r = [np.mean([np.corrcoef(e[train, t], y[train, t])[0, 1] for t in range(n_tasks)]) for e in x]
        best = int(np.argmax(r))
        taken.append(names[best])
        right += [(x[best][i, t] - x[best][j, t]) * (y[i, t] - y[j, t]) > 0 for t in range(n_tasks)]
    found = choose_out_of_fold(x, y, names)
    assert found.n_pairs == 21
    assert found.methods[0].accuracy == pytest.approx(np.mean(right))
    assert found.methods[0].weights == pytest.approx({name: taken.count(name) / 21 for name in names})


def test_families_are_left_out_whole() -> None:
    rng = np.random.default_rng(2)
    x, y = noise_study(rng, 10, 3, 1)
    groups = ["mimi"] * 5 + ["hubert"] * 5
    found = choose_out_of_fold(x, y, list("abc"), groups)
    # a pair of two families leaves nobody; a pair within one leaves the other five
    assert (found.n_pairs, found.n_pairs_without) == (20, 25)
    # an evaluator that is right in one family and reversed in the other is chosen in the wrong one
    y = rng.normal(size=(10, 1))
    turned = np.where(np.arange(10)[:, None] < 5, y, -y)
    within = choose_out_of_fold(turned[None], y, ["turned"], groups)
    assert within.methods[0].accuracy == pytest.approx(0.5)  # one family right, the other wrong
    assert within.methods[1].accuracy == pytest.approx(0.0)  # each family's weight is the wrong one for the other


def test_too_few_systems_have_a_reason_and_no_value() -> None:
    found = choose_out_of_fold(np.ones((2, 4)), np.arange(4.0), ["a", "b"])
    assert MIN_SYSTEMS_CHOICE == 5
    assert all(math.isnan(m.accuracy) for m in found.methods)
    assert "4 systems: no pair leaves 3 others" in (found.reason or "")
    with pytest.raises(SpokenevalError, match="finite"):
        choose_out_of_fold([[1.0, math.nan]], [1.0, 2.0], ["a"])
    with pytest.raises(SpokenevalError, match="expected evaluators"):
        choose_out_of_fold(np.ones((2, 4)), np.arange(5.0), ["a", "b"])


def test_many_pairs_are_sampled_by_a_seed_and_counted() -> None:
    x, y = noise_study(np.random.default_rng(0), 12, 2, 1)
    first, again = (choose_out_of_fold(x, y, ["a", "b"], max_pairs=20) for _ in range(2))
    assert (first.n_pairs, first.n_pairs_not_drawn) == (20, 46)
    assert first == again
