"""Variance components, interval and intraclass correlation of two crossed factors.

All studies here are simulated from the generative model of `ratings_simulation`.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from ratings_simulation import expected_score, simulated_votes
from scipy.special import stdtrit

from spokeneval.statistics.crossed import components, crossed_mean, intraclass

N_STUDIES = int(os.environ.get("SPOKENEVAL_SIMULATIONS", "250")) * 6
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Six targets, four judges (Shrout & Fleiss 1979, table 2)."""


def long_form(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, column = np.indices(table.shape)
    return table.ravel(), row.ravel(), column.ravel()


def test_components_and_icc_by_shrout_and_fleiss_own_example() -> None:
    """Their table 3: mean squares 11.24 between targets, 32.49 between judges, 1.02 residual."""
    found = components(*long_form(SHROUT_FLEISS))
    assert found.residual == pytest.approx(1.0194, abs=1e-4)
    assert found.row == pytest.approx((11.2417 - 1.0194) / 4, abs=1e-4)
    assert found.column == pytest.approx((32.4861 - 1.0194) / 6, abs=1e-4)
    icc = intraclass(*long_form(SHROUT_FLEISS))
    assert (icc.single, icc.mean) == (pytest.approx(0.2898, abs=1e-4), pytest.approx(0.6201, abs=1e-4))
    assert icc.k == 4


def test_the_interval_by_hand() -> None:
    """The same table: variance = (11.2417 + 32.4861 - 1.0194) / 24; df by Satterthwaite with 5, 3 and 15, the residual
    counted by 3/4 where it stands beside the targets, which have 4 scores each."""
    found = crossed_mean(*long_form(SHROUT_FLEISS))
    squares = 11.2417, 32.4861, 1.0194
    variance = (squares[0] + squares[1] - squares[2]) / 24
    parts = (squares[0] - squares[2] / 4) ** 2 / 5 + squares[1] ** 2 / 3 + (0.75 * squares[2]) ** 2 / 15
    df = (24 * variance) ** 2 / parts
    assert found.value == pytest.approx(127 / 24)
    assert found.standard_error == pytest.approx(math.sqrt(variance), abs=1e-4)
    assert found.degrees_of_freedom == pytest.approx(df, abs=1e-3)
    assert found.high - found.value == pytest.approx(stdtrit(df, 0.975) * math.sqrt(variance), abs=1e-3)


def test_components_are_unbiased_in_unbalanced_designs_with_repeated_and_empty_cells() -> None:
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, 12, 90), rng.integers(0, 9, 90) ** 2 % 7
    assert len(np.unique(row * 100 + column)) < 90
    told = []
    for _ in range(3000):
        score = rng.normal(0, 1, 12)[row] + rng.normal(0, 0.5, 7)[column] + rng.normal(0, 0.8, 90)
        found = components(score, row, column)
        told.append((found.row, found.column, found.residual))
    np.testing.assert_allclose(np.mean(told, axis=0), [1, 0.25, 0.64], atol=0.03)


def test_nested_listeners_are_told_from_items() -> None:
    """Each listener hears two samples of one item only."""
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(20), 8)
    listener = np.repeat(np.arange(80), 2)
    told = []
    for _ in range(1500):
        score = rng.normal(0, 1, 20)[item] + rng.normal(0, 0.5, 80)[listener] + rng.normal(0, 0.8, 160)
        found = components(score, item, listener)
        told.append((found.row, found.column, found.residual))
    np.testing.assert_allclose(np.mean(told, axis=0), [1, 0.25, 0.64], atol=0.04)


def coverage(n_items: int, n_listeners: int, votes: int, rounded: bool, seed: int = 20) -> tuple[float, float]:
    """Share of intervals that hold the expected score: items and listeners, and votes taken as independent."""
    rng = np.random.default_rng(seed)
    true = expected_score(3.7) if rounded else 3.7
    hits, plain = 0, 0
    for _ in range(N_STUDIES):
        one = simulated_votes(rng, np.array([3.7]), n_items, n_listeners, votes, rounded)
        score = one["score"].to_numpy()
        found = crossed_mean(score, one["item"].to_numpy(), one["listener"].to_numpy())
        hits += found.low <= true <= found.high
        plain += abs(score.mean() - true) <= 1.96 * score.std(ddof=1) / math.sqrt(len(score))
    return hits / N_STUDIES, plain / N_STUDIES


@pytest.mark.parametrize(
    ("n_items", "n_listeners", "votes", "rounded"),
    [
        (50, 60, 5, True),
        (50, 60, 5, False),
        (20, 8, 8, True),
        (10, 5, 5, False),
        (60, 2000, 4, True),
        (200, 12, 4, True),
    ],
)
def test_the_interval_holds_the_expected_score_of_new_items_and_listeners(n_items, n_listeners, votes, rounded) -> None:
    """Panels, pools and crowds; 93-97 %, give or take what so many studies can tell."""
    covered, _ = coverage(n_items, n_listeners, votes, rounded)
    slack = 1.5 * math.sqrt(0.05 * 0.95 / N_STUDIES)
    assert 0.93 - slack <= covered <= 0.97 + slack


def test_votes_taken_as_independent_do_not_cover() -> None:
    _, plain = coverage(200, 12, 4, rounded=True)
    assert plain < 0.75


def test_rows_or_columns_of_one_score_each_are_part_of_the_residual() -> None:
    """A plain t interval over votes where each item and each listener has one; over listeners where each item has."""
    score = np.array([1.0, 2, 4, 5, 3, 3])
    alone = crossed_mean(score, np.arange(6), np.arange(6))
    error = score.std(ddof=1) / math.sqrt(6)
    assert alone.standard_error == pytest.approx(error)
    assert alone.high - alone.value == pytest.approx(stdtrit(5, 0.975) * error)
    by_listener = crossed_mean(score, np.arange(6), [0, 0, 1, 1, 2, 2])
    assert by_listener.components is not None
    assert by_listener.components.row == 0
    means = np.array([1.5, 4.5, 3])
    assert by_listener.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(3))
    assert by_listener.degrees_of_freedom == pytest.approx(2)


@pytest.mark.parametrize(
    ("score", "item", "listener", "reason"),
    [
        ([], [], [], "no votes"),
        ([1, 2], ["i", "i"], ["v", "w"], "one item: no interval"),
        ([1, 2], ["i", "j"], ["v", "v"], "one listener: no interval"),
        ([4, 4], ["i", "j"], ["v", "w"], "all votes are equal: no interval"),
    ],
)
def test_no_interval_is_said_with_its_reason(score, item, listener, reason) -> None:
    found = crossed_mean(score, item, listener)
    assert found.reason == reason
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_names_of_items_and_listeners_and_the_order_of_votes_do_not_matter() -> None:
    one = simulated_votes(np.random.default_rng(3), np.array([3.0]), 12, 9, 4).sample(
        fraction=1.0, seed=1, shuffle=True
    )
    found = crossed_mean(*(one[name].to_numpy() for name in ("score", "item", "listener")))
    renamed = one.reverse().select("score", item="x" + one.reverse()["item"], listener=one.reverse()["listener"] + "y")
    other = crossed_mean(*(renamed[name].to_numpy() for name in ("score", "item", "listener")))
    assert (found.low, found.high) == pytest.approx((other.low, other.high))


def test_icc_of_one_vote_a_row_is_not_defined() -> None:
    assert math.isnan(intraclass([1, 2, 3], [0, 1, 2], [0, 0, 1]).single)
