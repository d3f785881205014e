"""The correlation of expected metric with expected MOS over these systems, and the ceilings beside it.

Conventions
-----------
- **Estimand**: Pearson's r, over these very systems, of their expected metric with their expected MOS (expectations
  over items and listeners). The observed r is smaller, as noise on either axis attenuates it.
- Corrected r: noise variances and covariances (`noise`) are taken off before the coefficient is formed; it can exceed
  1, and is not clipped. Disattenuated r: observed / sqrt(reliability x reliability) (Spearman 1904), which takes no
  note of shared items.
- **Interval**: parametric bootstrap of the corrected r, inverted (Carpenter 1999). For each candidate r, true means
  with the signal variances found and exactly that r get normal noise of the covariance found, scaled by a chi-square
  for how well that covariance is known; the interval holds every r under which the corrected r found lies between its
  2.5 % and 97.5 % quantiles. A percentile bootstrap adds the noise a second time and does not cover: see the tests.
- Below a reliability of .8 of either axis there is no interval ("too noisy for an interval"): coverage was simulated
  above it only.
- Split-half reliability: listeners in two halves, r of the system means, Spearman-Brown 2r / (1 + r). Krippendorff's
  alpha comes from the package `krippendorff`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.correlation import MIN_SYSTEMS, is_constant, pearson_r
from spokeneval.statistics.intervals import N_DRAWS, FloatArray, cluster_codes, finite_vector
from spokeneval.statistics.noise import NoisyMeans, centred_trace, reliability, shared_noise

MIN_RELIABILITY = 0.8
TOO_NOISY = "too noisy for an interval"
_HALVINGS = 24
"""Bounds are found to pi / 2^24 in the angle whose cosine is r."""


@dataclass(frozen=True)
class ExpectedCorrelation:
    """Correlation of expected values over these systems; NaN where there is none, and `reason` says why."""

    observed: float
    corrected: float
    """noise variances and covariances taken off; may exceed 1"""
    disattenuated: float
    """observed / sqrt(product of the reliabilities)"""
    low: float
    high: float
    reliability_x: float
    reliability_y: float
    n_systems: int
    reason: str | None = None


@dataclass(frozen=True)
class SplitHalf:
    """Split-half reliability of the system means of ratings."""

    value: float
    """mean over splits of 2r / (1 + r)"""
    half: float
    """mean over splits of r: the correlation of one half of the listeners with the other"""
    n_splits: int
    n_left_out: int
    """splits in which a system had no rating in one half"""
    reason: str | None = None


def expected_correlation(
    x: NoisyMeans,
    y: NoisyMeans,
    n_draws: int = N_DRAWS,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> ExpectedCorrelation:
    """Observed, corrected and disattenuated r over the systems, with the interval of the estimand.

    x: metric, y: ratings, of the same systems in the same order. Raises SpokenevalError where they differ.
    """
    if x.systems != y.systems:
        raise SpokenevalError(f"expected_correlation: the sides have different systems: {x.systems} and {y.systems}")
    n = len(x.systems)
    nan = math.nan
    if n < MIN_SYSTEMS or is_constant(x.mean) or is_constant(y.mean):
        few = n < MIN_SYSTEMS
        reason = f"{n} systems: a correlation needs {MIN_SYSTEMS}" if few else "a side is the same for all systems"
        return ExpectedCorrelation(nan, nan, nan, nan, nan, nan, nan, n, reason)
    rx, ry = reliability(x), reliability(y)
    observed = pearson_r(x.mean, y.mean)
    if min(rx.value, ry.value) <= 0:
        reason = f"{TOO_NOISY}: an axis has no more variance than its noise"
        return ExpectedCorrelation(observed, nan, nan, nan, nan, rx.value, ry.value, n, reason)
    cross = float((x.mean - x.mean.mean()) @ (y.mean - y.mean.mean())) - centred_trace(shared_noise(x, y))
    corrected = cross / ((n - 1) * math.sqrt(rx.signal_variance * ry.signal_variance))
    disattenuated = observed / math.sqrt(rx.value * ry.value)
    if min(rx.value, ry.value) < MIN_RELIABILITY:
        reason = f"{TOO_NOISY}: reliability {rx.value:.2f} and {ry.value:.2f}, at least {MIN_RELIABILITY} is needed"
        return ExpectedCorrelation(observed, corrected, disattenuated, nan, nan, rx.value, ry.value, n, reason)
    family = _Family(x, y, math.sqrt(rx.signal_variance), math.sqrt(ry.signal_variance), n_draws, seed)
    tail = (1 - confidence) / 2
    low, high = family.bound(corrected, tail, upper=False), family.bound(corrected, tail, upper=True)
    reason_none = None if low <= high else "no r explains what was observed: the noise found is too large"
    if reason_none:
        low = high = nan
    return ExpectedCorrelation(observed, corrected, disattenuated, low, high, rx.value, ry.value, n, reason_none)


class _Family:
    """Draws of the corrected r for any true r, from one set of noise draws."""

    def __init__(
        self, x: NoisyMeans, y: NoisyMeans, sd_x: float, sd_y: float, n_draws: int, seed: int | np.random.Generator
    ) -> None:
        n = len(x.mean)
        u = x.mean - x.mean.mean()
        u = u / np.linalg.norm(u)
        v = _orthogonal(y.mean - y.mean.mean(), u)
        cross = shared_noise(x, y)
        rng = np.random.default_rng(seed)
        noise = _draws(np.block([[x.covariance, cross], [cross.T, y.covariance]]), n_draws, rng)
        scale = [np.sqrt(df / rng.chisquare(df, (n_draws, 1))) for df in (x.noise_df, y.noise_df)]
        e, f = noise[:, :n] * scale[0], noise[:, n:] * scale[1]
        e, f = e - e.mean(axis=1, keepdims=True), f - f.mean(axis=1, keepdims=True)
        first = sd_x * math.sqrt(n - 1) * u + e
        self._length = sd_y * math.sqrt(n - 1)
        self._taken_xy, self._taken_yy = centred_trace(cross), centred_trace(y.covariance)
        # a draw with no signal variance left counts as a correlation beyond any bound
        self._signal_x = np.maximum(np.einsum("ij,ij->i", first, first) - centred_trace(x.covariance), 1e-300)
        self._xu, self._xv = first @ u, first @ v
        self._xf = np.einsum("ij,ij->i", first, f)
        self._fu, self._fv = f @ u, f @ v
        self._ff = np.einsum("ij,ij->i", f, f)

    def corrected(self, angle: float) -> FloatArray:
        """(n_draws,) corrected r where the true r is cos(angle)."""
        a, b = self._length * math.cos(angle), self._length * math.sin(angle)
        xy = a * self._xu + b * self._xv + self._xf - self._taken_xy
        yy = self._length**2 + 2 * (a * self._fu + b * self._fv) + self._ff - self._taken_yy
        r: FloatArray = xy / (np.sqrt(self._signal_x) * np.sqrt(np.maximum(yy, 1e-300)))
        return r

    def bound(self, seen: float, tail: float, upper: bool) -> float:
        """The true r at which `seen` has just `tail` of the draws beyond it; 1 or -1 where none in reach has less."""

        def inside(angle: float) -> bool:
            r = self.corrected(angle)
            return bool(np.mean(r <= seen if upper else r >= seen) >= tail)

        # the far end of the range for this bound, and the other one
        far, near = (0.0, math.pi) if upper else (math.pi, 0.0)
        if inside(far):
            return math.cos(far)
        if not inside(near):
            return -math.inf if upper else math.inf
        for _ in range(_HALVINGS):
            middle = (far + near) / 2
            far, near = (far, middle) if inside(middle) else (middle, near)
        return math.cos(near)


def _orthogonal(values: FloatArray, u: FloatArray) -> FloatArray:
    """Unit vector of the centred space, orthogonal to u, nearest to `values`; any one where nothing is left of them."""
    left = values - (values @ u) * u
    size = np.linalg.norm(left)
    if size <= 1e-9 * np.linalg.norm(values):
        for k in range(len(u)):
            left = -np.full(len(u), 1 / len(u))
            left[k] += 1
            left = left - (left @ u) * u
            size = np.linalg.norm(left)
            if size > 0.1:
                break
    unit: FloatArray = left / size
    return unit


def _draws(covariance: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """(n_draws, n) normal draws, negative eigenvalues of the covariance taken as 0."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    draws: FloatArray = rng.standard_normal((n_draws, len(values))) @ root.T
    return draws


def split_half(
    score: ArrayLike,
    system: Sequence[Any] | NDArray[Any],
    listener: Sequence[Any] | NDArray[Any],
    n_splits: int = 1000,
    seed: int | np.random.Generator = 0,
) -> SplitHalf:
    """Split-half reliability over listeners of the system means, with Spearman-Brown; all (n_ratings,)."""
    scores = finite_vector(score, "score")
    by_system, n_systems = cluster_codes(system, len(scores))
    by_listener, n_listeners = cluster_codes(listener, len(scores))
    if n_systems < MIN_SYSTEMS or n_listeners < 2:
        reason = f"{n_systems} systems and {n_listeners} listeners: at least {MIN_SYSTEMS} and 2 are needed"
        return SplitHalf(math.nan, math.nan, 0, 0, reason)
    cell = by_listener * n_systems + by_system
    sums = np.bincount(cell, scores, n_listeners * n_systems).reshape(n_listeners, n_systems)
    counts = np.bincount(cell, minlength=n_listeners * n_systems).reshape(n_listeners, n_systems)
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(n_listeners), (n_splits, 1)), axis=1)
    first = (order < n_listeners // 2).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (first @ sums) / (first @ counts), ((1 - first) @ sums) / ((1 - first) @ counts)
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        r = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    good = np.isfinite(r) & (r > -1)
    if not good.any():
        return SplitHalf(
            math.nan, math.nan, n_splits, n_splits, "no split leaves ratings of every system in both halves"
        )
    kept = r[good]
    return SplitHalf(float(np.mean(2 * kept / (1 + kept))), float(kept.mean()), n_splits, int((~good).sum()))


def krippendorff_alpha(
    score: ArrayLike,
    clip: Sequence[Any] | NDArray[Any],
    listener: Sequence[Any] | NDArray[Any],
    level: Literal["nominal", "ordinal", "interval", "ratio"] = "ordinal",
) -> float:
    """Krippendorff's alpha of ratings in long form, (n_ratings,) each; a clip is what was heard (system and item).

    By the package `krippendorff`. NaN where no clip has two ratings or all such ratings are equal. Raises
    SpokenevalError where a listener rated a clip twice, or the package is not installed.
    """
    scores = finite_vector(score, "score")
    clips, n_clips = cluster_codes(clip, len(scores))
    listeners, _ = cluster_codes(listener, len(scores))
    cell = listeners * n_clips + clips
    if len(np.unique(cell)) != len(cell):
        raise SpokenevalError("krippendorff_alpha: a listener rated a clip twice; keep one of the votes")
    # only clips with two ratings are compared
    if len(np.unique(scores[np.bincount(clips)[clips] > 1])) < 2:
        return math.nan
    try:
        import krippendorff  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ModuleNotFoundError:
        raise SpokenevalError(
            "krippendorff_alpha: the package 'krippendorff' is not installed; pip install it"
        ) from None
    # counts of each value per clip: small, where a listener x clip matrix of a large test is not
    domain, value_codes = np.unique(scores, return_inverse=True)
    value_counts = np.zeros((n_clips, len(domain)), dtype=np.int64)
    np.add.at(value_counts, (clips, value_codes), 1)
    return float(krippendorff.alpha(value_counts=value_counts, value_domain=domain, level_of_measurement=level))
