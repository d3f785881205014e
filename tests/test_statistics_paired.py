"""Paired tests of two models, adjustment, letters, and what could have been seen."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.paired import (
    compact_letters,
    design_effect,
    holm,
    mcnemar,
    minimal_detectable_difference,
    sign_flip,
)

HALVES = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])


@given(differences=st.lists(HALVES, min_size=1, max_size=8), data=st.data())
@settings(max_examples=80, deadline=None)
def test_exact_sign_flip_is_the_enumeration_over_clusters(differences: list[float], data: st.DataObject) -> None:
    clusters = data.draw(st.lists(st.integers(0, 3), min_size=len(differences), max_size=len(differences)))
    sums = [sum(d for d, c in zip(differences, clusters, strict=True) if c == k) for k in sorted(set(clusters))]
    flips = [abs(sum(s * v for s, v in zip(signs, sums, strict=True))) for signs in product((-1, 1), repeat=len(sums))]
    expected = np.mean(np.array(flips) >= abs(sum(sums)) - 1e-12)
    found = sign_flip(differences, clusters)
    assert found.p == pytest.approx(expected)
    assert sign_flip(-np.array(differences), clusters).p == found.p
    assert found.difference == pytest.approx(np.mean(differences))


def test_exact_sign_flip_without_ties_is_exact_mcnemar() -> None:
    a, b = [1] * 9 + [0] * 3 + [1] * 20, [0] * 9 + [1] * 3 + [1] * 20
    table = mcnemar(a, b)
    assert (table.n_only_a, table.n_only_b, table.n) == (9, 3, 32)
    assert table.p == pytest.approx(binomtest(3, 12).pvalue)
    assert sign_flip(np.subtract(a, b)).p == pytest.approx(table.p)


def test_drawn_p_is_b_plus_one_over_m_plus_one() -> None:
    """40 wins and no loss: no draw of 999 reaches it, so p is the smallest that 999 draws can give."""
    found = sign_flip(np.ones(40), n_draws=999, seed=0)
    assert found.p == 1 / 1000
    assert "999 draws" in found.method
    assert sign_flip(np.ones(16)).p == 2 / 2**16


def test_drawn_p_agrees_with_the_exact_one_and_repeats() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, 120), rng.integers(0, 2, 120)
    first = sign_flip(a - b, seed=3)
    assert first.p == pytest.approx(mcnemar(a, b).p, abs=0.02)
    assert first == sign_flip(a - b, seed=3)


def test_clusters_are_flipped_as_one() -> None:
    """10 items of one voice say no more than one: two patterns, p = 1."""
    assert sign_flip(np.ones(10), ["voice"] * 10).p == 1
    assert sign_flip(np.ones(10)).p == pytest.approx(2 / 1024)


def test_clustered_test_keeps_its_level_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(16), 8)
    clustered = plain = 0
    for k in range(300):
        d = rng.normal(0, 1, 16)[clusters] + rng.normal(0, 1, 128)
        clustered += sign_flip(d, clusters, seed=k).p <= 0.05
        plain += sign_flip(d, n_draws=200, seed=k).p <= 0.05
    assert 0.02 <= clustered / 300 <= 0.085
    assert plain / 300 > 0.2


def test_equal_models_have_p_one_and_no_items_has_a_reason() -> None:
    assert sign_flip([0, 0, 0]).p == 1
    assert sign_flip([1, -1], ["a", "a"]).p == 1
    empty = sign_flip([])
    assert math.isnan(empty.p)
    assert empty.reason == "no items"


def test_ties_and_missing_verdicts_are_refused_where_they_do_not_belong() -> None:
    with pytest.raises(SpokenevalError, match="ties use sign_flip"):
        mcnemar([1, 0.5], [0, 0])
    with pytest.raises(SpokenevalError, match="not finite"):
        sign_flip([1, math.nan])
    with pytest.raises(SpokenevalError, match="same items"):
        mcnemar([1], [0, 1])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
    for bad in ([1.2], [-0.1], [math.nan]):
        with pytest.raises(SpokenevalError):
            holm(bad)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
    assert (adjusted >= false_discovery_control(p) - 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_letters_of_the_recipe() -> None:
    found = compact_letters(["A", "B", "C"], {("A", "B"): 0.2, ("B", "C"): 0.2, ("C", "A"): 0.01})
    assert found == {"A": "a", "B": "ab", "C": "b"}
    assert compact_letters(["A"], {}) == {"A": "a"}
    assert compact_letters([], {}) == {}


@given(n=st.integers(2, 7), data=st.data())
@settings(max_examples=100, deadline=None)
def test_models_share_a_letter_exactly_where_they_cannot_be_told_apart(n: int, data: st.DataObject) -> None:
    names = [f"m{k}" for k in range(n)]
    p = {pair: data.draw(st.sampled_from([0.001, 0.5])) for pair in combinations(names, 2)}
    letters = compact_letters(names, p)
    assert all(letters.values())
    for (a, b), value in p.items():
        assert bool(set(letters[a]) & set(letters[b])) == (value >= 0.05)
    assert "a" in letters[names[0]]


def test_letters_refuse_a_missing_pair() -> None:
    with pytest.raises(SpokenevalError, match="'B' and 'C'"):
        compact_letters(["A", "B", "C"], {("A", "B"): 0.2, ("A", "C"): 0.2})
    with pytest.raises(SpokenevalError, match="twice"):
        compact_letters(["A", "A"], {("A", "A"): 0.2})


def test_minimal_detectable_difference_of_the_recipe() -> None:
    assert minimal_detectable_difference(0.30, 200) == pytest.approx(2.80 * math.sqrt(0.3 / 200), abs=1e-4)
    assert minimal_detectable_difference(0.30, 200) == pytest.approx(0.1085, abs=1e-4)
    assert minimal_detectable_difference(0.30, 200, alpha=0.05 / 15) == pytest.approx(0.1463, abs=1e-4)
    assert minimal_detectable_difference(0.0, 200) == 0
    assert minimal_detectable_difference(1.0, 1) == 1
    with pytest.raises(SpokenevalError):
        minimal_detectable_difference(30, 200)


def test_minimal_detectable_difference_is_seen_in_80_percent() -> None:
    d, n = minimal_detectable_difference(0.30, 200), 200
    rng = np.random.default_rng(5)
    outcome = rng.choice([1, -1, 0], p=[(0.3 + d) / 2, (0.3 - d) / 2, 0.7], size=(2000, n))
    seen = [binomtest(int((o > 0).sum()), int((o != 0).sum())).pvalue <= 0.05 for o in outcome[:600]]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)


def test_design_effect_is_one_for_single_items_and_the_size_for_identical_ones() -> None:
    d = np.array([1.0, -1, 1, 0.5, 0])
    assert design_effect(d, list("abcde")) == 1
    assert design_effect(np.repeat(d, 10), np.repeat(np.arange(5), 10)) == pytest.approx(10)
    assert math.isnan(design_effect([0, 0], [1, 2]))
    wide = minimal_detectable_difference(0.3, 200, effect_of_design=10)
    assert wide == pytest.approx(minimal_detectable_difference(0.3, 20))
