"""How many systems, items or raters would tell two evaluators (or two models) apart, at the effect seen.

Conventions
-----------
- Two evaluators are compared by Williams' test (`compare.williams`), two-sided, on systems. Its power at correlations
  r_a, r_b and r_ab is taken from the noncentral t with the statistic of those correlations as noncentrality
  (simulated: within .05 of the share found for n >= 6).
- Three levers, each alone: **systems** (like these), **items** of the metrics (the noise of both evaluators' axes falls
  with their number) and **votes** (the noise of the MOS axis falls with their number, items and listeners together).
  An axis of reliability R has, with m times as many, reliability R m / (R m + 1 - R) (Spearman 1910, Brown 1910); what
  is seen are the true correlations times the roots of the reliabilities.
- The effect seen is taken as the true one. It is itself uncertain, and an effect that was looked at because it was
  large is smaller: the numbers are for planning, lower bounds at that.
- Two models: see `paired.minimal_detectable_difference`, whose inverse is `items_needed`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit
from scipy.stats import nct

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.compare import williams
from spokeneval.statistics.intervals import FloatArray

MOST_SYSTEMS = 10_000
MOST_TIMES = 1_000.0
"""More than that many times the items or votes is called 'no number'."""


@dataclass(frozen=True)
class ToldApart:
    """What would tell two evaluators apart; None where no number in reach would, NaN where it cannot be said."""

    power: float
    """of Williams' test with what there is"""
    n_systems: int | None
    times_items: float | None
    """how many times the items of the metrics"""
    times_votes: float | None
    """how many times the votes"""
    reason: str | None = None

    def in_words(self, goal: float = 0.8) -> str:
        """One line."""
        if self.reason is not None:
            return f"power cannot be said: {self.reason}"
        if self.power >= goal:
            return f"a difference like this is seen in {self.power:.0%} of studies like this one"
        few = self.n_systems is not None
        systems = f"about {self.n_systems}" if few else f"more than {MOST_SYSTEMS}"
        items, votes = (
            f"no number of {name}" if times is None else f"{times:.2g} times as many {name}"
            for name, times in (("items", self.times_items), ("votes", self.times_votes))
        )
        return (
            f"a difference like this is seen in {self.power:.0%} of studies like this one; in {goal:.0%} with "
            f"{systems} systems like these; with these systems {items} and {votes} would do"
        )


def williams_power(r_a: float, r_b: float, r_ab: float, n: int, alpha: float = 0.05) -> float:
    """Probability in [0, 1] that Williams' test, two-sided at alpha, finds r_a other than r_b over n systems.

    NaN for fewer than 4 systems or evaluators that are the same up to scale.
    """
    seen = williams(r_a, r_b, r_ab, n)
    if seen.reason is not None:
        return math.nan
    critical = float(stdtrit(n - 3, 1 - alpha / 2))
    t = abs(seen.t)
    # far out the distribution is 1 to any digit, and scipy's series gives NaN
    if t > 37:
        return 1.0
    return float(nct.sf(critical, n - 3, t) + nct.cdf(-critical, n - 3, t))


def told_apart(
    r_a: float,
    r_b: float,
    r_ab: float,
    n: int,
    reliability_a: float = 1.0,
    reliability_b: float = 1.0,
    reliability_mos: float = 1.0,
    goal: float = 0.8,
    alpha: float = 0.05,
) -> ToldApart:
    """What would tell evaluator a from evaluator b, with the observed correlations over n systems.

    r_a, r_b: with the MOS; r_ab: of the two; reliabilities in (0, 1] of the three axes (see `noise.reliability`).
    Raises SpokenevalError for a goal or alpha outside (0, 1) and where no data could have the three correlations.
    """
    if not (0 < goal < 1 and 0 < alpha < 1):
        raise SpokenevalError(f"told_apart: expected goal and alpha in (0, 1), got {goal} and {alpha}")
    if r_a == r_b:
        return ToldApart(alpha, None, None, None)
    power = williams_power(r_a, r_b, r_ab, n, alpha)
    if math.isnan(power):
        return ToldApart(math.nan, None, None, None, williams(r_a, r_b, r_ab, n).reason)
    n_systems = _fewest_systems(r_a, r_b, r_ab, goal, alpha)
    held = np.array([reliability_a, reliability_b, reliability_mos], dtype=np.float64)
    if not ((held > 0) & (held <= 1)).all():
        shown = ", ".join(f"{value:.2f}" for value in held)
        return ToldApart(power, n_systems, math.nan, math.nan, f"reliabilities of {shown} are not in (0, 1]")
    seen = np.array([[1.0, r_ab, r_a], [r_ab, 1.0, r_b], [r_a, r_b, 1.0]])
    true = _true(seen, held)
    if true is None:
        why = "with the noise taken off no data could have these correlations"
        return ToldApart(power, n_systems, math.nan, math.nan, why)
    items = _fewest_times(true, held, np.array([True, True, False]), n, goal, alpha)
    votes = _fewest_times(true, held, np.array([False, False, True]), n, goal, alpha)
    return ToldApart(power, n_systems, items, votes)


def items_needed(
    difference: float,
    discordance: float,
    alpha: float = 0.05,
    power: float = 0.8,
    effect_of_design: float = 1.0,
) -> int | None:
    """Items that tell two models apart whose accuracies differ by `difference` (a share); None where it is 0.

    The least n whose minimal detectable difference is not above it: ((z_{1 - alpha / 2} + z_power) / difference)^2
    times discordance times the effect of the design. Raises SpokenevalError outside the ranges.
    """
    if not (0 <= discordance <= 1 and 0 < power < 1 and 0 < alpha < 1 and effect_of_design > 0):
        raise SpokenevalError(
            f"items_needed: expected discordance in [0, 1], alpha and power in (0, 1), effect of the design above 0; "
            f"got {discordance}, {alpha}, {power}, {effect_of_design}"
        )
    if difference == 0:
        return None
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return math.ceil((z / difference) ** 2 * discordance * effect_of_design - 1e-9)


def _fewest_systems(r_a: float, r_b: float, r_ab: float, goal: float, alpha: float) -> int | None:
    """By bisection: power grows with the systems."""
    low, high = 3, 4
    while not williams_power(r_a, r_b, r_ab, high, alpha) >= goal:
        low, high = high, high * 2
        if low >= MOST_SYSTEMS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if williams_power(r_a, r_b, r_ab, middle, alpha) >= goal else (middle, high)
    return high


def _true(seen: FloatArray, held: FloatArray) -> FloatArray | None:
    """Correlations with the noise taken off; None where they are none of any data."""
    true: FloatArray = seen / np.sqrt(np.outer(held, held))
    np.fill_diagonal(true, 1.0)
    return true if float(np.linalg.eigvalsh(true)[0]) > 1e-9 else None


def _fewest_times(
    true: FloatArray, held: FloatArray, of_lever: NDArray[np.bool_], n: int, goal: float, alpha: float
) -> float | None:
    """How many times the items or votes, to three digits; None where even MOST_TIMES is not enough."""

    def enough(times: float) -> bool:
        more = np.where(of_lever, held * times / (held * times + 1 - held), held)
        r = true * np.sqrt(np.outer(more, more))
        return williams_power(float(r[0, 2]), float(r[1, 2]), float(r[0, 1]), n, alpha) >= goal

    if enough(1.0):
        return 1.0
    if not enough(MOST_TIMES):
        return None
    low, high = 1.0, MOST_TIMES
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
