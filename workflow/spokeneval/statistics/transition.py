"""How a difference in negative log-likelihood builds up after the transition, and how soon most of it is there.

Conventions
-----------
- Times are seconds from the transition; negative before it. A token spans [start_s, end_s).
- A profile is the mean over tokens of a member's NLL (nats per token) in each time bin, tokens weighted by the time
  that they spend in the bin; the effect is profile(negative) - profile(positive), positive where the wrong
  continuation surprises.
- The cumulative effect is the effect times the width of the bin, summed from the first bin; it grows linearly within
  a bin. The latency of a share is when the cumulative effect **first** reaches that share of its value at the last
  bin: it depends on where the profile ends. A step of +1 nat for 0.24 s has its 90 % latency at 0.216 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.intervals import FloatArray, finite_vector


@dataclass(frozen=True)
class Profile:
    """Mean NLL per token in each bin."""

    mean: FloatArray
    """(n_bins,) nats per token; NaN where no token lies in the bin"""
    seconds: FloatArray
    """(n_bins,) seconds of tokens that entered"""


@dataclass(frozen=True)
class Latency:
    """When the cumulative effect first reaches `share` of its total."""

    share: float
    latency_s: float
    """NaN where there is none; `reason` says why"""
    total: float
    """nats per token times seconds"""
    reason: str | None = None


def transition_profile(start_s: ArrayLike, end_s: ArrayLike, nll: ArrayLike, edges_s: ArrayLike) -> Profile:
    """Mean NLL per token in the bins between `edges_s`, over the tokens of many items.

    start_s, end_s, nll: (n_tokens,), times from each item's transition, end after start; edges_s: (n_bins + 1,) rising.
    """
    start, end, loss = finite_vector(start_s, "start_s"), finite_vector(end_s, "end_s"), finite_vector(nll, "nll")
    edges = _rising(edges_s)
    if not len(start) == len(end) == len(loss):
        raise SpokenevalError(f"transition_profile: {len(start)} starts, {len(end)} ends and {len(loss)} values")
    if (end <= start).any():
        raise SpokenevalError("transition_profile: a token ends at or before its start; leave marks out")
    seconds, weighted = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for k in range(len(seconds)):
        inside = np.clip(np.minimum(end, edges[k + 1]) - np.maximum(start, edges[k]), 0, None)
        seconds[k], weighted[k] = inside.sum(), inside @ loss
    with np.errstate(invalid="ignore", divide="ignore"):
        return Profile(np.where(seconds > 0, weighted / seconds, np.nan), seconds)


def effect_latency(edges_s: ArrayLike, effect: ArrayLike, share: float) -> Latency:
    """Time at which the cumulative effect first reaches `share` (in (0, 1)) of its total.

    edges_s: (n_bins + 1,) seconds, rising; effect: (n_bins,) nats per token, finite. None where the total is not
    positive.
    """
    edges, density = _rising(edges_s), finite_vector(effect, "effect")
    if len(density) != len(edges) - 1:
        raise SpokenevalError(
            f"effect_latency: {len(edges)} edges bound {len(edges) - 1} bins, got {len(density)} values"
        )
    if not 0 < share < 1:
        raise SpokenevalError(f"effect_latency: expected a share in (0, 1), got {share}")
    cumulative = np.concatenate([[0.0], np.cumsum(density * np.diff(edges))])
    total = float(cumulative[-1])
    if total <= 1e-12:
        return Latency(share, math.nan, total, "the effect adds up to nothing: no latency")
    goal = share * total
    k = int(np.flatnonzero(cumulative >= goal - 1e-12 * total)[0])
    before, rise = cumulative[k - 1], cumulative[k] - cumulative[k - 1]
    at = float(edges[k - 1] + (edges[k] - edges[k - 1]) * (goal - before) / rise)
    return Latency(share, at, total)


def _rising(edges_s: ArrayLike) -> FloatArray:
    edges = finite_vector(edges_s, "edges_s")
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise SpokenevalError("edges_s: expected at least two bin edges, rising")
    return edges
