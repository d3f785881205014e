"""Profiles around the transition and their latencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.transition import effect_latency, transition_profile

EDGES = np.arange(-10, 51) * 0.02


def test_planted_step_has_its_latencies_within_bins() -> None:
    effect = ((EDGES[:-1] >= -1e-9) & (EDGES[:-1] < 0.24 - 1e-9)).astype(float)
    assert effect.sum() == 12
    assert effect_latency(EDGES, effect, 0.9).latency_s == pytest.approx(0.216)
    assert effect_latency(EDGES, effect, 0.5).latency_s == pytest.approx(0.12)
    assert effect_latency(EDGES, effect, 0.9).total == pytest.approx(0.24)


def test_planted_step_is_found_from_tokens_of_any_rate() -> None:
    """12.5 Hz tokens: the step ends in the middle of no token, so the latency is exact."""
    start = np.arange(-5, 15) * 0.08
    nll = np.where((start > -1e-9) & (start < 0.24 - 1e-9), 3.0, 2.0)
    negative, positive = (transition_profile(start, start + 0.08, v, EDGES[5:]) for v in (nll, np.full(20, 2.0)))
    assert effect_latency(EDGES[5:], negative.mean - positive.mean, 0.9).latency_s == pytest.approx(0.216)


def test_profile_weights_tokens_by_time_in_the_bin() -> None:
    """Bin [0, .1): .1 s of a token with 1 nat, .05 s of one with 4: (.1 + .2) / .15 = 2."""
    found = transition_profile([0.0, 0.05], [0.2, 0.1], [1.0, 4.0], [0.0, 0.1, 0.2, 0.3])
    assert found.mean[0] == pytest.approx(2)
    assert found.mean[1] == pytest.approx(1)
    assert math.isnan(found.mean[2])
    assert found.seconds == pytest.approx([0.15, 0.1, 0])


def test_smeared_effect_may_be_half_there_before_the_transition() -> None:
    found = effect_latency([-0.1, 0.0, 0.1], [1.0, 0.5], 0.5)
    assert found.latency_s == pytest.approx(-0.025)


def test_an_effect_that_adds_up_to_nothing_has_no_latency() -> None:
    for effect in ([1.0, -1.0], [0.0, 0.0], [-1.0, 0.5]):
        found = effect_latency([0.0, 0.1, 0.2], effect, 0.9)
        assert math.isnan(found.latency_s)
        assert found.reason


@given(effect=st.lists(st.floats(0.01, 5), min_size=1, max_size=20), share=st.floats(0.05, 0.95))
def test_latency_rises_with_the_share_and_ignores_scale(effect: list[float], share: float) -> None:
    edges = np.arange(len(effect) + 1) * 0.1
    at = effect_latency(edges, effect, share).latency_s
    assert 0 < at < edges[-1]
    assert effect_latency(edges, np.array(effect) * 7, share).latency_s == pytest.approx(at)
    assert effect_latency(edges, effect, share / 2).latency_s < at


def test_bad_bins_tokens_and_shares_are_refused() -> None:
    with pytest.raises(SpokenevalError, match="rising"):
        effect_latency([0.0, 0.0], [1.0], 0.5)
    with pytest.raises(SpokenevalError, match="2 bins, got 1"):
        effect_latency([0.0, 0.1, 0.2], [1.0], 0.5)
    with pytest.raises(SpokenevalError, match="share"):
        effect_latency([0.0, 0.1], [1.0], 90)
    with pytest.raises(SpokenevalError, match="ends at or before"):
        transition_profile([0.1], [0.1], [1.0], [0.0, 1.0])
