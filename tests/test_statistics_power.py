"""How many systems, items and votes would tell two evaluators apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.compare import williams
from spokeneval.statistics.paired import minimal_detectable_difference
from spokeneval.statistics.power import items_needed, told_apart, williams_power


@pytest.mark.parametrize(("r_a", "r_b", "r_ab", "n"), [(0.95, 0.80, 0.85, 8), (0.9, 0.5, 0.6, 12), (0.8, 0.6, 0.7, 30)])
def test_the_power_is_the_share_of_simulated_studies_that_the_test_finds(
    r_a: float, r_b: float, r_ab: float, n: int
) -> None:
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(np.array([[1, r_ab, r_a], [r_ab, 1, r_b], [r_a, r_b, 1]]))
    found = 0
    for _ in range(2000):
        r = np.corrcoef(root @ rng.standard_normal((3, n)))
        found += williams(r[0, 2], r[1, 2], r[0, 1], n).p_two_sided < 0.05
    assert williams_power(r_a, r_b, r_ab, n) == pytest.approx(found / 2000, abs=0.05)


def test_fewer_systems_than_said_do_not_reach_the_goal() -> None:
    found = told_apart(0.95, 0.80, 0.85, 8)
    assert found.n_systems is not None
    assert williams_power(0.95, 0.80, 0.85, found.n_systems) >= 0.8
    assert williams_power(0.95, 0.80, 0.85, found.n_systems - 1) < 0.8
    # the recipe: p .028 one-sided at 10 systems, so that the power is about one half there
    assert 0.4 < williams_power(0.95, 0.80, 0.85, 10) < 0.65


def test_votes_help_where_the_mos_is_noisy_and_items_where_the_metrics_are() -> None:
    noisy_mos = told_apart(0.70, 0.45, 0.6, 30, reliability_mos=0.6)
    assert noisy_mos.times_items is None  # both metrics are exact: more items change nothing
    assert noisy_mos.times_votes is not None
    assert noisy_mos.times_votes > 1
    # by hand: with m times the votes the reliability is .6 m / (.6 m + .4), and the correlations grow by its root
    m = noisy_mos.times_votes
    scale = math.sqrt(0.6 * m / (0.6 * m + 0.4) / 0.6)
    assert williams_power(0.70 * scale, 0.45 * scale, 0.6, 30) == pytest.approx(0.8, abs=0.005)
    noisy_metrics = told_apart(0.70, 0.40, 0.5, 30, reliability_a=0.7, reliability_b=0.7)
    assert noisy_metrics.times_votes is None
    assert noisy_metrics.times_items == pytest.approx(2.22, abs=0.01)


def test_the_line_says_all_three() -> None:
    line = told_apart(0.95, 0.80, 0.85, 8).in_words()
    assert "with about 16 systems like these" in line
    assert "no number of items and no number of votes would do" in line
    assert "is seen in 9" in told_apart(0.95, 0.2, 0.2, 12).in_words()


def test_what_cannot_be_said_has_a_reason() -> None:
    assert "needs 4" in told_apart(0.9, 0.5, 0.5, 3).in_words()
    assert "not in (0, 1]" in told_apart(0.9, 0.5, 0.5, 8, reliability_mos=-0.1).in_words()
    assert "no data" in told_apart(0.9, 0.5, 0.5, 8, reliability_mos=0.5).in_words()
    assert told_apart(0.9, 0.9, 0.5, 8).n_systems is None
    with pytest.raises(SpokenevalError, match="goal"):
        told_apart(0.9, 0.5, 0.5, 8, goal=80)


def test_items_needed_is_the_inverse_of_the_minimal_detectable_difference() -> None:
    n = items_needed(0.108, 0.30)
    assert n == 202  # (2.8016 / .108)^2 x .30 = 201.9
    assert minimal_detectable_difference(0.30, n) <= 0.108 < minimal_detectable_difference(0.30, n - 1)
    assert items_needed(-0.108, 0.30) == 202
    assert items_needed(0.108, 0.30, effect_of_design=2) == 404
    assert items_needed(0.0, 0.30) is None
    with pytest.raises(SpokenevalError, match="discordance"):
        items_needed(0.1, 1.5)
