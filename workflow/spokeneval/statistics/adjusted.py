"""Correlation with something held fixed: within family, with task means removed, partial given a ceiling.

Conventions
-----------
- Both sides are regressed on the controls (and an intercept), and the residuals are correlated: the partial
  correlation. Centring by group is the same with one indicator a group.
- Fisher's interval for new systems then has variance 1 / (n - k - 3), k the number of independent controls (Fisher
  1924); it needs n - k >= 5. Cells of one system are not independent: for system x task cells ask for no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spokeneval.errors import SpokenevalError
from spokeneval.statistics.correlation import MIN_SYSTEMS, Correlation, both_sides, fisher_interval, pearson_r
from spokeneval.statistics.intervals import FloatArray, cluster_codes

_NOTHING_LEFT = 1e-9
"""Residuals smaller than this part of the values are rounding."""


def partial_correlation(
    x: ArrayLike, y: ArrayLike, controls: ArrayLike, interval: bool = True, confidence: float = 0.95
) -> Correlation:
    """Pearson's r of x and y with the controls held fixed.

    x, y: (n,); controls: (n,) or (n, n_controls). NaN with a reason where a side is explained in full by the
    controls, or too few systems are left (n - k < 3).
    """
    a, b = both_sides(x, y)
    n = len(a)
    given = np.asarray(controls, dtype=np.float64)
    given = given[:, None] if given.ndim == 1 else given
    if given.ndim != 2 or len(given) != n or not np.isfinite(given).all():
        raise SpokenevalError(f"partial_correlation: expected finite controls of shape ({n}, k), got {given.shape}")
    design = np.column_stack([np.ones(n), given - given.mean(axis=0)])
    k = int(np.linalg.matrix_rank(design)) - 1 if n else 0
    if n - k < MIN_SYSTEMS:
        reason = f"{n} systems and {k} controls: a correlation needs {MIN_SYSTEMS} more systems than controls"
        return Correlation(math.nan, math.nan, math.nan, n, reason)
    left = [_residuals(side, design) for side in (a, b)]
    explained = [name for name, side in zip(("x", "y"), left, strict=True) if side is None]
    if left[0] is None or left[1] is None:
        return Correlation(
            math.nan, math.nan, math.nan, n, f"{' and '.join(explained)}: nothing left beside the controls"
        )
    r = pearson_r(left[0], left[1])
    if not interval:
        return Correlation(r, math.nan, math.nan, n, "no interval: cells are not independent")
    low, high, why = fisher_interval(r, n - k, 1 / max(n - k - 3, 1), confidence)
    return Correlation(r, low, high, n, why and f"with {k} controls, left: {why}")


def group_centred(
    x: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Any] | NDArray[Any],
    interval: bool = True,
    confidence: float = 0.95,
) -> Correlation:
    """Pearson's r within groups: both sides centred by group (family, vocoder, task), then pooled.

    Two families that differ on both sides show a high pooled r with nothing behind it; this one averages 0 then.
    """
    a, b = both_sides(x, y)
    codes, n_groups = cluster_codes(groups, len(a))
    indicators = (codes[:, None] == np.arange(1, max(n_groups, 1))).astype(np.float64)
    return partial_correlation(a, b, indicators, interval, confidence)


def _residuals(values: FloatArray, design: FloatArray) -> FloatArray | None:
    """What the design leaves; None where that is rounding."""
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    left: FloatArray = values - design @ solution
    return left if np.abs(left).max() > _NOTHING_LEFT * max(np.abs(values).max(), 1e-300) else None
